//! Protocol mappers: what a client's tokens say beside what Keycloak has all tokens say.

/// Where a mapper takes what it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `oidc-usermodel-property-mapper`: what Keycloak itself knows of the user, which no attribute of the same name hides.
    Property { property: String, claim: String },
    /// `oidc-usermodel-attribute-mapper`: what somebody wrote into the user's attributes.
    Attribute { attribute: String, claim: String },
    /// `oidc-sub-mapper`: Keycloak's own id of the user as `sub`. Regular tokens have it from the scope `basic` anyway.
    Subject,
    /// `oidc-sha256-pairwise-sub-mapper`: as `sub` an id that this client alone knows the user by.
    PairwiseSubject,
    /// `oidc-audience-mapper`: a client in `aud`.
    Audience(String),
}

/// A protocol mapper. It adds to regular access tokens, ID tokens and introspection; to lightweight access tokens only when
/// it is said.
///
/// Of several that write one claim, the last one that was added wins here, after the subject mapper. In Keycloak chance
/// decides among those (their ids do), so no realm should have two that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapper {
    pub(crate) source: Source,
    pub(crate) access_token: bool,
    pub(crate) lightweight: bool,
}

impl Mapper {
    fn new(source: Source) -> Self {
        Self { source, access_token: true, lightweight: false }
    }

    /// A claim from a property of the user: `username`, `id`, `email`, `firstName`, `lastName`.
    pub fn property(property: impl Into<String>, claim: impl Into<String>) -> Self {
        Self::new(Source::Property { property: property.into(), claim: claim.into() })
    }

    /// A claim from an attribute of the user.
    pub fn attribute(attribute: impl Into<String>, claim: impl Into<String>) -> Self {
        Self::new(Source::Attribute { attribute: attribute.into(), claim: claim.into() })
    }

    /// Keycloak's own id of the user as `sub`.
    pub fn subject() -> Self {
        Self::new(Source::Subject)
    }

    /// As `sub` an id that this client alone knows the user by.
    pub fn pairwise_subject() -> Self {
        Self::new(Source::PairwiseSubject)
    }

    /// A client in `aud`.
    pub fn audience(client: impl Into<String>) -> Self {
        Self::new(Source::Audience(client.into()))
    }

    /// It adds to lightweight access tokens, too (`lightweight.claim`).
    #[must_use]
    pub fn in_lightweight_tokens(mut self) -> Self {
        self.lightweight = true;
        self
    }

    /// It adds nothing to regular access tokens (no `access.token.claim`).
    #[must_use]
    pub fn not_in_regular_tokens(mut self) -> Self {
        self.access_token = false;
        self
    }

    /// The claim it writes, unless it is `aud`.
    pub(crate) fn claim(&self) -> Option<&str> {
        match &self.source {
            Source::Property { claim, .. } | Source::Attribute { claim, .. } => Some(claim),
            Source::Subject | Source::PairwiseSubject => Some("sub"),
            Source::Audience(_) => None,
        }
    }
}
