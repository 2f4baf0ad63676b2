//! What callers are told when something is refused or fails: RFC 9457 problems, from one table of codes.
//!
//! A problem's detail is written for the caller. It never carries a token, a secret, or the text of an inner error.

use std::time::Duration;

use serde_json::{Map, Value};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $code:literal $title:literal,)+) => {
        /// The stable codes; `type` of a problem is `/problems/<code>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            /// Every code, in order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The HTTP status it is answered with.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The short, constant summary.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    /// The request is not what the API describes.
    InvalidRequest = 400 "invalid_request" "The request is malformed",
    /// The caller may use several tenants and named none.
    TenantMissing = 400 "tenant_missing" "The tenant is missing",
    /// The certificate maps to no module.
    CallerUnknown = 403 "caller_unknown" "The caller is not known",
    /// The module may not do this.
    ActionDenied = 403 "action_denied" "The caller may not do this",
    /// The tenant is not one of the caller's.
    TenantDenied = 403 "tenant_denied" "The tenant is not the caller's",
    /// No such route.
    NotFound = 404 "not_found" "There is nothing here",
    /// No live replica holds such a key.
    KeyNotFound = 404 "key_not_found" "There is no such key",
    /// No such job, or not for this caller.
    JobNotFound = 404 "job_not_found" "There is no such job",
    /// The route exists, the method does not.
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed",
    /// Another user or registrar has a job of this id.
    JobConflict = 409 "job_conflict" "The job id is taken",
    /// A live replica lacks the key, or holds another one of its id.
    KeyNotHeld = 409 "key_not_held" "Not every replica holds the key",
    /// The job is over; on registration: its id may not be used again yet.
    JobEnded = 410 "job_ended" "The job has ended",
    /// The same, for a registration.
    JobIdEnded = 409 "job_ended" "The job has ended",
    /// The session at the identity provider is gone.
    SessionEnded = 410 "session_ended" "The user's session has ended",
    /// The user must register the job again.
    ReauthRequired = 410 "reauth_required" "The job must be registered again",
    /// Larger than the limit.
    ContentTooLarge = 413 "content_too_large" "The body is too large",
    /// Not `application/json`.
    UnsupportedMediaType = 415 "unsupported_media_type" "The body is not JSON",
    /// The proof failed a check.
    TokenRejected = 422 "token_rejected" "The access token was not accepted",
    /// The tenant, or the combination asked for, does not support this.
    Unsupported = 422 "unsupported" "This is not supported",
    /// Later than the tenant allows.
    ExpiresAtTooLate = 422 "expires_at_too_late" "The end is too late",
    /// More than any access token of this tenant lives.
    MinTtlUnsatisfiable = 422 "min_ttl_unsatisfiable" "No access token lives that long",
    /// Too many requests.
    TooManyRequests = 429 "too_many_requests" "Too many requests",
    /// A bug, or something nobody foresaw.
    Internal = 500 "internal" "Something went wrong inside the vault",
    /// The identity provider said no.
    IdpRejected = 502 "idp_rejected" "The identity provider refused",
    /// The identity provider did not answer.
    IdpUnavailable = 503 "idp_unavailable" "The identity provider is unavailable",
    /// Redis did not answer.
    StoreUnavailable = 503 "store_unavailable" "The store is unavailable",
    /// This replica's keyring is in doubt.
    KeyUnavailable = 503 "key_unavailable" "The key is not available",
    /// What is done must be recorded, and cannot be.
    AuditUnavailable = 503 "audit_unavailable" "The audit log cannot be written",
    /// No fresh access token within the wait.
    TokenNotReady = 503 "token_not_ready" "A fresh access token is not ready yet",
}

/// A refusal or failure, as the caller is told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The code.
    pub code: Code,
    /// One sentence for the person who reads it.
    pub detail: String,
    /// Further members (RFC 9457 §3.2), such as `check`, `reason` or `max_ttl`.
    pub members: Map<String, Value>,
    /// For 429 and 503: when to try again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with its detail. Answers of 429 and 503 say to try again in a second unless told otherwise.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after = matches!(code.status(), 429 | 503).then_some(Duration::from_secs(1));
        Self { code, detail: detail.into(), members: Map::new(), retry_after }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}
