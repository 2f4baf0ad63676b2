//! Redis: whether it keeps what it is given, and whether it agrees about the time.

use tokenvault_core::ports::{StoreCause, StoreError};
use tokenvault_core::time::Timestamp;
use tokenvault_redis::{InspectError, SCHEMA, ServerFacts, inspect};
use tokenvault_server::config::RedisSection;
use tokenvault_server::wiring;
use url::Url;

use super::examination::Examination;
use super::redis_servers;
use super::report::DoctorReport;

/// The oldest version with everything the scripts use.
const OLDEST: (u32, u32) = (6, 2);
/// Clocks that differ by more are not kept by anybody.
const MAX_SKEW_MS: u64 = 2_000;

/// What is looked at once it answers.
const CHECKS: &[&str] = &[
    "clock-redis",
    "redis-version",
    "redis-role",
    "redis-persistence",
    "redis-eviction",
    "redis-schema",
    "redis-shared",
];

/// Examines Redis and answers with its clock, which the vault follows.
pub(super) async fn examine(examination: &Examination<'_>, report: &mut DoctorReport) -> Option<Timestamp> {
    let redis = &examination.config.redis;
    let place = &redis.place();
    transport(redis, report);
    if redis.check_passwords().is_err() {
        report.unknown("redis", place, "its password could not be read", "see the lines on secrets");
        report.skip("redis", place, &[CHECKS]);
        return None;
    }
    let asked = examination.clock.now();
    let inspection = match inspect(&wiring::redis(redis)).await {
        Ok(inspection) => inspection,
        Err(error) => {
            unreachable(place, &error, report);
            report.skip("redis", place, &[CHECKS]);
            return None;
        }
    };
    let heard = examination.clock.now();
    let several = inspection.servers.len() > 1;
    for (address, facts) in &inspection.servers {
        let name = if several { address.to_string() } else { place.clone() };
        report.fine("redis", &name, format!("answers; version {}", facts.version));
        clock(facts, (asked, heard), if several { &name } else { "" }, report);
        judge(facts, if several { &name } else { "" }, report);
    }
    redis_servers::judge(&inspection, report);
    inspection.servers.first().map(|(_, facts)| facts.time)
}

fn unreachable(url: &str, error: &InspectError, report: &mut DoctorReport) {
    let remedy = match error {
        InspectError::Store(StoreError::Unavailable(StoreCause::Authentication)) => {
            "`redis.username` and the password in `redis.password_file` must be a user's of that server"
        }
        InspectError::Store(StoreError::Unavailable(StoreCause::NoPermission)) => {
            "let the vault's ACL user run its commands on the keys tv:* (and ROLE, INFO, TIME, SCAN)"
        }
        InspectError::Config(_) => "correct the section [redis]",
        InspectError::Store(_) => {
            "start it, or correct `redis.url`; look at what is between. Nothing is served without it"
        }
    };
    report.hazard("redis", url, format!("cannot be used: {error}"), remedy);
}

fn transport(redis: &RedisSection, report: &mut DoctorReport) {
    let of_url = Url::parse(&redis.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let named = redis.sentinel.iter().flat_map(|sentinel| &sentinel.nodes);
    let named = named.chain(redis.cluster.iter().flat_map(|cluster| &cluster.nodes));
    let hosts = named.map(|node| node.rsplit_once(':').map_or(node.as_str(), |(host, _)| host).to_owned());
    let hosts: Vec<String> = hosts.chain(of_url).collect();
    let (url, loopback) = (&redis.place(), hosts.iter().all(|host| is_loopback(host)));
    if hosts.is_empty() {
        return;
    }
    if redis.is_encrypted() {
        report.fine("redis-tls", url, "TLS");
    } else if loopback {
        report.fine("redis-tls", url, "plain, and within this machine");
    } else {
        report.hazard(
            "redis-tls",
            url,
            "goes over the network in plain: the password can be read, and records be altered or rolled back",
            "use rediss://, or `tls` of sentinels and cluster, with `redis.ca_file`; where a mesh encrypts it already, run with --accept redis-tls",
        );
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn clock(facts: &ServerFacts, (asked, heard): (Timestamp, Timestamp), of: &str, report: &mut DoctorReport) {
    let took = heard.since(asked);
    let early = asked.since(facts.time);
    let late = facts.time.since(heard);
    let skew = early.max(late);
    let (direction, skew_ms) = (if early > late { "behind" } else { "ahead of" }, skew.as_millis());
    if skew_ms > u128::from(MAX_SKEW_MS) {
        report.hazard(
            "clock-redis",
            of,
            format!("Redis' clock is {:.1} s {direction} this machine's", skew.as_secs_f64()),
            "let both follow the same time servers (chrony, timedatectl); the vault goes by Redis' clock",
        );
    } else {
        report.fine(
            "clock-redis",
            of,
            format!("Redis' clock agrees with this machine's (asked within {} ms)", took.as_millis()),
        );
    }
}

fn judge(facts: &ServerFacts, of: &str, report: &mut DoctorReport) {
    version(&facts.version, of, report);
    if facts.replica && !of.is_empty() {
        report.fine("redis-role", of, "a replica");
    } else if facts.replica {
        report.hazard(
            "redis-role",
            of,
            "the server is a replica and takes no writes",
            "name the primary in `redis.url`",
        );
    } else if !facts.tells_role {
        report.hazard(
            "redis-role",
            of,
            "the vault's user may not ask for the server's role: one that becomes a replica is left only when it refuses a write",
            "let the vault's ACL user run ROLE (`+role`)",
        );
    } else {
        report.fine("redis-role", of, format!("a primary with {} replicas", facts.replicas));
    }
    let eviction = if of.is_empty() { "maxmemory-policy".to_owned() } else { format!("maxmemory-policy of {of}") };
    persistence(facts, of, report);
    if facts.eviction == "noeviction" {
        report.fine("redis-eviction", &eviction, "noeviction");
    } else {
        let limit = if facts.max_memory == 0 { " (no maxmemory yet)" } else { "" };
        report.hazard(
            "redis-eviction",
            &eviction,
            format!("{}{limit}: when memory is short, Redis deletes records of live jobs", facts.eviction),
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        );
    }
    if of.is_empty() || facts.schema.is_some() {
        schema(facts.schema.as_deref(), report);
    }
    if facts.strangers == 0 {
        report.fine("redis-shared", of, "no keys of others in its database");
    } else {
        report.note(
            "redis-shared",
            of,
            format!("the database holds keys of others ({} of those looked at)", facts.strangers),
            "give the vault a Redis of its own, or at least a database: who fills or flushes it takes the jobs along",
        );
    }
}

fn version(text: &str, of: &str, report: &mut DoctorReport) {
    let mut numbers = text.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => report.fine("redis-version", of, text),
        (Some(_), Some(_)) => report.hazard(
            "redis-version",
            of,
            format!("{text} is older than {}.{}", OLDEST.0, OLDEST.1),
            "upgrade it: the vault's scripts need commands that it lacks",
        ),
        _ => report.unknown(
            "redis-version",
            of,
            "the server does not tell its version",
            "it must be 6.2 or later, or Valkey",
        ),
    }
}

fn persistence(facts: &ServerFacts, of: &str, report: &mut DoctorReport) {
    let remedy = "CONFIG SET appendonly yes, and in redis.conf `appendonly yes` with `appendfsync everysec` (adopted jobs: `always`)";
    match (facts.append_only, facts.snapshots) {
        (true, _) => report.fine("redis-persistence", of, "writes go to the append-only file"),
        (false, Some(false)) => report.hazard(
            "redis-persistence",
            of,
            "nothing is written to disk: a restart of Redis ends every job",
            remedy,
        ),
        (false, Some(true)) => report.hazard(
            "redis-persistence",
            of,
            "only snapshots are written: a restart of Redis loses the minutes since the last, spent refresh tokens among them",
            remedy,
        ),
        (false, None) => report.unknown(
            "redis-persistence",
            of,
            "no append-only file; whether snapshots are written, the server does not tell",
            "look at how your provider keeps data, and ask for an append-only file",
        ),
    }
}

fn schema(found: Option<&str>, report: &mut DoctorReport) {
    match found.map(|text| (text, text.parse::<u32>())) {
        None => report.fine("redis-schema", "tv:schema", "an empty database: the first replica claims it"),
        Some((_, Ok(found))) if found == SCHEMA => {
            report.fine("redis-schema", "tv:schema", format!("{found}, as this version writes"));
        }
        Some((_, Ok(found))) if found < SCHEMA => report.hazard(
            "redis-schema",
            "tv:schema",
            format!("{found}, and this version writes {SCHEMA}"),
            "`tokenvault migrate --dry-run`, then `tokenvault migrate`",
        ),
        Some((text, _)) => report.hazard(
            "redis-schema",
            "tv:schema",
            format!("{:?} is unknown to this version, which knows {SCHEMA}", text.chars().take(20).collect::<String>()),
            "run the version that wrote it, or a later one",
        ),
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_server::config::ClusterSection;

    use super::*;

    #[test]
    fn only_addresses_within_the_machine_may_go_without_tls() {
        for (url, fine) in [
            ("redis://127.0.0.1:6379/0", true),
            ("redis://[::1]:6379/0", true),
            ("redis://localhost:6379", true),
            ("rediss://redis.example.org:6380", true),
            ("redis://10.0.0.7:6379", false),
            ("redis://localhost.example.org", false),
        ] {
            let mut report = DoctorReport::default();
            transport(&RedisSection { url: url.to_owned(), ..RedisSection::default() }, &mut report);
            assert_eq!(report.hazards() == 0, fine, "{url}");
        }
        for (node, tls, fine) in
            [("127.0.0.1:7000", false, true), ("redis-1:7000", false, false), ("redis-1:7000", true, true)]
        {
            let cluster = ClusterSection { nodes: vec!["localhost:7000".to_owned(), node.to_owned()], tls };
            let mut report = DoctorReport::default();
            transport(&RedisSection { cluster: Some(cluster), ..RedisSection::default() }, &mut report);
            assert_eq!(report.hazards() == 0, fine, "{node}");
        }
    }
}
