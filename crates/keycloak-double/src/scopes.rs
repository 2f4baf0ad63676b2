//! Client scopes as a fresh realm has them, and what a `scope` parameter makes of them.

/// Granted always and named in `scope`.
const DEFAULT: [&str; 2] = ["profile", "email"];
/// Granted always, named only inside refresh tokens.
const HIDDEN: [&str; 4] = ["roles", "web-origins", "acr", "basic"];
/// Granted when asked for.
const OPTIONAL: [&str; 4] = ["offline_access", "address", "phone", "microprofile-jwt"];

/// The scopes of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    optional: Vec<&'static str>,
}

impl Granted {
    /// The default scopes and those optional ones that are asked for. Unknown ones are passed over: whether they are
    /// an error is [`valid`]'s to say.
    pub(crate) fn from_parameter(scope: Option<&str>) -> Self {
        let asked: Vec<_> = scope.unwrap_or_default().split_whitespace().collect();
        Self { optional: OPTIONAL.into_iter().filter(|o| asked.contains(o)).collect() }
    }

    pub(crate) fn offline(&self) -> bool {
        self.optional.contains(&"offline_access")
    }

    /// As answers and access tokens say it.
    pub(crate) fn text(&self, openid: bool) -> String {
        self.join(openid, &[])
    }

    /// As refresh tokens say it.
    pub(crate) fn full_text(&self, openid: bool) -> String {
        self.join(openid, &HIDDEN)
    }

    fn join(&self, openid: bool, more: &[&'static str]) -> String {
        let openid: &[&str] = if openid { &["openid"] } else { &[] };
        [openid, &self.optional, &DEFAULT, more].concat().join(" ")
    }
}

/// Whether a `scope` parameter asks for `OpenID` Connect.
pub(crate) fn is_openid(scope: Option<&str>) -> bool {
    scope.is_some_and(|s| s.split_whitespace().any(|word| word == "openid"))
}

/// Whether a client may ask for all of this.
pub(crate) fn valid(scope: Option<&str>) -> bool {
    scope
        .unwrap_or_default()
        .split_whitespace()
        .all(|word| word == "openid" || DEFAULT.contains(&word) || HIDDEN.contains(&word) || OPTIONAL.contains(&word))
}

/// The words of `scope` that `within` has too: no answer grants more than the token it came from.
pub(crate) fn narrowed(scope: &str, within: &str) -> String {
    let within: Vec<_> = within.split_whitespace().collect();
    scope.split_whitespace().filter(|word| within.contains(word)).collect::<Vec<_>>().join(" ")
}

/// The words of `scope` that a client knows at all.
pub(crate) fn known(scope: &str) -> String {
    scope.split_whitespace().filter(|word| valid(Some(word))).collect::<Vec<_>>().join(" ")
}
