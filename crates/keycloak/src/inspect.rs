//! What a realm tells about itself to the vault's own client, for whoever examines a set-up.
//!
//! Every act here is harmless to users: it asks for tokens of the client's service account alone, and what it opens it
//! ends. Nothing here is part of serving a job.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use serde_json::Value;
use tokenvault_core::ids::AccountId;
use tokenvault_core::ports::{Clock, Entropy};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;
use url::Url;

use crate::answer::ACCOUNT_CLAIM;
use crate::claims::{self, JwtClaims};
use crate::http::{HttpClient, HttpRequest, TransportFailure};
use crate::jwks::RealmKey;
use crate::request::{ClientAuth, RequestBuilder};
use crate::tenant::{Credentials, TenantConfig};

/// Why something was not learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectionFailed {
    /// There was no answer.
    Transport(TransportFailure),
    /// Keycloak said no, in these words.
    Refused {
        /// The status code.
        status: u16,
        /// OAuth's error code, or nothing.
        error: String,
        /// Keycloak's own words, or nothing.
        description: String,
    },
    /// An answer that Keycloak would not give.
    Unintelligible,
}

impl fmt::Display for InspectionFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(failure) => failure.fmt(f),
            Self::Refused { status, error, description } if description.is_empty() => write!(f, "{status} {error}"),
            Self::Refused { status, description, .. } => write!(f, "{status} \"{description}\""),
            Self::Unintelligible => f.write_str("an answer that is not Keycloak's"),
        }
    }
}

/// The service account's token and what it shows. `Debug` shows no token.
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    /// The token.
    pub token: AccessToken,
    /// Its life, which is that of every access token of the client.
    pub expires_in: Duration,
    /// Keycloak's clock when it was issued, in whole seconds.
    pub issued_at: Option<Timestamp>,
    /// Whose it is.
    pub account: Option<AccountId>,
    /// The realm's roles in it.
    pub realm_roles: Vec<String>,
    /// Whether it names the role `realm-management/impersonation`.
    pub names_impersonation: bool,
    /// Whom it is for (`aud`).
    pub audience: Vec<String>,
    /// Whether it carries [`ACCOUNT_CLAIM`].
    pub names_account: bool,
    /// The names of all its claims.
    pub claims: BTreeSet<String>,
    /// The bytes of its header and its signature, which every access token of the client has.
    pub envelope: usize,
}

impl ServiceAccount {
    fn read(answer: &Value) -> Result<Self, InspectionFailed> {
        let token = AccessToken::new(text(answer, "access_token")?);
        let claims = claims::unverified(token.expose()).ok_or(InspectionFailed::Unintelligible)?;
        let payload = token.expose().split('.').nth(1).map_or(0, str::len);
        Ok(Self {
            expires_in: seconds(answer, "expires_in")?,
            issued_at: claims.get("iat").and_then(Value::as_u64).map(Timestamp::from_secs),
            account: claims::text(&claims, "sub").and_then(|sub| AccountId::parse(sub).ok()),
            realm_roles: roles(claims.get("realm_access")),
            names_impersonation: impersonates(&claims),
            audience: audience(claims.get("aud")),
            names_account: claims.contains_key(ACCOUNT_CLAIM),
            envelope: token.expose().len() - payload,
            claims: claims.keys().cloned().collect(),
            token,
        })
    }
}

/// A session that the client opened for its own service account. `Debug` shows no token.
#[derive(Debug, Clone)]
pub struct OwnSession {
    /// Its refresh token.
    pub refresh: RefreshToken,
    /// That token's life: how long the session may idle, or last if that is shorter.
    pub refresh_expires_in: Duration,
}

/// A tenant's realm, as its client sees it.
pub struct Inspector<'a> {
    tenant: &'a TenantConfig,
    http: Arc<dyn HttpClient>,
    clock: &'a dyn Clock,
    entropy: &'a dyn Entropy,
}

impl<'a> Inspector<'a> {
    /// Of a tenant that has an HTTP client of its own; `None` for one that has not.
    pub fn new(tenant: &'a TenantConfig, clock: &'a dyn Clock, entropy: &'a dyn Entropy) -> Option<Self> {
        let http = Arc::clone(tenant.http.as_ref()?);
        Some(Self { tenant, http, clock, entropy })
    }

    /// The issuer that the realm's discovery document names.
    pub async fn issuer(&self) -> Result<String, InspectionFailed> {
        let url = self.beside(|realm| format!("{realm}/.well-known/openid-configuration"))?;
        let document = self.ask(HttpRequest::get(&url)).await?;
        document["issuer"].as_str().map(str::to_owned).ok_or(InspectionFailed::Unintelligible)
    }

    /// The ids of the realm's signing keys that the vault cannot verify with.
    pub async fn unusable_keys(&self) -> Result<BTreeSet<String>, InspectionFailed> {
        let set = self.ask(HttpRequest::get(&self.tenant.endpoints().jwks)).await?;
        let keys = set["keys"].as_array().ok_or(InspectionFailed::Unintelligible)?;
        let unusable = keys.iter().filter_map(RealmKey::read).filter(|key| key.verifying.is_none());
        Ok(unusable.map(|key| key.kid).collect())
    }

    /// A token of the service account's.
    pub async fn service_account(&self) -> Result<ServiceAccount, InspectionFailed> {
        let answer = self.as_client(|caller| caller.service_account()).await?;
        ServiceAccount::read(&answer)
    }

    /// The names of the claims that Keycloak knows of the service account's token, those included that the token of a
    /// client with lightweight access tokens leaves out; `None` where Keycloak calls the token inactive.
    pub async fn known_claims(&self, account: &ServiceAccount) -> Result<Option<BTreeSet<String>>, InspectionFailed> {
        let answer = self.as_client(|caller| caller.introspect(&account.token)).await?;
        match answer.as_object() {
            Some(_) if answer["active"] == false => Ok(None),
            Some(known) if answer["active"] == true => Ok(Some(known.keys().cloned().collect())),
            _ => Err(InspectionFailed::Unintelligible),
        }
    }

    /// Asks for a refresh token in exchange for the service account's access token, which the standard exchange
    /// refuses: its words tell whether it is there.
    pub async fn exchange_for_refresh(&self, account: &ServiceAccount) -> Result<(), InspectionFailed> {
        self.as_client(|caller| caller.exchange(&account.token, None)).await.map(drop)
    }

    /// Opens a session of the service account's by impersonation, as the vault does for a user.
    pub async fn impersonate_itself(&self, account: &ServiceAccount) -> Result<OwnSession, InspectionFailed> {
        let itself = account.account.as_ref().ok_or(InspectionFailed::Unintelligible)?;
        let answer = self.as_client(|caller| caller.impersonate(&account.token, itself, None)).await?;
        session(&answer)
    }

    /// Spends a refresh token of such a session.
    pub async fn refresh(&self, token: &RefreshToken) -> Result<OwnSession, InspectionFailed> {
        let answer = self.as_client(|caller| caller.refresh(token)).await?;
        session(&answer)
    }

    /// Ends such a session. A revocation would leave an empty one behind where a reuse has detached the client.
    pub async fn end(&self, session: &OwnSession) -> Result<(), InspectionFailed> {
        let url = self.beside(|realm| format!("{realm}/protocol/openid-connect/logout"))?;
        match self.as_client(|caller| caller.logout(&url, &session.refresh)).await {
            Ok(_) | Err(InspectionFailed::Refused { status: 204, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A resource of the realm's admin API; `path` begins with a slash or is empty. What stands in it is quoted by
    /// [`percent_encoded`].
    pub async fn admin(&self, administrator: &AccessToken, path: &str) -> Result<Value, InspectionFailed> {
        let below = |realm: &str| {
            let (server, name) = realm.rsplit_once("/realms/").unwrap_or((realm, ""));
            format!("{server}/admin/realms/{name}{path}")
        };
        let mut request = HttpRequest::get(&self.beside(below)?);
        let bearer = HeaderValue::from_str(&format!("Bearer {}", administrator.expose()));
        let mut bearer = bearer.map_err(|_| InspectionFailed::Unintelligible)?;
        bearer.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, bearer);
        self.ask(request).await
    }

    fn beside(&self, path: impl FnOnce(&str) -> String) -> Result<Url, InspectionFailed> {
        let token = self.tenant.endpoints().token.as_str();
        let realm = token.strip_suffix("/protocol/openid-connect/token").ok_or(InspectionFailed::Unintelligible)?;
        Url::parse(&path(realm)).map_err(|_| InspectionFailed::Unintelligible)
    }

    async fn as_client(
        &self,
        build: impl FnOnce(RequestBuilder<'_>) -> HttpRequest,
    ) -> Result<Value, InspectionFailed> {
        let (tenant, now) = (self.tenant, self.clock.now());
        let auth = match &tenant.credentials {
            Credentials::Secret(secret) => ClientAuth::Secret(secret.clone()),
            Credentials::PrivateKeyJwt(key) => {
                let assertion = key.assert(&tenant.client_id, tenant.issuer(), now, self.entropy);
                ClientAuth::Assertion(assertion.map_err(|_| InspectionFailed::Unintelligible)?)
            }
        };
        let caller = RequestBuilder { endpoints: tenant.endpoints(), client: &tenant.client_id, auth: &auth };
        self.ask(build(caller)).await
    }

    async fn ask(&self, request: HttpRequest) -> Result<Value, InspectionFailed> {
        let answer = self.http.send(request).await.map_err(InspectionFailed::Transport)?;
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        if answer.status == 200 {
            return body.ok_or(InspectionFailed::Unintelligible);
        }
        let member = |name: &str| {
            body.as_ref().and_then(|body| body.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (error, description) = (member("error"), member("error_description"));
        Err(InspectionFailed::Refused { status: answer.status, error, description })
    }
}

/// A name as it stands in a URL, in its path or its query.
pub fn percent_encoded(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

fn session(answer: &Value) -> Result<OwnSession, InspectionFailed> {
    let refresh = RefreshToken::new(text(answer, "refresh_token")?);
    Ok(OwnSession { refresh, refresh_expires_in: seconds(answer, "refresh_expires_in")? })
}

fn text<'a>(answer: &'a Value, name: &str) -> Result<&'a str, InspectionFailed> {
    answer[name].as_str().ok_or(InspectionFailed::Unintelligible)
}

fn seconds(answer: &Value, name: &str) -> Result<Duration, InspectionFailed> {
    answer[name].as_u64().map(Duration::from_secs).ok_or(InspectionFailed::Unintelligible)
}

fn roles(access: Option<&Value>) -> Vec<String> {
    let roles = access.and_then(|access| access.get("roles")).and_then(Value::as_array);
    roles.into_iter().flatten().filter_map(|role| role.as_str().map(str::to_owned)).collect()
}

/// One name or a list of them (RFC 7519 §4.1.3).
pub fn audience(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn impersonates(claims: &JwtClaims) -> bool {
    let management = claims.get("resource_access").and_then(|access| access.get("realm-management"));
    roles(management).iter().any(|role| role == "impersonation")
}
