//! Facts about real Keycloak that its stand-in need not know.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::ports::{Cause, Client, GrantError, IdentityProvider, Refusal};
use tokenvault_core::secret::{ClientSecret, RefreshToken};
use tokenvault_keycloak::{Credentials, SigningKey, TenantConfig};
use tokenvault_tests::harness::realm::{LabRealm, MODULE, VAULT};
use tokenvault_tests::harness::{Failure, Result};

use super::refused;
use super::stage::{Backing, Setting, Stage, provider};

async fn stage() -> Result<Stage> {
    Stage::keycloak(Setting::default()).await
}

fn realm(stage: &Stage) -> Result<&LabRealm> {
    match &stage.backing {
        Backing::Real(realm) => Ok(realm),
        Backing::Double(_) => Err(Failure::new("not on real Keycloak")),
    }
}

/// Makes the vault's client prove itself by keys of this set from now on.
async fn let_the_vault_sign(realm: &LabRealm, jwk: &Value) -> Result<()> {
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["clientAuthenticatorType"] = json!("client-jwt");
    client["attributes"]["use.jwks.string"] = json!("true");
    client["attributes"]["jwks.string"] = json!(json!({ "keys": [jwk] }).to_string());
    realm.admin().put_client(realm.name(), &client).await
}

fn new_key(kind: &'static rcgen::SignatureAlgorithm) -> Result<(ClientSecret, Value)> {
    let pair = rcgen::KeyPair::generate_for(kind)?;
    let pem = pair.serialize_pem();
    let raw = pair.public_key_raw();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    // A point on a curve is its two coordinates after a byte that says so.
    let ec = |curve: &str, algorithm: &str| {
        let (x, y) = raw[1..].split_at(raw.len() / 2);
        json!({ "kty": "EC", "crv": curve, "alg": algorithm, "x": text(x), "y": text(y) })
    };
    let mut jwk = if kind == &rcgen::PKCS_RSA_SHA256 {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes())?;
        serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::RS256)?)?
    } else if kind == &rcgen::PKCS_ED25519 {
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": text(raw) })
    } else if kind == &rcgen::PKCS_ECDSA_P521_SHA512 {
        ec("P-521", "ES512")
    } else if kind == &rcgen::PKCS_ECDSA_P384_SHA384 {
        ec("P-384", "ES384")
    } else {
        ec("P-256", "ES256")
    };
    jwk["kid"] = json!("key-1");
    jwk["use"] = json!("sig");
    Ok((ClientSecret::new(pem), jwk))
}

#[tokio::test]
async fn a_client_proves_itself_by_signatures_in_every_call() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    for kind in [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ] {
        let (pem, jwk) = new_key(kind)?;
        let_the_vault_sign(realm(&stage)?, &jwk).await?;
        for kid in [None, Some("key-1".to_owned())] {
            let key = SigningKey::from_pem(&pem, None, kid)?;
            let signing = stage.provider_with(|config| config.credentials = Credentials::PrivateKeyJwt(key))?;

            let own = signing.exchange(&stage.vault, &login.access).await?;
            assert_eq!(signing.probe(&stage.vault, &own.refresh).await, Ok(true));
            signing.refresh(&stage.vault, &own.refresh).await?;
            let apart = signing.impersonate(&stage.vault, &stage.alice()?).await?;
            assert_eq!(signing.revoke(&stage.vault, &apart.refresh).await, Ok(()));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_signature_by_a_key_keycloak_does_not_know_is_the_clients_fault() -> Result<()> {
    let stage = stage().await?;
    let (_, known) = new_key(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let (pem, _) = new_key(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let_the_vault_sign(realm(&stage)?, &known).await?;
    let key = SigningKey::from_pem(&pem, None, Some("key-1".to_owned()))?;
    let signing = stage.provider_with(|config| config.credentials = Credentials::PrivateKeyJwt(key))?;

    let refreshed = signing.refresh(&stage.vault, &RefreshToken::new("any")).await;

    assert_eq!(refused(refreshed), Some(Refusal::ClientRejected));
    Ok(())
}

#[tokio::test]
async fn a_client_outside_the_audience_may_not_exchange() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let module = Client { tenant: stage.tenant.clone(), id: ClientId::parse(MODULE)? };
    let secret = Credentials::Secret(ClientSecret::new(realm(&stage)?.secret(MODULE)));
    let adopting = stage.provider_with(|config| drop(config.adopt_clients.insert(module.id.clone(), secret)))?;

    assert_eq!(refused(adopting.exchange(&module, &login.access).await), Some(Refusal::NotMeant));
    Ok(())
}

#[tokio::test]
async fn an_exchange_without_leave_for_refresh_tokens_is_not_allowed() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let realm = realm(&stage)?;
    let attribute = "standard.token.exchange.enableRefreshRequestedTokenType";
    realm.admin().set_client_attribute(realm.name(), VAULT, attribute, "NO").await?;

    assert_eq!(refused(stage.provider.exchange(&stage.vault, &login.access).await), Some(Refusal::NotAllowed));
    Ok(())
}

#[tokio::test]
async fn a_realm_that_is_switched_off_says_nothing_about_its_tokens() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    let realm = realm(&stage)?;
    realm.admin().update_realm(realm.name(), &json!({ "enabled": false })).await?;

    let refreshed = refused(stage.provider.refresh(&stage.vault, &own.refresh).await);

    assert_eq!(refreshed, Some(Refusal::ClientRejected));
    realm.admin().update_realm(realm.name(), &json!({ "enabled": true })).await?;
    assert!(stage.provider.refresh(&stage.vault, &own.refresh).await.is_ok(), "nothing was consumed");
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_switched_off_is_the_clients_fault() -> Result<()> {
    let stage = stage().await?;
    let realm = realm(&stage)?;
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["enabled"] = json!(false);
    realm.admin().put_client(realm.name(), &client).await?;

    let refreshed = stage.provider.refresh(&stage.vault, &RefreshToken::new("any")).await;

    assert_eq!(refused(refreshed), Some(Refusal::ClientRejected));
    Ok(())
}

#[tokio::test]
async fn a_service_account_that_is_switched_off_may_not_impersonate() -> Result<()> {
    let stage = stage().await?;
    let realm = realm(&stage)?;
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["serviceAccountsEnabled"] = json!(false);
    realm.admin().put_client(realm.name(), &client).await?;

    let impersonated = stage.provider.impersonate(&stage.vault, &stage.alice()?).await;

    assert_eq!(refused(impersonated), Some(Refusal::NotAllowed));
    Ok(())
}

#[tokio::test]
async fn a_realm_that_does_not_exist_is_no_definite_answer() -> Result<()> {
    let stage = stage().await?;
    let issuer = format!("{}-gone", stage.issuer);
    let secret = Credentials::Secret(ClientSecret::new("any"));
    let config = TenantConfig::new(&issuer, None, stage.vault.id.clone(), secret)?;
    let tenant = TenantId::parse("gone")?;
    let lost = provider(&tenant, config)?;
    let client = Client { tenant, id: stage.vault.id.clone() };

    let refreshed = lost.refresh(&client, &RefreshToken::new("any")).await;

    assert_eq!(refreshed.err(), Some(GrantError::Unknown(Cause::Unintelligible)));
    Ok(())
}

#[tokio::test]
async fn a_deleted_users_session_is_not_active() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    let realm = realm(&stage)?;
    realm.admin().delete_user(realm.name(), stage.alice()?.as_str()).await?;

    assert_eq!(refused(stage.provider.refresh(&stage.vault, &own.refresh).await), Some(Refusal::SessionNotActive));
    assert_eq!(refused(stage.provider.exchange(&stage.vault, &own.access).await), Some(Refusal::SubjectInvalid));
    Ok(())
}

#[tokio::test]
async fn keycloak_may_be_reached_by_another_address_than_the_issuers() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let issuer = "https://public.example/realms/".to_owned() + stage.tenant.as_str();
    let secret = Credentials::Secret(ClientSecret::new(realm(&stage)?.secret(VAULT)));
    let base_url = realm(&stage)?.base_url();
    let config = TenantConfig::new(&issuer, Some(base_url), stage.vault.id.clone(), secret)?;
    let inside = provider(&stage.tenant, config)?;

    assert!(inside.exchange(&stage.vault, &login.access).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_token_of_an_offline_session_is_refused_for_itself_and_not_for_the_client() -> Result<()> {
    let stage = stage().await?;
    let offline = stage.login_with_scope("openid offline_access").await?;

    let exchanged = stage.provider.exchange(&stage.vault, &offline.access).await;

    assert_eq!(refused(exchanged), Some(Refusal::NotExchangeable));
    Ok(())
}
