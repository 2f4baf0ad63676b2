//! The names of the keys. Every key but one carries a hash tag, its shard or the fleet, so that a script finds all it
//! touches on one node of a cluster.
//!
//! Names never change without a schema step: a later version must find what an earlier one wrote.

use std::fmt::{Display, Write as _};

use tokenvault_core::ids::{JobId, JobKey, ModuleName, SessionKey, Shard, TenantId, UserId};

use crate::link::Slot;

/// The key that holds the schema's number; the only one without a hash tag.
pub(crate) const SCHEMA: &str = "tv:schema";

/// What live replicas told of themselves.
pub(crate) const REPLICAS: &str = "tv:{fleet}:replicas";

/// Until when each replica counts as alive.
pub(crate) const REPLICAS_ALIVE: &str = "tv:{fleet}:alive";

/// The id of the key that was promoted last.
pub(crate) const PROMOTED: &str = "tv:{fleet}:promoted";

/// The check value of the key of each id. Older versions neither read nor write it.
pub(crate) const KEY_CHECKS: &str = "tv:{fleet}:keys";

/// The pause.
pub(crate) const PAUSE: &str = "tv:{fleet}:pause";

/// The last re-sealing.
pub(crate) const RESEALING: &str = "tv:{fleet}:resealing";

/// What was counted last.
pub(crate) const CENSUS: &str = "tv:{fleet}:census";

/// The lock under which the schema is moved on.
pub(crate) const MIGRATION: &str = "tv:{fleet}:migration";

/// There while records may lie about that keep each of [`tokenvault_core::record::NAMES`] as a field of its own.
pub(crate) const UNPACKED: &str = "tv:{fleet}:unpacked";

/// There while replicas may be alive that leave no marks when they join a session.
pub(crate) const OLDER_REPLICAS: &str = "tv:{fleet}:older";

/// Written to see whether the server takes writes.
pub(crate) const PROBE: &str = "tv:{fleet}:probe";

/// What happened lately.
pub(crate) const EVENTS: &str = "tv:{fleet}:events";

/// What the name of every record matches, and of nothing else, whatever users and sessions are called.
pub(crate) const ANY_JOB: &str = "tv:{??}:job:*";

/// The field of a session's entry that holds its incarnation.
pub(crate) const INCARNATION: &str = "inc";

/// What a job's field in a session's entry begins with: no job can then be taken for the incarnation.
const JOB_FIELD: &str = "job:";

/// Where what concerns all replicas lies.
pub(crate) fn fleet_slot() -> Slot {
    Slot::of(PAUSE)
}

/// The record of a job.
pub(crate) fn job(key: &JobKey) -> String {
    format!("{}{key}", job_prefix(key.shard()))
}

/// What the keys of a shard's records begin with; the rest is the member of its due set.
pub(crate) fn job_prefix(shard: Shard) -> String {
    format!("tv:{{{shard}}}:job:")
}

/// The due set of a shard.
pub(crate) fn due(shard: Shard) -> String {
    format!("tv:{{{shard}}}:due")
}

/// A parent's children, beside the parent's record.
pub(crate) fn children(parent: &JobKey) -> String {
    format!("tv:{{{}}}:children:{parent}", parent.shard())
}

/// The jobs of a user.
pub(crate) fn user(tenant: &TenantId, user: &UserId) -> String {
    let shard = Shard::of(&[tenant.as_str(), user.as_str()]);
    format!("tv:{{{shard}}}:user:{tenant}:{user}")
}

/// How many records a module has in a tenant.
pub(crate) fn share(tenant: &TenantId, module: &ModuleName) -> String {
    let shard = Shard::of(&[tenant.as_str(), module.as_str()]);
    format!("tv:{{{shard}}}:share:{tenant}:{module}")
}

/// The entry of a client session.
pub(crate) fn session(key: &SessionKey) -> String {
    of_session("session", key)
}

/// The marks of those who are joining a client session, beside its entry.
pub(crate) fn joining(key: &SessionKey) -> String {
    of_session("joining", key)
}

fn of_session(kind: &str, key: &SessionKey) -> String {
    let mut name = format!("tv:{{{}}}:{kind}:{}:", key.shard(), key.tenant);
    push_escaped(&mut name, &key.sid);
    let _ = write!(name, ":{}", key.client);
    name
}

/// A job's field in a session's entry.
pub(crate) fn session_field(job: &JobId) -> String {
    format!("{JOB_FIELD}{job}")
}

/// The job that a field of a session's entry stands for.
pub(crate) fn job_of_field(field: &str) -> Option<JobId> {
    JobId::parse(field.strip_prefix(JOB_FIELD)?).ok()
}

/// Keeps a part apart from the next one: session ids come from outside and may hold a colon.
fn push_escaped(name: &mut String, part: &impl Display) {
    for character in part.to_string().chars() {
        match character {
            ':' => name.push_str("%3A"),
            '%' => name.push_str("%25"),
            other => name.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::{ClientId, SessionId};

    use super::*;

    fn tenant() -> TenantId {
        TenantId::parse("diku").unwrap()
    }

    fn key() -> JobKey {
        JobKey::new(tenant(), JobId::parse("job-1").unwrap())
    }

    fn session_key(sid: &str, client: &str) -> SessionKey {
        SessionKey { tenant: tenant(), sid: SessionId::parse(sid).unwrap(), client: ClientId::parse(client).unwrap() }
    }

    #[test]
    fn keys_are_those_an_earlier_version_wrote() {
        assert_eq!(job(&key()), "tv:{35}:job:diku:job-1");
        assert_eq!(due(key().shard()), "tv:{35}:due");
        assert_eq!(children(&key()), "tv:{35}:children:diku:job-1");
        assert_eq!(user(&tenant(), &UserId::parse("u1").unwrap()), "tv:{50}:user:diku:u1");
        assert_eq!(session(&session_key("s1", "vault")), "tv:{33}:session:diku:s1:vault");
        assert_eq!(joining(&session_key("s1", "vault")), "tv:{33}:joining:diku:s1:vault");
    }

    #[test]
    fn a_record_its_due_set_and_its_children_share_a_hash_tag() {
        let tag = |name: &str| name[name.find('{').unwrap()..=name.find('}').unwrap()].to_owned();
        let tags = [job(&key()), due(key().shard()), children(&key())].map(|name| tag(&name));
        assert!(tags.iter().all(|one| *one == tags[0]), "{tags:?}");
    }

    #[test]
    fn the_prefix_and_the_due_member_make_the_record_key() {
        assert_eq!(job(&key()), format!("{}{}", job_prefix(key().shard()), key()));
    }

    #[test]
    fn different_sessions_never_share_a_name_even_with_colons() {
        let (a, b) = (session(&session_key("a:b", "c")), session(&session_key("a", "b:c")));
        assert_ne!(a.split_once("session").unwrap().1, b.split_once("session").unwrap().1);
        let (a, b) = (session(&session_key("a%3Ab", "c")), session(&session_key("a:b", "c")));
        assert_ne!(a.split_once("session").unwrap().1, b.split_once("session").unwrap().1);
    }

    #[test]
    fn a_job_named_inc_is_not_the_incarnation() {
        let job = JobId::parse(INCARNATION).unwrap();
        assert_ne!(session_field(&job), INCARNATION);
        assert_eq!(job_of_field(&session_field(&job)), Some(job));
        assert_eq!(job_of_field(INCARNATION), None);
    }
}
