//! What goes in and what comes out, without HTTP: [`Request`] and [`Answer`], and the refusals with Keycloak's words.

use std::fmt;

use serde_json::{Value, json};

/// A request as the state machine sees it.
#[derive(Clone, Default)]
pub struct Request {
    /// Upper-case HTTP method.
    pub method: String,
    /// The path alone, without query.
    pub path: String,
    /// The `Authorization` header, if one was sent.
    pub authorization: Option<String>,
    /// The form's fields in their order, repeated ones included.
    pub form: Vec<(String, String)>,
}

impl Request {
    /// A POST of a form.
    pub fn post<'a>(path: impl Into<String>, form: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.into(),
            authorization: None,
            form: form.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET".to_owned(), path: path.into(), ..Self::default() }
    }

    /// The first value of a form field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.form.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Whether a field that may come only once came twice.
    pub(crate) fn repeats(&self, allowed: &[&str]) -> bool {
        self.form.iter().enumerate().any(|(i, (name, _))| {
            !allowed.contains(&name.as_str()) && self.form[..i].iter().any(|(earlier, _)| earlier == name)
        })
    }
}

/// Shows where a request goes and which fields it has, never their values.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.form.iter().map(|(k, _)| k).collect();
        write!(f, "{} {} {fields:?}", self.method, self.path)
    }
}

/// An answer as the state machine gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, absent with an empty body.
    pub content_type: Option<&'static str>,
    /// The body, empty for 204 and for a plain 200.
    pub body: String,
}

impl Answer {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: Some("application/json"), body: body.to_string() }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, content_type: None, body: String::new() }
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self { status, content_type: Some("text/html;charset=utf-8"), body: body.to_owned() }
    }

    /// The body as JSON; `Null` where it is none.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Shows the status alone, since bodies carry tokens.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A refusal in OAuth's form: status, `error`, `error_description`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRequest {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

impl RefusedRequest {
    pub(crate) fn new(status: u16, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into() }
    }

    pub(crate) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", description)
    }

    pub(crate) fn invalid_grant(description: &'static str) -> Self {
        Self::new(400, "invalid_grant", description)
    }

    pub(crate) fn invalid_scope(description: impl Into<String>) -> Self {
        Self::new(400, "invalid_scope", description)
    }

    /// What Keycloak says when an exception went through it.
    pub(crate) fn unknown_error() -> Self {
        Self::new(500, "unknown_error", "For more on this error consult the server log.")
    }
}

impl From<RefusedRequest> for Answer {
    fn from(refusal: RefusedRequest) -> Self {
        let body = json!({"error": refusal.error, "error_description": refusal.description});
        Self::json(refusal.status, &body)
    }
}
