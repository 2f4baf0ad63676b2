//! Access tokens signed with each of the algorithms that Keycloak offers, and tokens that count only later.

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;

use crate::bad_input::stage::{assert_check, new_job};

/// Has the user interface's tokens signed with this algorithm from now on. A realm without a key for it makes one.
async fn sign_with(realm: &LabRealm, algorithm: &str) -> Result<()> {
    let name = "access.token.signed.response.alg";
    realm.admin().set_client_attribute(realm.name(), LOGIN_APP, name, algorithm).await
}

async fn put_key(realm: &LabRealm, name: &str, provider: &str, config: Value) -> Result<()> {
    let component = json!({
        "name": name,
        "providerId": provider,
        "providerType": "org.keycloak.keys.KeyProvider",
        "config": config,
    });
    let path = format!("/{}/components", realm.name());
    realm.admin().call(reqwest::Method::POST, &path, Some(&component)).await.map(drop)
}

#[tokio::test]
async fn a_token_is_a_proof_whichever_asymmetric_algorithm_the_realm_signs_with() -> Result<()> {
    let (redis, realm) = (Redis::start().await?, LabRealm::builder().create().await?);
    let vault = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di")).start().await?;
    let module = vault.client("mod-di")?;
    let none_of_two = json!({ "priority": ["200"], "keySize": ["1024"], "algorithm": ["RS512"] });
    put_key(&realm, "weak", "rsa-generated", none_of_two).await?;
    let ed448 = json!({ "priority": ["100"], "eddsaEllipticCurveKey": ["Ed448"] });
    put_key(&realm, "ed448", "eddsa-generated", ed448).await?;
    // The realm's keys are asked for at most every ten seconds, so all of them are made before the first registration.
    let mut proofs = Vec::new();
    for algorithm in ["RS256", "RS384", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "RS512", "EdDSA"] {
        sign_with(&realm, algorithm).await?;
        proofs.push((algorithm, realm.login("alice").await?));
    }
    let ed25519 = json!({ "priority": ["200"], "eddsaEllipticCurveKey": ["Ed25519"] });
    put_key(&realm, "ed25519", "eddsa-generated", ed25519).await?;
    proofs.push(("Ed25519", realm.login("alice").await?));

    for (algorithm, proof) in &proofs {
        let answer = module.register(&new_job(), proof).await?;
        match *algorithm {
            // 1024 bits; and the curve Ed448.
            "RS512" | "EdDSA" => assert_check(&answer, "key_not_supported"),
            _ => assert_eq!(answer.status.as_u16(), 201, "{algorithm}: {answer:?}"),
        }
    }
    Ok(())
}

/// Keycloak does not make such tokens by itself; a mapper of the realm's does.
#[tokio::test]
async fn a_token_that_counts_only_later_is_not_called_old_nor_its_session_dead() -> Result<()> {
    let (redis, realm) = (Redis::start().await?, LabRealm::builder().create().await?);
    let vault = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di")).start().await?;
    let module = vault.client("mod-di")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    for ahead in [25, 60] {
        let mut client = realm.admin().client(realm.name(), LOGIN_APP).await?;
        let mappers = client["protocolMappers"].as_array_mut().expect("mappers");
        mappers.retain(|mapper| mapper["name"] != "later");
        mappers.push(json!({
            "name": "later",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-hardcoded-claim-mapper",
            "config": {
                "claim.name": "nbf",
                "claim.value": (now + ahead).to_string(),
                "jsonType.label": "long",
                "access.token.claim": "true",
            },
        }));
        realm.admin().put_client(realm.name(), &client).await?;
        let proof = realm.login("alice").await?;
        assert!(proof.claims()["nbf"].as_u64().is_some(), "{:?}", proof.claims());

        assert_check(&module.register(&new_job(), &proof).await?, "not_yet_valid");
    }
    Ok(())
}
