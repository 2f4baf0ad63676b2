//! A realm to act in, real or stood in for, with the provider under test before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use keycloak_double::{Double, DoubleConfig, RealmConfig, ServiceAccount};
use serde_json::{Value, json};
use tokenvault_core::ids::{AccountId, ClientId, TenantId};
use tokenvault_core::ports::testing::SeededEntropy;
use tokenvault_core::ports::{Client, Clock};
use tokenvault_core::secret::{AccessToken, ClientSecret, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::{Credentials, HttpSettings, KeycloakProvider, ReqwestClient, TenantConfig, TrustAnchors};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, VAULT};
use tokenvault_tests::harness::{Failure, Result};

/// The machine's clock.
struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What a user's login gave the UI.
pub(crate) struct Login {
    pub(crate) access: AccessToken,
    pub(crate) refresh: RefreshToken,
}

/// Who plays Keycloak.
pub(crate) enum Backing {
    Real(LabRealm),
    Double(Double),
}

/// How the stage is set.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setting {
    /// The vault's service account may not impersonate.
    pub(crate) without_impersonation: bool,
    /// No session lasts longer, in seconds.
    pub(crate) session_max: Option<u64>,
}

pub(crate) struct Stage {
    pub(crate) backing: Backing,
    pub(crate) provider: KeycloakProvider,
    pub(crate) tenant: TenantId,
    /// The vault's client.
    pub(crate) vault: Client,
    /// The UI's client, for which the vault may speak too.
    pub(crate) ui: Client,
    pub(crate) issuer: String,
    secrets: [String; 2],
}

const DOUBLE_REALM: &str = "lab";

impl Stage {
    /// On real Keycloak.
    pub(crate) async fn keycloak(setting: Setting) -> Result<Self> {
        let mut builder = LabRealm::builder();
        if setting.without_impersonation {
            builder = builder.without_impersonation();
        }
        if let Some(seconds) = setting.session_max {
            builder = builder.max(seconds).idle(seconds);
        }
        let realm = builder.create().await?;
        let secrets = [realm.secret(VAULT).to_owned(), realm.secret(LOGIN_APP).to_owned()];
        let (name, issuer) = (realm.name().to_owned(), realm.issuer().to_owned());
        Self::with(Backing::Real(realm), &name, issuer, secrets)
    }

    /// On the stand-in.
    pub(crate) async fn double(setting: Setting) -> Result<Self> {
        let realm = RealmConfig::lab(DOUBLE_REALM)
            .with_client(VAULT, |client| {
                let role =
                    if setting.without_impersonation { ServiceAccount::Plain } else { ServiceAccount::Impersonating };
                client.service_account(role)
            })
            .with_settings(|settings| {
                if let Some(seconds) = setting.session_max {
                    (settings.sso_session_max, settings.sso_session_idle) = (seconds, seconds);
                }
            });
        let double = Double::start(DoubleConfig::new().realm(realm)).await?;
        let issuer = format!("{}/realms/{DOUBLE_REALM}", double.base_url());
        let secrets = ["tokenvault-secret".to_owned(), "login-app-secret".to_owned()];
        Self::with(Backing::Double(double), DOUBLE_REALM, issuer, secrets)
    }

    fn with(backing: Backing, tenant: &str, issuer: String, secrets: [String; 2]) -> Result<Self> {
        let tenant = TenantId::parse(tenant)?;
        let client = |id| Ok::<_, Failure>(Client { tenant: tenant.clone(), id: ClientId::parse(id)? });
        let (vault, ui) = (client(VAULT)?, client(LOGIN_APP)?);
        let provider = provider(&tenant, tenant_config(&issuer, &secrets)?)?;
        Ok(Self { backing, provider, tenant, vault, ui, issuer, secrets })
    }

    /// Another provider for the same realm, whose settings differ.
    pub(crate) fn provider_with(&self, change: impl FnOnce(&mut TenantConfig)) -> Result<KeycloakProvider> {
        let mut config = tenant_config(&self.issuer, &self.secrets)?;
        change(&mut config);
        provider(&self.tenant, config)
    }

    /// Alice logs in at the UI.
    pub(crate) async fn login(&self) -> Result<Login> {
        self.login_with_scope("openid").await
    }

    /// Alice logs in at the UI, which asks for this scope.
    pub(crate) async fn login_with_scope(&self, scope: &str) -> Result<Login> {
        let (access, refresh) = match &self.backing {
            Backing::Real(realm) => {
                let tokens = realm.login_with_scope("alice", scope).await?;
                (tokens.access_token.clone(), tokens.refresh().to_owned())
            }
            Backing::Double(_) => {
                let form = [
                    ("grant_type", "password"),
                    ("username", "alice"),
                    ("password", "alice-password"),
                    ("scope", scope),
                ];
                let tokens = self.post("token", &form).await?;
                let member = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
                (member("access_token"), member("refresh_token"))
            }
        };
        Ok(Login { access: AccessToken::new(access), refresh: RefreshToken::new(refresh) })
    }

    /// The UI logs out.
    pub(crate) async fn logout(&self, login: &Login) -> Result<()> {
        match &self.backing {
            Backing::Real(realm) => Ok(realm.logout(LOGIN_APP, login.refresh.expose()).await?),
            Backing::Double(_) => self.post("logout", &[("refresh_token", login.refresh.expose())]).await.map(drop),
        }
    }

    async fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<Value> {
        let mut whole = vec![("client_id", LOGIN_APP), ("client_secret", self.secrets[1].as_str())];
        whole.extend_from_slice(form);
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let answer =
            http.post(format!("{}/protocol/openid-connect/{endpoint}", self.issuer)).form(&whole).send().await?;
        let text = answer.error_for_status()?.text().await?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Alice's `sub`.
    pub(crate) fn alice(&self) -> Result<AccountId> {
        Ok(AccountId::parse(match &self.backing {
            Backing::Real(realm) => realm.user("alice")?.sub.clone(),
            Backing::Double(double) => double.handle().with(|keycloak, _| keycloak.user_id(DOUBLE_REALM, "alice"))?,
        })?)
    }

    /// Alice's account is enabled or disabled.
    pub(crate) async fn enable_alice(&self, enabled: bool) -> Result<()> {
        match &self.backing {
            Backing::Real(realm) => realm.admin().enable_user(realm.name(), &realm.user("alice")?.sub, enabled).await,
            Backing::Double(double) => {
                let act = |keycloak: &mut keycloak_double::Keycloak, _| {
                    keycloak.set_user_enabled(DOUBLE_REALM, "alice", enabled)
                };
                Ok(double.handle().with(act)?)
            }
        }
    }

    /// From now on the vault's client needs the users' consent.
    pub(crate) async fn require_consent(&self) -> Result<()> {
        match &self.backing {
            Backing::Real(realm) => {
                let mut client = realm.admin().client(realm.name(), VAULT).await?;
                client["consentRequired"] = json!(true);
                realm.admin().put_client(realm.name(), &client).await
            }
            Backing::Double(double) => {
                let act = |keycloak: &mut keycloak_double::Keycloak, _| {
                    keycloak.change_client(DOUBLE_REALM, VAULT, |client| client.consent_required(true))
                };
                Ok(double.handle().with(act)?)
            }
        }
    }

    /// Tokens issued before a minute from now are stale.
    pub(crate) async fn push_not_before(&self) -> Result<()> {
        let second = (Now.now() + Duration::from_mins(1)).as_secs();
        match &self.backing {
            Backing::Real(realm) => realm.admin().push_not_before(realm.name(), second).await,
            Backing::Double(double) => {
                Ok(double.handle().with(|keycloak, _| keycloak.push_not_before(DOUBLE_REALM, second))?)
            }
        }
    }
}

fn tenant_config(issuer: &str, secrets: &[String; 2]) -> Result<TenantConfig> {
    let [vault, ui] = secrets.each_ref().map(|secret| Credentials::Secret(ClientSecret::new(secret.clone())));
    let mut config = TenantConfig::new(issuer, None, ClientId::parse(VAULT)?, vault)?;
    config.accepted_clients.insert(ClientId::parse(LOGIN_APP)?);
    config.adopt_clients.insert(ClientId::parse(LOGIN_APP)?, ui);
    "user_id".clone_into(&mut config.user_id_claim);
    Ok(config)
}

/// A provider for one tenant, impatient enough for a test.
pub(crate) fn provider(tenant: &TenantId, config: TenantConfig) -> Result<KeycloakProvider> {
    let settings = HttpSettings {
        trust: TrustAnchors::Nobody,
        request_timeout: Duration::from_secs(5),
        ..HttpSettings::default()
    };
    let directory = BTreeMap::from([(tenant.clone(), Arc::new(config))]);
    let http = Arc::new(ReqwestClient::new(&settings)?);
    let entropy = Arc::new(SeededEntropy::new(Now.now().as_millis()));
    Ok(KeycloakProvider::new(Arc::new(directory), http, Arc::new(Now), entropy))
}
