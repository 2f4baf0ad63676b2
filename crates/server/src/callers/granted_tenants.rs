//! The tenants a module is granted: by name, or by a pattern over the tenants that are configured.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer};
use tokenvault_core::ids::TenantId;

/// One of them, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum TenantGrant {
    /// One tenant.
    Name(TenantId),
    /// All tenants whose names begin like this; with nothing in it all there are.
    Prefix(String),
}

impl TenantGrant {
    fn covers(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Name(name) => name == tenant,
            Self::Prefix(prefix) => tenant.as_str().starts_with(prefix),
        }
    }
}

impl fmt::Display for TenantGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl<'de> Deserialize<'de> for TenantGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let grant = match text.strip_suffix('*') {
            Some("") => Some(Self::Prefix(String::new())),
            // What a tenant's name may begin with is itself a tenant's name.
            Some(prefix) => TenantId::parse(prefix).ok().map(|prefix| Self::Prefix(prefix.as_str().to_owned())),
            None => TenantId::parse(text).ok().map(Self::Name),
        };
        grant.ok_or_else(|| serde::de::Error::custom("each must be a tenant's name, `*` or `PREFIX*`"))
    }
}

/// What a module's `tenants` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct GrantedTenants(BTreeSet<TenantGrant>);

impl GrantedTenants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a tenant is among them. Whether there is such a tenant is another question.
    pub fn contains(&self, tenant: &TenantId) -> bool {
        self.0.iter().any(|grant| grant.covers(tenant))
    }

    /// The tenant that needs no naming: where one is granted, by its name. A pattern counts as several, whatever it covers at
    /// the moment: a call must not begin to fail because a tenant was added.
    pub fn only(&self) -> Option<&TenantId> {
        let mut grants = self.0.iter();
        match (grants.next(), grants.next()) {
            (Some(TenantGrant::Name(name)), None) => Some(name),
            _ => None,
        }
    }

    /// Those that are granted by name.
    pub fn names(&self) -> impl Iterator<Item = &TenantId> {
        self.0.iter().filter_map(|grant| match grant {
            TenantGrant::Name(name) => Some(name),
            TenantGrant::Prefix(_) => None,
        })
    }

    /// The patterns, as they are written.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        self.prefixes().map(ToString::to_string)
    }

    /// Those of them that cover none of these tenants.
    pub fn idle_patterns<'a>(&self, tenants: &(impl Iterator<Item = &'a TenantId> + Clone)) -> Vec<String> {
        let idle = self.prefixes().filter(|grant| !tenants.clone().any(|tenant| grant.covers(tenant)));
        idle.map(ToString::to_string).collect()
    }

    fn prefixes(&self) -> impl Iterator<Item = &TenantGrant> {
        self.0.iter().filter(|grant| matches!(grant, TenantGrant::Prefix(_)))
    }
}
