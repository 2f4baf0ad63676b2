//! `GET /problems/{code}`: a page that explains a problem to the person who got it.

use std::collections::BTreeSet;
use std::fmt::Write;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokenvault_vault::problem::{Code, Problem};

use super::ProblemResponse;
use super::explanations::{self, Explanation};

/// Explains a code.
#[utoipa::path(
    get,
    path = "/problems/{code}",
    tag = "description",
    params(("code" = String, Path, description = "A problem's code")),
    responses(
        (status = 200, description = "What it means and what to do", body = String, content_type = "text/plain"),
        (status = "default", description = "A problem", body = super::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn describe(Path(code): Path<String>) -> Result<Response, ProblemResponse> {
    let codes: Vec<Code> = Code::ALL.iter().copied().filter(|one| one.as_str() == code).collect();
    let first = codes.first().ok_or_else(|| Problem::new(Code::NotFound, "There is no such problem."))?;
    let statuses: Vec<String> = codes.iter().map(|code| code.status().to_string()).collect();
    let text = page(&code, &statuses.join(" or "), *first);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The whole of it: what may have been told in `check` or `reason` comes last, each word with what it means and who can
/// mend it.
fn page(code: &str, statuses: &str, first: Code) -> String {
    let mut text = format!("{code} ({statuses})\n\n{}.\n\n{}\n", first.title(), remedy(first));
    let mut told = BTreeSet::new();
    let words = Code::ALL.iter().filter(|one| one.as_str() == code).flat_map(|one| explanations::of(*one));
    for Explanation { member, word, means, by, how, .. } in words.filter(|word| told.insert((word.member, word.word))) {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n{member}: {word}\n    {means}\n    {}: {how}\n", by.as_str());
    }
    text
}

/// What the person who got the problem can do.
fn remedy(code: Code) -> &'static str {
    match code {
        Code::InvalidRequest => "Compare the request with /openapi.json; the detail names the member.",
        Code::TenantMissing => "Send the tenant in the header x-okapi-tenant: this certificate may use several.",
        Code::CallerUnknown => {
            "The certificate maps to no module. Ask the operator to add its URI or DNS name to the policy."
        }
        Code::ActionDenied => {
            "The policy does not grant this to your module. For a registration, look at the acquisitions it lists."
        }
        Code::TenantDenied => "The policy does not list this tenant for your module.",
        Code::NotFound => "Look at /openapi.json for what there is.",
        Code::JobNotFound => {
            "No job of this id exists in the tenant, or your module is neither its registrar nor one of its readers."
        }
        Code::KeyNotFound => {
            "Add the key to the keyring file of every replica; `tokenvault admin keys list` shows who holds what."
        }
        Code::KeyNotHeld => {
            "`replicas` names those that do not hold it. They read their keyring file again when it changes."
        }
        Code::MethodNotAllowed => "The header Allow names the methods there are.",
        Code::JobConflict => {
            "Use another job id, or register with the module and the user that own it. A registration without `access_token` matches only a child of the same parent by the same module: any other job of this id is a conflict."
        }
        Code::JobEnded | Code::JobIdEnded => {
            "`reason` says why. For a registration: the id may not be used again before it is forgotten (`tombstone_ttl`). Use a new job id for new work."
        }
        Code::SessionEnded => {
            "The user's session ended at the identity provider; `reason` says how. The user must log in and start the job again."
        }
        Code::ReauthRequired => "Register the job again with a live access token of the user; the same id may be used.",
        Code::ContentTooLarge => "A registration fits 64 KiB.",
        Code::UnsupportedMediaType => "Send the body as application/json.",
        Code::TokenRejected => {
            "`check` names the check that the access token (or the refresh token that is to be adopted) failed. A new registration needs a live access token of the user's, issued to the client that users log in with. So does a later end, and a further reader, of a job that is there."
        }
        Code::Unsupported => {
            "The detail says what the tenant does not support: the acquisition, a refresh_token without `adopt`, `on_logout` looser than the tenant's or than the job's, or another one than the parent's, another acquisition than the job's, one more child or job than there may be, a child of a child. Some say more in `reason`."
        }
        Code::ExpiresAtTooLate => "`latest` is the latest end this job may have.",
        Code::MinTtlUnsatisfiable => "`max_ttl` is the most that can be promised; ask for less.",
        Code::TooManyRequests => "Slow down; Retry-After says for how long. With a `reason`, it is not the rate.",
        Code::Internal => "Report it with the request id; the vault's log has more.",
        Code::IdpRejected => {
            "The identity provider refused the vault, or answered with a token that the vault does not take; `reason` says which. Sending it again does not help: somebody must look at the clients of the realm. `tokenvault doctor` finds most of it."
        }
        Code::IdpUnavailable => {
            "The identity provider did not answer. Registrations can be repeated; reads go on from what is stored."
        }
        Code::StoreUnavailable => "Redis did not answer. The request can be repeated.",
        Code::KeyUnavailable => {
            "This replica's keyring is not the right one, or was not held against the store yet. Nothing is lost: ask again, or another replica; an operator must put the right key back."
        }
        Code::AuditUnavailable => {
            "This replica must record what it does, and its audit log cannot be written. Ask again, or another replica; an operator must make room."
        }
        Code::TokenNotReady => {
            "A renewal is under way. Ask again, or with a longer `wait`. With a `reason`, the job waits for somebody."
        }
    }
}
