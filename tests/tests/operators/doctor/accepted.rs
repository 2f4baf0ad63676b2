//! The clients whose tokens are accepted as proofs, and who can be whom: what only an administrator's token shows.

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::{FolioRealm, IMPERSONATION_CLIENT};
use tokenvault_tests::harness::realm::{LOGIN_APP, VAULT};

use crate::doctor::folio::{ready, without};
use crate::doctor::stage::Stage;

type Change = Box<dyn FnOnce(&mut Value)>;

/// A mapper of the property `username`.
fn name_as(claim: &str) -> Value {
    let config = json!({
        "user.attribute": "username",
        "claim.name": claim,
        "jsonType.label": "String",
        "access.token.claim": "true",
        "lightweight.claim": "true",
    });
    let kind = "oidc-usermodel-property-mapper";
    json!({ "name": format!("name as {claim}"), "protocol": "openid-connect", "protocolMapper": kind, "config": config })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_tokens_cannot_be_proofs_is_a_hazard() -> Result<()> {
    let mut stage = ready().await?;
    let ui = stage.ui().to_owned();
    let attribute =
        |name: &'static str, value: &'static str| move |client: &mut Value| client["attributes"][name] = json!(value);
    let again = "setup.sh again";
    let cases: [(&str, &str, Change); 6] = [
        ("has no mapper for the audience tokenvault", again, Box::new(without(&["audience tokenvault"]))),
        ("has no mapper for `user_id`", again, Box::new(without(&["user_id mapper"]))),
        ("is disabled", "enable it", Box::new(|client| client["enabled"] = json!(false))),
        ("bound to their users' keys", "DPoP", Box::new(attribute("dpop.bound.access.tokens", "true"))),
        ("signed with HS256", "RS256", Box::new(attribute("access.token.signed.response.alg", "HS256"))),
        (
            "is not marked for them (`lightweight.claim`)",
            again,
            Box::new(|client| {
                for mapper in client["protocolMappers"].as_array_mut().into_iter().flatten() {
                    mapper["config"]["lightweight.claim"] =
                        json!((mapper["name"] != "audience tokenvault").to_string());
                }
            }),
        ),
    ];
    for (finding, remedy, change) in cases {
        let sound = stage.change(&ui, change).await?;
        let found = stage.examine_whole(&[]).await?;
        found.expect_only("accepted-client", finding, remedy)?;
        let named = found.remedy("accepted-client").contains(&format!("--ui-client {ui}"));
        assert_eq!(named, remedy == again, "the script cures it where it is told of the client: {found}");
        stage.restore(&sound).await?;
    }

    let mapper = json!({ "name": "user_id", "protocol": "openid-connect", "protocolMapper": "oidc-usermodel-attribute-mapper",
        "config": { "user.attribute": "barcode", "claim.name": "user_id", "jsonType.label": "String", "lightweight.claim": "true" } });
    let sound = stage.change(&ui, without(&["user_id mapper"])).await?;
    stage.realm().admin().add_mapper(stage.realm().name(), &ui, &mapper).await?;
    let found = stage.examine_whole(&[]).await?;
    assert!(found.hazards().contains(&"accepted-client"), "{found}");
    assert!(
        found.line("accepted-client")["finding"].to_string().contains("maps the attribute barcode onto `user_id`"),
        "{found}"
    );
    stage.restore(&sound).await?;

    stage.tenant("accepted_clients", vec!["folio-frontend"]);
    stage.examine_whole(&[]).await?.expect_only(
        "accepted-client",
        "the realm has no client folio-frontend",
        "login-application",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hides_its_users_roles_is_a_hazard_where_jobs_impersonate() -> Result<()> {
    let stage = ready().await?;
    let (ui, realm) = (stage.ui().to_owned(), stage.realm().name().to_owned());
    let (finding, remedy) = ("who is privileged is not seen", "Full scope allowed");

    let sound = stage.change(&ui, |client| client["fullScopeAllowed"] = json!(false)).await?;
    stage.examine_whole(&[]).await?.expect_only("roles-hidden", finding, remedy)?;
    stage.register("exchange")?;
    assert!(stage.examine_whole(&[]).await?.succeeded, "nobody needs them where nobody impersonates");
    stage.register("impersonate")?;
    stage.restore(&sound).await?;

    let admin = stage.realm().admin();
    let scopes = admin.call(Method::GET, &format!("/{realm}/client-scopes"), None).await?;
    let roles = scopes.as_array().into_iter().flatten().find(|scope| scope["name"] == "roles");
    let id = |value: Option<&Value>| value.and_then(|value| value["id"].as_str()).unwrap_or_default().to_owned();
    let path = format!("/{realm}/clients/{}/default-client-scopes/{}", id(Some(&sound)), id(roles));
    admin.call(Method::DELETE, &path, None).await?;
    stage.examine_whole(&[]).await?.expect_only("roles-hidden", finding, remedy)
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_that_may_not_get_as_old_as_tokens_do_are_a_hazard() -> Result<()> {
    let mut stage = ready().await?;
    stage.tenant("max_proof_age", 599);
    stage.expect_only("proof-age", "tokens of the realm live 600 s", "leave `max_proof_age` out")?;
    stage.examine_whole(&[]).await?.expect_only(
        "proof-age",
        "login-application live 600 s",
        "leave `max_proof_age` out",
    )?;

    stage.tenant("max_proof_age", 600);
    assert!(stage.examine_whole(&[]).await?.succeeded);

    let mut stage = ready().await?;
    let ui = stage.ui().to_owned();
    stage.change(&ui, |client| client["attributes"]["access.token.lifespan"] = json!("7200")).await?;
    stage.examine_whole(&[]).await?.expect_only(
        "proof-age",
        "without `max_proof_age` proofs are taken for 3600 s",
        "set `max_proof_age = 7200`",
    )?;
    stage.tenant("max_proof_age", 7200);
    assert!(stage.examine_whole(&[]).await?.succeeded);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gets_tokens_of_any_user_is_a_hazard_that_can_be_accepted() -> Result<()> {
    let mut stage = ready().await?;
    let ui = stage.ui().to_owned();
    stage.realm().admin().grant_impersonation(stage.realm().name(), &ui).await?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("impersonating-client", "can register for any user", "--accept impersonating-client")?;
    stage.realm().admin().withdraw_impersonation(stage.realm().name(), &ui).await?;

    stage.set_up(&["--ui-client", IMPERSONATION_CLIENT]).await?;
    stage.tenant("accepted_clients", vec![ui, IMPERSONATION_CLIENT.to_owned()]);
    let finding = "impersonation-client is FOLIO's client for impersonation";
    stage.expect_only("impersonating-client", finding, "take it out of `accepted_clients`")?;
    stage.examine_whole(&[]).await?.expect_only(
        "impersonating-client",
        finding,
        "take it out of `accepted_clients`",
    )?;
    let found = stage.examine(&["--accept", "impersonating-client"])?;
    assert!(found.succeeded && found.verdict("impersonating-client") == "accepted", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_are_not_judged_leave_it_unchecked_who_may_impersonate() -> Result<()> {
    let stage = ready().await?;
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    stage.realm().admin().update_realm(realm, &json!({ "adminPermissionsEnabled": true })).await?;
    assert_eq!(stage.examine_whole(&[]).await?.verdict("impersonating-client"), "fine", "there are none yet");

    let permissions = admin.client(realm, "admin-permissions").await?;
    let server = format!("/{realm}/clients/{}/authz/resource-server", permissions["id"].as_str().unwrap_or_default());
    let permission =
        json!({ "name": "schedulers", "resourceType": "Users", "scopes": ["impersonate"], "policies": [] });
    admin.call(Method::POST, &format!("{server}/permission/scope"), Some(&permission)).await?;

    let found = stage.examine_whole(&[]).await?;
    assert!(found.succeeded && found.verdict("impersonating-client") == "not_checked", "{found}");
    assert!(found.finding("impersonating-client").contains("the permission schedulers"), "{found}");
    Ok(())
}

/// A mapper of an attribute.
fn attribute_as(name: &str, claim: &str) -> Value {
    let config = json!({ "user.attribute": name, "claim.name": claim, "jsonType.label": "String", "access.token.claim": "true", "lightweight.claim": "true" });
    let kind = "oidc-usermodel-attribute-mapper";
    json!({ "name": format!("{name} as {claim}"), "protocol": "openid-connect", "protocolMapper": kind, "config": config })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_mapper_on_the_vaults_client_is_a_hazard_that_the_remedy_ends() -> Result<()> {
    let stage = ready().await?;
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    for (claim, check) in [("keycloak_user_id", "keycloak-user-id"), ("user_id", "accepted-client")] {
        admin.add_mapper(realm, VAULT, &attribute_as("barcode", claim)).await?;
        let found = stage.examine_whole(&[]).await?;
        assert!(found.hazards().contains(&check) && found.to_string().contains("the attribute barcode"), "{found}");
        assert!(found.to_string().contains("setup.sh again with the options it was run with"), "{found}");

        stage.set_up(&["--impersonate", "--protect-user-id"]).await?;

        let found = stage.examine_whole(&[]).await?;
        assert!(found.succeeded && found.verdicts("not_checked").is_empty(), "{claim}: {found}");
    }

    // The same two on both clients: which of them counts is chance.
    for client in [stage.ui(), VAULT] {
        admin.add_mapper(realm, client, &attribute_as("barcode", "user_id")).await?;
    }
    let found = stage.examine_whole(&[]).await?;
    assert!(found.remedy("accepted-client").contains("leave one mapper for it on"), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_realm_makes_already_is_set_up_as_the_remedy_says() -> Result<()> {
    let mut stage = ready().await?;
    stage.tenant("user_id_claim", "preferred_username");
    let found = stage.examine_whole(&[]).await?;
    let remedy = "setup.sh again with the options it was run with, and --user-id-claim preferred_username";
    assert!(
        found.hazards().contains(&"accepted-client") && found.remedy("accepted-client").contains(remedy),
        "{found}"
    );

    let options = ["--ui-client", stage.ui(), "--impersonate", "--user-id-claim", "preferred_username"];
    stage.set_up_by(&options).await?;

    let found = stage.examine_whole(&[]).await?;
    assert_eq!(found.hazards(), ["writable-user-id"], "FOLIO's users can rename themselves: {found}");

    stage.tenant("user_id_claim", "sid");
    let found = stage.examine_whole(&[]).await?;
    assert!(
        !found.to_string().contains("--user-id-claim sid") && found.to_string().contains("know users by another claim"),
        "{found}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_users_can_change_is_a_hazard() -> Result<()> {
    let mut stage = Stage::on_folio(FolioRealm::builder()).await?;
    stage.set_up(&[]).await?;
    let (finding, remedy) = ("\"Unmanaged Attributes\" are enabled", "setup.sh --protect-user-id");
    stage.examine_whole(&[]).await?.expect_only("writable-user-id", finding, remedy)?;
    stage.examine_whole(&[]).await?.expect_only(
        "writable-user-id",
        finding,
        "with the other options it was run with",
    )?;

    let path = format!("/{}/users/profile", stage.realm().name());
    let admin = stage.realm().admin().clone();
    let mut profile = admin.call(Method::GET, &path, None).await?;
    let everybody = json!(["admin", "user"]);
    let declared = json!({ "name": "user_id", "permissions": { "view": everybody, "edit": everybody } });
    profile["attributes"].as_array_mut().into_iter().for_each(|attributes| attributes.push(declared.clone()));
    admin.call(Method::PUT, &path, Some(&profile)).await?;
    stage.examine_whole(&[]).await?.expect_only("writable-user-id", "the user profile lets users edit it", remedy)?;
    stage.set_up(&["--protect-user-id"]).await?;
    assert!(stage.examine_whole(&[]).await?.succeeded);

    // The name, by way of another claim or as `sub`.
    stage.tenant("user_id_claim", "preferred_username");
    let found = stage.examine_whole(&[]).await?;
    assert_eq!(found.hazards(), ["accepted-client", "writable-user-id"], "{found}");
    stage.realm().admin().add_mapper(stage.realm().name(), stage.ui(), &name_as("preferred_username")).await?;
    stage.examine_whole(&[]).await?.expect_only(
        "writable-user-id",
        "can rename themselves",
        "`user_id_claim = \"user_id\"`",
    )?;

    stage.tenant("user_id_claim", "sub");
    let found = stage.examine_whole(&[]).await?;
    assert_eq!(found.hazards(), ["accepted-client", "writable-user-id"], "{found}");
    let said = found.line("accepted-client")["finding"].to_string();
    assert!(said.contains("maps the user's username onto `sub`, the vault's client Keycloak's id"), "{said}");
    stage.realm().admin().add_mapper(stage.realm().name(), VAULT, &name_as("sub")).await?;
    stage.examine_whole(&[]).await?.expect_only(
        "writable-user-id",
        "can rename themselves",
        "`user_id_claim = \"user_id\"`",
    )?;

    stage.realm().admin().update_realm(stage.realm().name(), &json!({ "editUsernameAllowed": false })).await?;
    let found = stage.examine_whole(&[]).await?;
    assert!(found.succeeded && found.verdict("writable-user-id") == "note", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_too_large_are_hazards() -> Result<()> {
    let stage = Stage::on_folio(FolioRealm::builder().regular().many_roles(400)).await?;
    stage.set_up(&["--protect-user-id", "--full-scope"]).await?;
    let found = stage.examine_whole(&[]).await?;
    assert_eq!(found.hazards(), ["token-size", "proof-size"], "{found}");
    assert!(found.remedy("token-size").contains("without --full-scope"), "{found}");
    assert!(found.remedy("proof-size").contains("lightweight access token"), "{found}");

    stage.set_up(&[]).await?;
    let ui = stage.ui().to_owned();
    let lightweight = "client.use.lightweight.access.token.enabled";
    stage.change(&ui, |client| client["attributes"][lightweight] = json!("true")).await?;
    stage.set_up(&[]).await?;
    assert_eq!(stage.login("second").await?.claim("sub"), "second", "the remedy changes nothing that modules see");

    let found = stage.examine_whole(&[]).await?;
    assert!(found.succeeded && found.verdict("proof-size") == "fine", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_vault_cannot_verify_with_is_a_hazard_where_it_signs_proofs() -> Result<()> {
    let stage = Stage::sound().await?;
    let (realm, attribute) = (stage.realm(), "access.token.signed.response.alg");
    let put = async |name: &str, curve: &str, priority: &str| {
        let config = json!({ "priority": [priority], "eddsaEllipticCurveKey": [curve] });
        let component = json!({
            "name": name,
            "providerId": "eddsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
        });
        let path = format!("/{}/components", realm.name());
        realm.admin().call(Method::POST, &path, Some(&component)).await.map(drop)
    };
    put("ed448", "Ed448", "100").await?;
    assert!(stage.examine_whole(&[]).await?.succeeded, "nothing is signed with it");

    stage.change(LOGIN_APP, |client| client["attributes"][attribute] = json!("EdDSA")).await?;
    stage.examine_whole(&[]).await?.expect_only("accepted-client", "signed with EdDSA by a key", "Ed25519")?;

    put("ed25519", "Ed25519", "200").await?;
    assert!(stage.examine_whole(&[]).await?.succeeded, "it signs from now on");
    Ok(())
}
