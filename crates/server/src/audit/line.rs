//! An entry as a line of the audit file, and how users and sessions are named in it.
//!
//! A user's or session's id never stands in a line: a keyed hash does, so that lines about the same user can be found
//! together by whoever has no list of users, and only whoever holds the key can tell which user it is.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use serde::Serialize;
use tokenvault_core::ids::TenantId;
use tokenvault_core::secret::ClientSecret;
use tokenvault_core::time::Timestamp;

use tokenvault_vault::journal::Entry;

/// A detail is a few words; more of it is cut off.
const MAX_DETAIL: usize = 200;

/// Names users and sessions without showing them: the first 128 bits of HMAC-SHA-256 (RFC 2104), in hexadecimal digits.
pub(super) struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    pub(super) fn new(key: &ClientSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
    }

    /// The same id of another kind, or in another tenant, has another name. No id contains a zero byte.
    fn of(&self, kind: &str, tenant: Option<&TenantId>, id: &str) -> String {
        let tenant = tenant.map_or("", TenantId::as_str);
        let tag = hmac::sign(&self.0, [kind, tenant, id].join("\0").as_bytes());
        tag.as_ref().iter().take(16).fold(String::with_capacity(32), |mut name, byte| {
            write!(name, "{byte:02x}").expect("writing to a String cannot fail");
            name
        })
    }
}

/// One line, in the order it is written.
#[derive(Serialize)]
struct AuditLine<'a> {
    /// When it was told, RFC 3339 UTC, by the store's clock.
    at: String,
    /// The process's name, and a number that counts its lines from 1: where one is missing, somebody took it out.
    replica: &'a str,
    seq: u64,
    act: &'static str,
    actor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// Makes lines.
pub(super) struct LineFormatter {
    pub(super) replica: String,
    pub(super) pseudonyms: Pseudonyms,
}

impl LineFormatter {
    /// Appends an entry's line.
    pub(super) fn write(&self, entry: &Entry, at: Timestamp, seq: u64, out: &mut Vec<u8>) {
        let tenant = entry.tenant.as_ref();
        let (actor, name) = entry.actor.parts();
        push(
            out,
            &AuditLine {
                at: at.to_string(),
                replica: &self.replica,
                seq,
                act: entry.act.code(),
                actor,
                name,
                tenant: tenant.map(TenantId::as_str),
                job: entry.job.as_ref().map(|key| key.job.as_str()),
                user: entry.user.as_ref().map(|id| self.pseudonyms.of("user", tenant, id.as_str())),
                session: entry.session.as_ref().map(|id| self.pseudonyms.of("session", tenant, id.as_str())),
                outcome: entry.outcome,
                detail: entry.detail.as_deref().map(shortened),
                request_id: entry.request_id.as_deref(),
            },
        );
    }

    /// Appends the line that tells of a gap.
    pub(super) fn write_gap(&self, lost: u64, at: Timestamp, seq: u64, out: &mut Vec<u8>) {
        let detail = format!("{lost} lost");
        push(
            out,
            &AuditLine {
                at: at.to_string(),
                replica: &self.replica,
                seq,
                act: "audit",
                actor: "vault",
                name: None,
                tenant: None,
                job: None,
                user: None,
                session: None,
                outcome: "resumed",
                detail: Some(&detail),
                request_id: None,
            },
        );
    }
}

fn push(out: &mut Vec<u8>, line: &AuditLine<'_>) {
    serde_json::to_writer(&mut *out, line).expect("texts and numbers can be written into memory");
    out.push(b'\n');
}

fn shortened(detail: &str) -> &str {
    let end = detail.char_indices().nth(MAX_DETAIL).map_or(detail.len(), |(at, _)| at);
    &detail[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokenvault_core::ids::{JobId, JobKey, SessionId, UserId};
    use tokenvault_vault::journal::{Act, Actor};

    use super::*;

    fn scribe(key: &str) -> LineFormatter {
        LineFormatter { replica: "replica-1".to_owned(), pseudonyms: Pseudonyms::new(&ClientSecret::new(key)) }
    }

    fn key(tenant: &str) -> JobKey {
        JobKey::new(TenantId::parse(tenant).expect("a tenant"), JobId::parse("job-1").expect("a job"))
    }

    fn entry(tenant: &str) -> Entry {
        Entry::new(Act::Read, Actor::Module("mod-di".to_owned()), "ok")
            .of(&key(tenant))
            .user(&UserId::parse("canary-user").expect("a user"))
            .session(&SessionId::parse("canary-session").expect("a session"))
            .request("r/1")
    }

    fn line(scribe: &LineFormatter, entry: &Entry) -> Value {
        let mut out = Vec::new();
        scribe.write(entry, Timestamp::from_millis(1_700_000_000_250), 7, &mut out);
        assert_eq!(out.iter().position(|byte| *byte == b'\n'), Some(out.len() - 1), "one line");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn a_line_says_who_what_when_and_how_and_hides_user_and_session() {
        let mut line = line(&scribe("k"), &entry("diku"));
        assert!(!line.to_string().contains("canary"), "{line}");
        let (user, session) = (line["user"].take(), line["session"].take());
        assert_eq!(user.as_str().map(str::len), Some(32));
        assert_ne!(user, session);
        let expected = json!({
            "at": "2023-11-14T22:13:20.25Z", "replica": "replica-1", "seq": 7, "act": "read", "actor": "module",
            "name": "mod-di", "tenant": "diku", "job": "job-1", "user": null, "session": null, "outcome": "ok",
            "request_id": "r/1",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_user_has_one_name_under_one_key_and_in_one_tenant() {
        let name = |key: &str, tenant: &str| line(&scribe(key), &entry(tenant))["user"].clone();
        assert_eq!(name("k", "diku"), name("k", "diku"));
        assert_ne!(name("k", "diku"), name("k", "other"));
        assert_ne!(name("k", "diku"), name("l", "diku"));
    }

    #[test]
    fn a_detail_breaks_no_line_and_is_cut_off() {
        let long = format!("a\nb\u{2028}{}", "x".repeat(1_000));
        let line = line(&scribe("k"), &entry("diku").detail(long));
        assert_eq!(line["detail"].as_str().map(|detail| detail.chars().count()), Some(MAX_DETAIL));
    }
}
