//! How long a job waits whose newest token nobody has read, and how jobs that are registered together drift apart.

use super::*;

fn input(settings: &Settings, roll: f64) -> DecisionInput<'_> {
    DecisionInput { now: at(0), roll, settings }
}

/// A job's first record, of tokens that live so long.
fn first(life: u64, roll: f64, settings: &Settings) -> Record {
    let life = Duration::from_secs(life);
    let mut first = record(Acquisition::Exchange);
    first.access_life = life;
    first.pair.as_mut().expect("a pair").access_expires_at = at(0) + life;
    schedule_first(&mut first, life, &input(settings, roll));
    first
}

fn times(record: &Record) -> [u64; 2] {
    [record.renew_at, record.due_at].map(|time| time.expect("a time").since(at(0)).as_secs())
}

#[test]
fn jobs_that_are_registered_together_are_renewed_all_over_the_first_half_of_their_tokens_lives() {
    let settings = Settings::default();
    let renewals: Vec<u64> = (0..100).map(|roll| times(&first(180, f64::from(roll) / 100.0, &settings))[0]).collect();
    assert_eq!((renewals.iter().min(), renewals.iter().max()), (Some(&18), Some(&99)));
    for begin in (20..95).step_by(5) {
        let burst = renewals.iter().filter(|at| (begin..begin + 5).contains(*at)).count();
        assert!(burst <= 8, "{burst} of 100 within five seconds");
    }
}

#[test]
fn a_job_that_nobody_reads_waits_towards_four_fifths_of_its_tokens_life_and_is_renewed_with_a_minute_left() {
    let settings = Settings::default();
    for (life, latest) in [(120, 66), (180, 120), (300, 240), (340, 272)] {
        let [renew_at, due_at] = times(&first(life, 0.0, &settings));
        assert_eq!((renew_at, due_at), (life * 55 / 100, latest), "of {life} s");
    }
    let mut walk = Walk::new(first(300, 0.0, &settings), at(239));
    assert_eq!(walk.next(), Step::Rest(at(240)));
    walk = Walk::new(first(300, 0.0, &settings), at(240));
    walk.step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Exchange(Slot::Current));
}

#[test]
fn the_first_read_brings_the_renewal_forward_and_no_later_one_does() {
    let settings = Settings::default();
    let mut record = first(300, 0.0, &settings);
    assert_eq!(due_once_read(&record, &settings, at(10)), Some(at(165)));
    assert_eq!(due_once_read(&record, &settings, at(200)), Some(at(200)), "the usual time is over");
    record.due_at = record.renew_at;
    assert_eq!(due_once_read(&record, &settings, at(10)), None);
}

#[test]
fn what_was_put_off_for_another_reason_is_not_brought_forward_by_a_read() {
    let settings = Settings::default();
    let unread = first(300, 0.0, &settings);
    let waits = |change: fn(&mut Record)| {
        let mut record = unread.clone();
        change(&mut record);
        due_once_read(&record, &settings, at(200)).is_none()
    };
    assert!(waits(|record| record.due_at = Some(at(201))), "it waits for a registration");
    assert!(waits(|record| record.failures = 1));
    assert!(waits(|record| record.lost_since = Some(at(199))));
    assert!(waits(|record| record.state = State::Suspended(Suspension::Unclear)));
}

#[test]
fn only_what_is_renewed_by_an_exchange_waits_for_a_reader() {
    let settings = Settings::default();
    let waits = |change: fn(&mut Record)| {
        let mut record = first(300, 0.0, &settings);
        change(&mut record);
        unread_until(&record, &settings).is_some()
    };
    assert!(waits(|_| {}));
    assert!(!waits(|record| record.pair.as_mut().expect("a pair").rotated = true), "its token was deposited, or spent");
    assert!(!waits(|record| record.pair.as_mut().expect("a pair").refresh.expires_at = None), "an offline session");
    assert!(!waits(|record| record.session_ends_at = Some(at(300))));
    let barred = Settings { may_exchange: false, ..Settings::default() };
    assert_eq!(unread_until(&first(300, 0.0, &settings), &barred), None);
    let asked_often = Settings { probe_interval: Duration::from_secs(200), ..Settings::default() };
    assert_eq!(unread_until(&first(300, 0.0, &settings), &asked_often), None, "its session is asked about before");
}
