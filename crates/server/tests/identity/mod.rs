//! Whose a token is, on a realm as FOLIO makes it: names in `sub`, users who rename themselves and write their own
//! `user_id`, tokens that show no roles.

use std::time::Duration;

use keycloak_double::{ClientConfig, Endpoint, Mapper, RealmConfig, RoleConfig, UserConfig};
use serde_json::Value;
use tokenvault_core::ids::AccountId;
use tokenvault_core::record::{Acquisition, OnLogout, Record, State};
use tokenvault_vault::jobs::Registration;
use tokenvault_vault::problem::{Code, Problem};

use super::stage::{LIFE, Login, REALM, Stage, job, request};

const WAIT: Duration = Duration::from_secs(5);
const ADMIN: &str = "diku_admin";
const EVERY: [(Acquisition, &str); 3] =
    [(Acquisition::Exchange, "e"), (Acquisition::Impersonate, "i"), (Acquisition::Adopt, "a")];

async fn folio(change: impl FnOnce(RealmConfig) -> RealmConfig) -> Stage {
    let seconds = LIFE.as_secs();
    let made = |_| change(RealmConfig::folio_like(REALM).with_settings(|s| s.access_token_lifespan = seconds));
    Stage::with(|rules| rules, made).await
}

async fn login(stage: &Stage, user: &str) -> Login {
    stage.login_at(&RealmConfig::folio_login_client(REALM), user).await
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).expect("a JWT");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64");
    serde_json::from_slice(&bytes).expect("claims")
}

/// Keycloak's own id of a user.
fn account(stage: &Stage, user: &str) -> AccountId {
    let id = stage.keycloak.handle().with(|admin, _| admin.user_id(REALM, user)).expect("a user");
    AccountId::parse(id).expect("an id")
}

async fn impersonated(stage: &Stage, user: &str) -> Result<Record, Problem> {
    let login = login(stage, user).await;
    stage.register("job", request(&login, Acquisition::Impersonate)).await?;
    Ok(stage.record("job").await)
}

fn reason(problem: &Problem) -> (Code, &str) {
    (problem.code, problem.members.get("reason").and_then(Value::as_str).unwrap_or_default())
}

#[tokio::test]
async fn a_name_in_sub_is_nobody_elses_and_a_rename_changes_nothing() {
    let stage = folio(|realm| realm).await;
    let ui = login(&stage, ADMIN).await;
    assert_eq!(claims(&ui.access)["sub"], ADMIN, "as FOLIO maps it");
    for (acquisition, name) in EVERY {
        let own = login(&stage, ADMIN).await;
        stage.register(name, request(&own, acquisition)).await.expect("a job");
    }
    stage.keycloak.handle().with(|admin, _| admin.rename_user(REALM, ADMIN, "renamed")).expect("renamed");
    for round in 2..5 {
        stage.pass(LIFE * 6 / 10);
        for (_, name) in EVERY {
            let record = stage.until(name, |record| record.generation.0 >= round).await;
            assert_eq!(record.state, State::Active, "{name}");
            let token = stage.read(name, WAIT).await.expect("a token");
            assert_eq!(claims(token.access_token.expose())["user_id"], record.user.as_str(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_keycloak_calls_the_user_is_learnt_from_the_exchange() {
    let stage = folio(|realm| realm).await;
    let known = account(&stage, ADMIN);
    for (acquisition, name) in EVERY {
        stage.register(name, request(&login(&stage, ADMIN).await, acquisition)).await.expect("a job");
        let learnt = stage.record(name).await.account;
        assert_eq!(learnt, (acquisition != Acquisition::Adopt).then(|| known.clone()), "{name}");
    }
}

#[tokio::test]
async fn without_the_mapper_of_keycloaks_id_nobody_is_impersonated() {
    let bare = |client: ClientConfig| {
        client.without_mappers().mapper(Mapper::audience("tokenvault")).mapper(Mapper::attribute("user_id", "user_id"))
    };
    let stage = folio(|realm| realm.with_client("tokenvault", bare)).await;
    let refused = impersonated(&stage, ADMIN).await.expect_err("a refusal");
    assert_eq!(reason(&refused), (Code::IdpRejected, "account_unknown"));
    let ui = login(&stage, ADMIN).await;
    assert!(stage.register("e", request(&ui, Acquisition::Exchange)).await.is_ok(), "an exchange needs no more");

    let nameless = |client: ClientConfig| client.without_mappers().mapper(Mapper::audience("tokenvault"));
    let stage = folio(|realm| realm.with_client("tokenvault", nameless)).await;
    let ui = login(&stage, ADMIN).await;
    let refused = stage.register("e", request(&ui, Acquisition::Exchange)).await.expect_err("a refusal");
    assert_eq!(reason(&refused), (Code::IdpRejected, "identity_missing"));
}

#[tokio::test]
async fn taking_the_victims_user_id_and_its_keycloak_id_as_a_name_opens_nobodys_session_but_ones_own() {
    let mallory = UserConfig::new("mallory", "mallory-password").user_id("0b7a2a1e-0000-4000-8000-000000000001");
    let stage = folio(|realm| realm.user(mallory.default_roles())).await;
    let victim = account(&stage, ADMIN);
    let of_victim = claims(&login(&stage, ADMIN).await.access)["user_id"].as_str().expect("a claim").to_owned();
    let own = account(&stage, "mallory");
    stage
        .keycloak
        .handle()
        .with(|admin, _| {
            admin.set_attribute(REALM, "mallory", "user_id", &of_victim)?;
            admin.rename_user(REALM, "mallory", victim.as_str())
        })
        .expect("users can do that");
    let ui = stage.login_with(&RealmConfig::folio_login_client(REALM), victim.as_str(), "mallory-password").await;
    assert_eq!(claims(&ui.access)["sub"], victim.as_str(), "the name, as a proof says it");
    stage.keycloak.handle().with(|admin, _| admin.rename_user(REALM, victim.as_str(), "mallory")).expect("renamed");

    // Keycloak would take the proof's `sub` for the victim's id by now.
    stage.register("job", request(&ui, Acquisition::Impersonate)).await.expect("a job of mallory's own session");
    let token = stage.read("job", WAIT).await.expect("a token");
    assert_eq!(claims(token.access_token.expose())["keycloak_user_id"], own.as_str());
    assert_eq!(stage.record("job").await.account, Some(own));
}

#[tokio::test]
async fn a_token_of_another_account_registers_no_part_of_the_victims_job() {
    let mallory = UserConfig::new("mallory", "mallory-password").user_id("0b7a2a1e-0000-4000-8000-000000000001");
    let stage = folio(|realm| realm.user(mallory.default_roles())).await;
    let first = login(&stage, ADMIN).await;
    let of_victim = claims(&first.access)["user_id"].as_str().expect("a claim").to_owned();
    for (acquisition, name) in EVERY {
        stage.register(name, request(&login(&stage, ADMIN).await, acquisition)).await.expect("a job");
    }
    stage
        .keycloak
        .handle()
        .with(|admin, _| admin.set_attribute(REALM, "mallory", "user_id", &of_victim))
        .expect("users can do that");
    let part = |login: &Login, parent: &str| Registration {
        acquisition: None,
        parent_job_id: Some(job(parent)),
        ..request(login, Acquisition::Exchange)
    };
    let mallory = login(&stage, "mallory").await;
    for parent in ["e", "i"] {
        let refused = stage.register("part", part(&mallory, parent)).await.expect_err("a refusal");
        assert_eq!(refused.members["check"], "parent_of_another_user", "{parent}");
        // The user's own token is as good from another session as it is from the job's.
        for (token, name) in [(&first, "same"), (&login(&stage, ADMIN).await, "other")] {
            let name = format!("{parent}-{name}");
            assert!(stage.register(&name, part(token, parent)).await.expect("a child").created, "{name}");
        }
    }
}

#[tokio::test]
async fn who_takes_the_id_as_a_name_hinders_a_job_and_does_not_get_it() {
    let mallory = UserConfig::new("mallory", "mallory-password").user_id("0b7a2a1e-0000-4000-8000-000000000001");
    let stage = folio(|realm| realm.user(mallory.default_roles())).await;
    let victim = account(&stage, ADMIN);
    impersonated(&stage, ADMIN).await.expect("a job");
    stage.keycloak.handle().with(|admin, _| admin.rename_user(REALM, "mallory", victim.as_str())).expect("renamed");
    let refused = {
        let ui = login(&stage, ADMIN).await;
        stage.register("other", request(&ui, Acquisition::Impersonate)).await.expect_err("a refusal")
    };
    assert_eq!(reason(&refused), (Code::IdpRejected, "identity_mismatch"));
    let of_mallory = stage.keycloak.handle().with(|admin, _| admin.sessions(REALM, victim.as_str())).expect("sessions");
    assert!(of_mallory.is_empty(), "the session that was opened is given up: {of_mallory:?}");
    stage.pass(LIFE * 6 / 10);
    stage.until("job", |record| record.generation.0 > 1).await;
    assert_eq!(stage.record("job").await.state, State::Active, "it renews in the session it has");
}

#[tokio::test]
async fn nobody_who_may_administer_the_realm_is_impersonated_whatever_the_vaults_client_shows() {
    let person = |name: &str| UserConfig::new(name, format!("{name}-password")).user_id(format!("{name}-id"));
    for (full, lightweight) in [(false, false), (false, true), (true, false), (true, true)] {
        let stage = folio(|realm| {
            realm
                .with_client("tokenvault", |client| client.full_scope(full).lightweight(lightweight))
                .role("librarian", &[RoleConfig::management("view-users")])
                .group("staff", &[RoleConfig::management("view-realm")])
                .user(person("direct").default_roles().role(RoleConfig::management("manage-users")))
                .user(person("composite").default_roles().role(RoleConfig::realm("librarian")))
                .user(person("grouped").default_roles().group("staff"))
                .user(person("helper").default_roles().role(RoleConfig::management("impersonation")))
        })
        .await;
        for user in ["direct", "composite", "grouped", "helper"] {
            let refused = impersonated(&stage, user).await.expect_err(user);
            assert_eq!(reason(&refused), (Code::Unsupported, "privileged"), "{user}, full {full}, light {lightweight}");
        }
        let record = impersonated(&stage, ADMIN).await.expect("FOLIO's adminRole is no role over the realm");
        assert_eq!(record.account, Some(account(&stage, ADMIN)));
    }
}

#[tokio::test]
async fn a_user_whose_roles_nobody_shows_is_not_impersonated() {
    let narrow = |client: ClientConfig| client.full_scope(false);
    let ui = RealmConfig::folio_login_client(REALM);
    let stage = folio(|realm| realm.with_client(&ui, narrow)).await;
    let refused = impersonated(&stage, ADMIN).await.expect_err("a refusal");
    assert_eq!(reason(&refused), (Code::Unsupported, "roles_unknown"));
    let login = login(&stage, ADMIN).await;
    assert!(stage.register("e", request(&login, Acquisition::Exchange)).await.is_ok(), "an exchange needs no roles");
}

#[tokio::test]
async fn a_realm_administrator_who_is_one_since_yesterday_gets_no_new_session() {
    let stage = folio(|realm| realm.with_settings(|s| s.sso_session_max = 3_600)).await;
    let ui = login(&stage, ADMIN).await;
    let mut survivor = request(&ui, Acquisition::Impersonate);
    survivor.on_logout = Some(OnLogout::Continue);
    stage.register("job", survivor).await.expect("a job");
    let opened = |record: &Record| record.session.as_ref().map(|session| session.sid.clone());
    let first = opened(&stage.record("job").await);
    stage
        .keycloak
        .handle()
        .with(|admin, _| admin.grant_role(REALM, ADMIN, RoleConfig::management("impersonation")))
        .expect("granted");
    // The session's predicted end, when the vault would open another one.
    stage.pass(Duration::from_secs(3_600 - LIFE.as_secs() / 2));
    let record = stage.until("job", |record| record.failures > 0 || matches!(record.state, State::Suspended(_))).await;
    assert_eq!(opened(&record), first, "{record:?}");
}

/// A user of whom some client's mapper tells more than Keycloak takes for an exchange.
fn verbose() -> UserConfig {
    UserConfig::new("verbose", "verbose-password").user_id("verbose-id").attribute("story", "x".repeat(20_000))
}

#[tokio::test]
async fn a_proof_that_is_too_long_is_called_so() {
    let tells = |client: ClientConfig| client.mapper(Mapper::attribute("story", "story"));
    let stage = Stage::with(|rules| rules, |realm| realm.with_client("login-app", tells).user(verbose())).await;
    for acquisition in [Acquisition::Exchange, Acquisition::Impersonate] {
        let ui = stage.login_as("verbose").await;
        let refused = stage.register("job", request(&ui, acquisition)).await.expect_err("a refusal");
        assert_eq!(reason(&refused), (Code::IdpRejected, "token_too_long"), "{acquisition:?}");
        assert_eq!(refused.members["length"].as_u64(), u64::try_from(ui.access.len()).ok());
    }
}

#[tokio::test]
async fn one_users_long_tokens_are_nobody_elses_concern() {
    let tells = |client: ClientConfig| client.mapper(Mapper::attribute("story", "story"));
    let stage = Stage::with(|rules| rules, |realm| realm.with_client("tokenvault", tells).user(verbose())).await;
    for (user, name) in [("verbose", "long"), ("alice", "short")] {
        let ui = stage.login_as(user).await;
        stage.register(name, request(&ui, Acquisition::Exchange)).await.expect("a job");
    }
    let sent = |endpoint| stage.keycloak.journal().requests(endpoint);
    for round in 1..3 {
        stage.pass(LIFE * 6 / 10);
        for name in ["long", "short"] {
            stage.until(name, |record| record.generation.0 > round).await;
        }
        assert_eq!(sent(Endpoint::Refresh), round, "only the long ones are spent");
    }
}
