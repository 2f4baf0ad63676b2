//! Several servers of Redis: whether one can take another's place, and whether nothing is lost when it does.

use tokenvault_redis::{Inspection, Topology};

use super::report::DoctorReport;

/// Judges what holds the servers together.
pub(super) fn judge(inspection: &Inspection, report: &mut DoctorReport) {
    let primaries = || inspection.servers.iter().filter(|(_, facts)| !facts.replica);
    match &inspection.topology {
        Topology::Single => return,
        Topology::Sentinel { named, answering, quorum } => sentinels(*named, *answering, *quorum, report),
        Topology::Cluster { full_coverage } => coverage(*full_coverage, report),
    }
    for (address, _) in primaries().filter(|(_, facts)| facts.replicas == 0) {
        report.hazard(
            "redis-replicas",
            address.to_string(),
            "no replica follows this primary: nobody can take its place, and the jobs that it keeps are gone with it",
            "give each primary at least one replica on another machine",
        );
    }
    if primaries().all(|(_, facts)| facts.replicas > 0) {
        report.fine("redis-replicas", "", "each primary has a replica");
    }
    for address in &inspection.silent {
        report.hazard(
            "redis-replicas",
            address.to_string(),
            "the others name this server, and it does not answer",
            "start it, or let the others forget it",
        );
    }
    for (address, facts) in primaries() {
        least_replicas(&address.to_string(), facts.least_replicas, report);
    }
}

fn sentinels(named: usize, answering: usize, quorum: usize, report: &mut DoctorReport) {
    let finding = format!("{answering} of {named} answer; {quorum} must agree before another primary is chosen");
    if named < 3 || answering < named || quorum == 0 {
        let remedy = "run three sentinels on three machines, name all of them in `redis.sentinel.nodes`, and start those that are away";
        report.hazard("redis-sentinels", "", finding, remedy);
    } else {
        report.fine("redis-sentinels", "", finding);
    }
}

fn coverage(full: Option<bool>, report: &mut DoctorReport) {
    let (check, setting) = ("redis-coverage", "cluster-require-full-coverage");
    match full {
        Some(false) => report.fine(check, setting, "no: the rest works on without a part"),
        Some(true) => report.note(
            check,
            setting,
            "yes: where one primary is away, no job can be read or renewed, not only those that it keeps",
            "CONFIG SET cluster-require-full-coverage no, on every server",
        ),
        None => report.unknown(
            check,
            setting,
            "the servers do not tell",
            "ask your provider whether all of the cluster stops with a part of it",
        ),
    }
}

fn least_replicas(server: &str, least: Option<u32>, report: &mut DoctorReport) {
    let check = "redis-min-replicas";
    match least {
        Some(0) => report.note(
            check,
            server,
            "min-replicas-to-write is 0: a primary that was cut off takes writes that are lost when it comes back",
            "CONFIG SET min-replicas-to-write 1, with min-replicas-max-lag 10, on every server",
        ),
        Some(least) => report.fine(check, server, format!("min-replicas-to-write {least}")),
        None => report.unknown(
            check,
            server,
            "the server does not tell its min-replicas-to-write",
            "ask your provider whether a primary that was cut off goes on to take writes",
        ),
    }
}
