use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tokenvault_core::ids::{JobId, JobKey, TenantId, UserId};
use tokenvault_core::ports::testing::ManualClock;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::journal::Actor;

use super::*;

struct Stage {
    log: AuditLog,
    path: PathBuf,
    metrics: Arc<Metrics>,
    _dir: tempfile::TempDir,
}

fn stage(settings: &AuditSection) -> Stage {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.log");
    open(dir, path, settings)
}

fn open(dir: tempfile::TempDir, path: PathBuf, settings: &AuditSection) -> Stage {
    let metrics = Arc::new(Metrics::new());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let key = ClientSecret::new("a key of the test's that is long enough");
    let log = AuditLog::open(&path, settings, &key, "replica-1".to_owned(), clock, Arc::clone(&metrics));
    Stage { log: log.expect("a log"), path, metrics, _dir: dir }
}

fn required() -> AuditSection {
    AuditSection { required: true, ..AuditSection::default() }
}

fn entry(act: Act, job: &str) -> Entry {
    let key = JobKey::new(TenantId::parse("diku").expect("a tenant"), JobId::parse(job).expect("a job"));
    Entry::new(act, Actor::Vault, "ok").of(&key).user(&UserId::parse("alice").expect("a user"))
}

fn lines(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(&stage.path).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}

fn acts(stage: &Stage) -> Vec<String> {
    lines(stage).iter().map(|line| format!("{} {}", line["act"], line["job"]).replace('"', "")).collect()
}

#[tokio::test]
async fn what_is_noted_is_in_the_file_when_its_giver_goes_on() {
    let stage = stage(&required());
    stage.log.note(entry(Act::Read, "a")).await.expect("recorded");
    assert_eq!(acts(&stage), ["read a"]);
}

#[tokio::test]
async fn what_has_happened_is_written_in_its_order_and_numbered_without_a_gap() {
    let stage = stage(&AuditSection::default());
    let jobs: Vec<String> = (0..1_000).map(|number| format!("job-{number}")).collect();
    for job in &jobs {
        stage.log.record(entry(Act::Renew, job));
    }
    stage.log.flush().await;
    let expected: Vec<String> = jobs.iter().map(|job| format!("renew {job}")).collect();
    assert_eq!(acts(&stage), expected);
    assert!(lines(&stage).iter().zip(1..).all(|(line, seq)| line["seq"] == seq));
}

#[tokio::test]
async fn reads_are_left_out_only_where_nobody_wants_them() {
    let stage = stage(&AuditSection { reads: false, ..required() });
    for act in Act::ALL {
        stage.log.note(entry(*act, "a")).await.expect("recorded or not wanted");
    }
    assert_eq!(acts(&stage).len(), Act::ALL.len() - 2);
}

/// A file on a device that takes nothing; when told to, its name becomes a file that does.
fn full(settings: &AuditSection) -> Stage {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    open(dir, path, settings)
}

fn make_room(stage: &Stage) {
    fs::remove_file(&stage.path).expect("removed");
}

#[tokio::test]
async fn with_a_full_disk_nothing_is_handed_out_and_what_has_happened_is_written_later() {
    let stage = full(&required());
    assert_eq!(stage.log.ready(), Ok(()), "nothing was tried yet");
    assert_eq!(stage.log.note(entry(Act::Read, "refused")).await, Err(NotRecorded));
    assert_eq!(stage.log.ready(), Err(NotRecorded));
    stage.log.record(entry(Act::Renew, "a"));
    stage.log.record(entry(Act::End, "a"));
    stage.log.flush().await;
    assert!(stage.metrics.encode().contains("tokenvault_audit_up 0"));
    make_room(&stage);
    while stage.log.ready().is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.log.note(entry(Act::Read, "b")).await.expect("recorded");
    // The read that was refused was never handed out, and so is in no line.
    assert_eq!(acts(&stage), ["audit null", "renew a", "end a", "read b"]);
    assert_eq!(lines(&stage)[0]["detail"], "0 lost");
    let metrics = stage.metrics.encode();
    for line in
        ["audit_up 1", "audit_entries_total{outcome=\"refused\"} 1", "audit_entries_total{outcome=\"written\"} 3"]
    {
        assert!(metrics.contains(&format!("tokenvault_{line}")), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn where_recording_is_not_required_a_full_disk_refuses_nothing() {
    let stage = full(&AuditSection::default());
    stage.log.note(entry(Act::Read, "a")).await.expect("handed out");
    stage.log.flush().await;
    assert_eq!(stage.log.ready(), Ok(()));
    make_room(&stage);
    while stage.metrics.encode().contains("tokenvault_audit_up 0") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(acts(&stage), ["audit null", "read a"]);
}

#[tokio::test]
async fn what_is_too_much_to_keep_is_counted_and_told() {
    let stage = full(&AuditSection::default());
    stage.log.record(entry(Act::Renew, "first"));
    stage.log.flush().await;
    for _ in 0..12_000 {
        stage.log.record(entry(Act::Renew, "more"));
        tokio::task::yield_now().await;
    }
    stage.log.flush().await;
    make_room(&stage);
    while stage.metrics.encode().contains("tokenvault_audit_up 0") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // More than a flush waits for on a busy machine.
    let written = || fs::read_to_string(&stage.path).expect("the file").matches('\n').count();
    while written() < 10_001 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lines = lines(&stage);
    let lost: usize =
        lines[0]["detail"].as_str().and_then(|text| text.split(' ').next()?.parse().ok()).expect("a number");
    assert_eq!(lines.len() - 1 + lost, 12_001, "{lost} lost");
    assert_eq!(lost, 2_001);
}

#[tokio::test]
async fn lines_go_on_in_the_new_file_whether_or_not_a_signal_tells_of_it() {
    let stage = stage(&required());
    stage.log.note(entry(Act::Read, "a")).await.expect("recorded");
    for (number, signal) in [(1, false), (2, true)] {
        let old = stage.path.with_extension(number.to_string());
        fs::rename(&stage.path, &old).expect("renamed");
        if signal {
            stage.log.reopen();
            stage.log.flush().await;
            assert!(stage.path.exists(), "opened at the signal, not at the next line");
        }
        stage.log.note(entry(Act::Read, &format!("after-{number}"))).await.expect("recorded");
        assert_eq!(acts(&stage), [format!("read after-{number}")]);
    }
    assert_eq!(lines(&stage)[0]["seq"], 3);
}

#[cfg(target_os = "linux")]
/// A pipe in the file's place, which takes what fits into it and then hangs.
fn pipe(settings: &AuditSection) -> (Stage, std::io::PipeReader, std::io::PipeWriter) {
    use std::os::fd::AsRawFd;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let path = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
    (open(tempfile::tempdir().expect("a directory"), path, settings), reader, writer)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_that_hangs_counts_as_one_that_cannot_be_written_until_it_goes_on() {
    let (stage, mut reader, _writer) = pipe(&required());
    stage.log.note(entry(Act::Read, "a")).await.expect("recorded: it fits");
    for _ in 0..1_000 {
        stage.log.record(entry(Act::Renew, "a"));
    }
    assert_eq!(stage.log.settled().await, Err(NotRecorded), "what was registered is in no line");
    assert_eq!(stage.log.ready(), Err(NotRecorded), "and so is nothing that comes after it");
    assert!(stage.metrics.encode().contains("tokenvault_audit_up 0"));
    let drained = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    while stage.log.ready().is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.log.note(entry(Act::Read, "b")).await.expect("recorded");
    assert_eq!(stage.log.settled().await, Ok(()));
    assert!(stage.metrics.encode().contains("tokenvault_audit_up 1"));
    drop(stage);
    drop(drained);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_read_that_waits_for_its_line_in_vain_marks_the_log() {
    let (stage, reader, _writer) = pipe(&required());
    for _ in 0..1_000 {
        stage.log.record(entry(Act::Renew, "a"));
    }
    assert_eq!(stage.log.note(entry(Act::Read, "a")).await, Err(NotRecorded));
    assert_eq!(stage.log.ready(), Err(NotRecorded));
    drop(reader);
}
