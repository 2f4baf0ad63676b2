//! What was said, with everything chance decides taken out: session ids and subjects become numbers in the order they
//! first appeared, times stay out, and what only Keycloak's set-up adds is left aside.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// An answer over HTTP.
#[derive(Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body as JSON, or as a string, or null where there is none.
    pub body: Value,
}

impl Reply {
    /// Status and OAuth error, or the status and the one word that matters.
    pub fn words(&self) -> String {
        let status = self.status;
        match (&self.body["error"], &self.body["active"]) {
            (Value::String(error), _) => match self.body["error_description"].as_str() {
                Some(description) => format!("{status} {error}: {description}"),
                None => format!("{status} {error}"),
            },
            (_, Value::Bool(active)) => format!("{status} {}", if *active { "active" } else { "inactive" }),
            _ => status.to_string(),
        }
    }

    /// The access token, or nothing to speak of.
    pub fn access(&self) -> &str {
        self.body["access_token"].as_str().unwrap_or_default()
    }

    /// The refresh token, or nothing to speak of.
    pub fn refresh(&self) -> &str {
        self.body["refresh_token"].as_str().unwrap_or_default()
    }

    /// The access token's claims.
    pub fn claims(&self) -> Value {
        claims(self.access())
    }

    /// The second in which the access token was issued.
    pub fn issued(&self) -> u64 {
        self.claims()["iat"].as_u64().unwrap_or_default()
    }

    /// The access token's session.
    pub fn sid(&self) -> String {
        self.claims()["sid"].as_str().unwrap_or_default().to_owned()
    }
}

/// A token's claims, unverified; null for what is no token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|p| URL_SAFE_NO_PAD.decode(p).ok());
    payload.and_then(|p| serde_json::from_slice(&p).ok()).unwrap_or(Value::Null)
}

/// The steps of one scenario with one provider.
#[derive(Default)]
pub struct Transcript {
    lines: Vec<String>,
    unexpected: Vec<String>,
    known: Vec<String>,
}

impl Transcript {
    /// Notes an answer, and that it should have been another one if it should.
    pub fn answer(&mut self, step: &str, reply: &Reply, expected: &str) {
        let words = reply.words();
        if words != expected {
            self.unexpected.push(format!("{step}: expected «{expected}», heard «{words}»"));
        }
        let shape = self.shape(reply);
        self.lines.push(format!("{step} → {words}{shape}"));
    }

    /// Notes something that must be so.
    pub fn fact(&mut self, what: &str, so: bool) {
        if !so {
            self.unexpected.push(format!("{what}: is not so"));
        }
        self.lines.push(format!("{what}: {so}"));
    }

    /// Notes a value that must be equal for both.
    pub fn note(&mut self, what: &str, value: impl fmt::Display) {
        self.lines.push(format!("{what}: {value}"));
    }

    /// What was not as expected.
    pub fn complaints(&self, whom: &str) -> Vec<String> {
        self.unexpected.iter().map(|c| format!("{whom}: {c}")).collect()
    }

    /// Where another transcript differs.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let longest = self.lines.len().max(other.lines.len());
        let line = |t: &Self, i: usize| t.lines.get(i).cloned().unwrap_or_else(|| "(nothing)".to_owned());
        (0..longest)
            .filter(|i| self.lines.get(*i) != other.lines.get(*i))
            .map(|i| format!("Keycloak: {}\n    stand-in: {}", line(self, i), line(other, i)))
            .collect()
    }

    /// What an answer with tokens, or about one, is made of.
    fn shape(&mut self, reply: &Reply) -> String {
        let body = &reply.body;
        if body.is_string() {
            return " (a page)".to_owned();
        }
        if body["active"] == true {
            let user = self.user_shape(body);
            let act = body["act"]["sub"].as_str().unwrap_or("-");
            let (kind, client) = (&body["token_type"], &body["client_id"]);
            return format!(" {kind} of {client} for {user} acted by {act}");
        }
        let access = reply.claims();
        if access.is_null() {
            return String::new();
        }
        let refresh = claims(reply.refresh());
        let id = claims(body["id_token"].as_str().unwrap_or_default());
        let issued = body["issued_token_type"].as_str().and_then(|t| t.rsplit(':').next()).unwrap_or("-");
        format!(
            " at[{}] rt[{}] id[{} {}] issued {issued}, state {}, scope {}",
            self.access_shape(&access),
            self.refresh_shape(&refresh),
            id["typ"].as_str().unwrap_or("-"),
            self.number(&id["sub"]),
            body["session_state"] == access["sid"],
            sorted(&body["scope"]),
        )
    }

    fn access_shape(&mut self, token: &Value) -> String {
        let origin = token["jti"].as_str().and_then(|jti| jti.split_once(':')).map_or("-", |(origin, _)| origin);
        format!(
            "{origin} {} azp {} sid {} {}",
            token["typ"].as_str().unwrap_or("-"),
            token["azp"].as_str().unwrap_or("-"),
            self.number(&token["sid"]),
            self.user_shape(token),
        )
    }

    /// Whom a token or its description is about, for whom it is, and what they may.
    fn user_shape(&mut self, about: &Value) -> String {
        let (subject, own) = (self.number(&about["sub"]), self.number(&about["keycloak_user_id"]));
        let user_id = about["user_id"].as_str().unwrap_or("-");
        format!("sub {subject} user_id {user_id} own id {own} aud {}{}", audience(&about["aud"]), roles(about))
    }

    fn refresh_shape(&mut self, token: &Value) -> String {
        if token.is_null() {
            return "-".to_owned();
        }
        format!(
            "{} azp {} sid {} sub {} ends {} chain {} scope {}",
            token["typ"].as_str().unwrap_or("-"),
            token["azp"].as_str().unwrap_or("-"),
            self.number(&token["sid"]),
            self.number(&token["sub"]),
            token["exp"].is_number(),
            token["reuse_id"].is_string(),
            sorted(&token["scope"]),
        )
    }

    fn number(&mut self, id: &Value) -> String {
        let Some(id) = id.as_str() else { return "-".to_owned() };
        let at = self.known.iter().position(|k| k == id).unwrap_or_else(|| {
            self.known.push(id.to_owned());
            self.known.len() - 1
        });
        format!("#{at}")
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// Without the issuer, for whom refresh tokens are and whose address is not the same for both.
fn audience(aud: &Value) -> String {
    let mut names = match aud {
        Value::String(one) => vec![one.as_str()],
        aud => texts(aud),
    };
    names.retain(|name| !name.starts_with("http"));
    joined(names)
}

/// The roles of the realm and of each client.
fn roles(about: &Value) -> String {
    let clients = about["resource_access"].as_object().into_iter().flatten();
    let mut clients: Vec<String> =
        clients.map(|(client, of)| format!(" {client} {}", joined(texts(&of["roles"])))).collect();
    clients.sort();
    format!(" roles {}{}", joined(texts(&about["realm_access"]["roles"])), clients.concat())
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn joined(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    if names.is_empty() { "-".to_owned() } else { names.join("+") }
}

/// The scopes in order, without `service_account`, which refresh tokens name where the client has one.
fn sorted(scope: &Value) -> String {
    let mut words: Vec<&str> = scope.as_str().unwrap_or("-").split_whitespace().collect();
    words.retain(|word| *word != "service_account");
    words.sort_unstable();
    words.join("+")
}
