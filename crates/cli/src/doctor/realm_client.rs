//! A client of the realm as an administrator sees it, and which mappers put which claims into its access tokens.

use std::collections::BTreeSet;

use serde_json::Value;

use super::json::text;

/// What a claim is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClaimSource {
    /// Keycloak's own id of the user, which nobody can change.
    Id,
    /// One of the members every user has, such as the name.
    Property(String),
    /// An attribute of the user.
    Attribute(String),
    /// Made by a mapper of this type.
    Other(String),
}

/// Whether a client's access tokens carry something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimPresence {
    /// They do.
    Yes,
    /// A mapper is there, but keeps it out of access tokens of the client's kind.
    Withheld,
    /// No mapper is there.
    Unmapped,
}

impl ClaimSource {
    fn of(mapper: &Value) -> Self {
        let kind = text(&mapper["protocolMapper"]);
        let name = text(&mapper["config"]["user.attribute"]);
        match kind {
            "oidc-sub-mapper" => Self::Id,
            "oidc-usermodel-property-mapper" if name == "id" => Self::Id,
            "oidc-usermodel-property-mapper" => Self::Property(name.to_owned()),
            // Keycloak keeps these among a user's attributes as well.
            "oidc-usermodel-attribute-mapper" if ["username", "email", "firstName", "lastName"].contains(&name) => {
                Self::Property(name.to_owned())
            }
            "oidc-usermodel-attribute-mapper" => Self::Attribute(name.to_owned()),
            _ => Self::Other(kind.to_owned()),
        }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Id => "Keycloak's id of the user".to_owned(),
            Self::Property(name) => format!("the user's {name}"),
            Self::Attribute(name) => format!("the attribute {name}"),
            Self::Other(kind) => format!("a mapper of the type {kind}"),
        }
    }
}

/// A client, with the mappers that are in effect for it, its own and its scopes'.
pub(super) struct RealmClient {
    /// Keycloak's id of it.
    pub(super) id: String,
    /// Its name (`azp`).
    pub(super) name: String,
    settings: Value,
    mappers: Vec<Value>,
}

impl RealmClient {
    /// With its settings, and the mappers that are in effect.
    pub(super) fn new(id: String, name: &str, settings: Value, mappers: Vec<Value>) -> Self {
        Self { id, name: name.to_owned(), settings, mappers }
    }

    /// One of this id and name, and nothing else to know of it.
    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self::new(name.to_owned(), name, Value::Null, Vec::new())
    }

    /// A switch, such as `enabled`.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.settings[name].as_bool()
    }

    /// One of its attributes; empty where it has none of that name.
    pub(super) fn attribute(&self, name: &str) -> &str {
        text(&self.settings["attributes"][name])
    }

    /// An attribute in seconds, where it says more than nothing.
    pub(super) fn seconds(&self, name: &str) -> Option<u64> {
        self.attribute(name).parse().ok().filter(|seconds| *seconds > 0)
    }

    /// Keycloak's ids of the login flows that it has of its own instead of the realm's.
    pub(super) fn own_flows(&self) -> impl Iterator<Item = &str> {
        let own = self.settings["authenticationFlowBindingOverrides"].as_object();
        own.into_iter().flatten().filter_map(|(_, id)| id.as_str()).filter(|id| !id.is_empty())
    }

    /// Whether its access tokens carry only what mappers mark for them.
    pub(super) fn is_lightweight(&self) -> bool {
        self.attribute("client.use.lightweight.access.token.enabled") == "true"
    }

    fn carries(&self, fits: impl Fn(&Value) -> bool) -> ClaimPresence {
        let mut found = self.mappers.iter().filter(|mapper| fits(mapper)).peekable();
        if found.peek().is_none() {
            ClaimPresence::Unmapped
        } else if found.any(|mapper| self.puts(mapper)) {
            ClaimPresence::Yes
        } else {
            ClaimPresence::Withheld
        }
    }

    fn puts(&self, mapper: &Value) -> bool {
        let flag = if self.is_lightweight() { "lightweight.claim" } else { "access.token.claim" };
        mapper["config"][flag] == "true" || is_pairwise(text(&mapper["protocolMapper"]))
    }

    /// Whether its access tokens grow with their users' roles, as with *Full scope allowed*.
    pub(super) fn carries_every_role(&self) -> bool {
        let of_roles = |mapper: &&Value| text(&mapper["protocolMapper"]).ends_with("-role-mapper");
        self.switch("fullScopeAllowed") == Some(true)
            && self.mappers.iter().filter(of_roles).any(|mapper| self.puts(mapper))
    }

    /// Whether its access tokens carry the claim.
    pub(super) fn carries_claim(&self, claim: &str) -> ClaimPresence {
        self.carries(|mapper| maps(mapper, claim))
    }

    /// Whether its access tokens name the other client in `aud`.
    pub(super) fn carries_audience(&self, client: &str) -> ClaimPresence {
        let members = ["included.client.audience", "included.custom.audience"];
        self.carries(|mapper| {
            mapper["protocolMapper"] == "oidc-audience-mapper"
                && members.iter().any(|member| mapper["config"][member] == client)
        })
    }

    /// What its access tokens lack, in words; nothing where they carry it.
    pub(super) fn lacks(&self, what: &str, carried: ClaimPresence) -> Option<String> {
        match carried {
            ClaimPresence::Yes => None,
            ClaimPresence::Unmapped => Some(format!("has no mapper for {what}")),
            ClaimPresence::Withheld if self.is_lightweight() => Some(format!(
                "has lightweight access tokens, and its mapper for {what} is not marked for them (`lightweight.claim`)"
            )),
            ClaimPresence::Withheld => Some(format!("has a mapper for {what} that is not marked for access tokens")),
        }
    }

    /// What the claim in its access tokens is made of.
    pub(super) fn sources(&self, claim: &str) -> BTreeSet<ClaimSource> {
        let put = self.mappers.iter().filter(|mapper| maps(mapper, claim) && self.puts(mapper));
        // What is mapped onto `sub` by name replaces what Keycloak's own mapper puts there.
        let (named, plain): (Vec<_>, Vec<_>) = put.partition(|mapper| mapper["config"]["claim.name"] == claim);
        let chosen = if named.is_empty() { plain } else { named };
        chosen.into_iter().map(ClaimSource::of).collect()
    }

    /// Whether introspection of its tokens shows all roles of their users. With fewer, privileged users are not recognised.
    pub(super) fn shows_roles(&self) -> bool {
        let told = |kind: &str, claim: &str| {
            self.mappers.iter().any(|mapper| {
                let config = &mapper["config"];
                mapper["protocolMapper"] == kind
                    && config["claim.name"] == claim
                    && introspected(config)
                    && text(&config["usermodel.clientRoleMapping.clientId"]).is_empty()
            })
        };
        self.switch("fullScopeAllowed") == Some(true)
            && told("oidc-usermodel-realm-role-mapper", "realm_access.roles")
            && told("oidc-usermodel-client-role-mapper", "resource_access.${client_id}.roles")
    }
}

fn maps(mapper: &Value, claim: &str) -> bool {
    let own = claim == "sub"
        && (mapper["protocolMapper"] == "oidc-sub-mapper" || is_pairwise(text(&mapper["protocolMapper"])));
    own || mapper["config"]["claim.name"] == claim
}

/// A mapper without this setting puts into introspection what it puts into the token.
fn introspected(config: &Value) -> bool {
    let told = &config["introspection.token.claim"];
    told == "true" || (told.is_null() && config["access.token.claim"] == "true")
}

/// A `sub` of each client's own, made of Keycloak's id of the user; this type of mapper has no switches.
pub(super) fn is_pairwise(kind: &str) -> bool {
    kind.contains("pairwise")
}
