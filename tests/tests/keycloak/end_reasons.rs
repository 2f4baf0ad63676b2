//! Everything that ends or stops a session, done at real Keycloak to jobs of one vault: each is told as what it is, to the
//! reader (a typed answer with its reason), to the operator (metric and log event), and never with a secret.
//!
//! What Keycloak tells in the same words cannot be told apart by anybody who asks it: a logout, an administrator's end
//! of a session and a deleted user are all "Session not active"; a client session that was revoked and one that was
//! detached because somebody reused a refresh token of it are both "Session doesn't have required client"; a token that
//! was in flight at its session's idle time-out and one at its maximal age are both "Token is not active".

use std::fs;
use std::time::Duration;

use futures::future::{try_join, try_join_all};
use serde_json::json;
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{poll, wait_until};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, LabRealmBuilder, Tokens, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result};

const MODULE: &str = "mod-data-import";
/// Long enough that the reason is asked for while the token lives, also on a busy machine.
const AT_TTL: u64 = 10;
/// The maximal age of a session in the realm that has a short one.
const MAXIMUM: u64 = 15;
/// A few lives of an access token, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What an administrator changes the client's secret to.
const NEW_SECRET: &str = "the-secret-after-a-rotation";
/// A crowd of readers would be in the vault's way.
const BETWEEN_READS: Duration = Duration::from_millis(100);
/// The idle time-out in the realm that has a short one.
const IDLE: Duration = Duration::from_secs(6);

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Logout,
    EndSession,
    LogoutEverywhere,
    DeleteUser,
    RevokeClientSession,
    ReuseNeighbour,
    PushNotBefore,
    WaitForMaximum,
    DisableUser,
    RequireConsent,
    ChangeSecret,
}

/// What the reader is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// 410 with this code and reason: the job is over.
    Ended(&'static str, &'static str),
    /// 503 `token_not_ready` with this reason, and a token again once the act is undone.
    Suspended(&'static str),
    /// 503 without a reason, and a token again once the act is undone: nothing is wrong with the job.
    Waits,
}

struct Case {
    act: Act,
    /// Realms are shared by acts that hurt only their own user.
    realm: &'static str,
    told: Told,
}

const fn case(act: Act, realm: &'static str, told: Told) -> Case {
    Case { act, realm, told }
}

const CASES: &[Case] = &[
    case(Act::Logout, "users", Told::Ended("session_ended", "session_not_active")),
    case(Act::EndSession, "users", Told::Ended("session_ended", "session_not_active")),
    case(Act::LogoutEverywhere, "users", Told::Ended("session_ended", "session_not_active")),
    case(Act::DeleteUser, "users", Told::Ended("session_ended", "session_not_active")),
    case(Act::RevokeClientSession, "users", Told::Ended("session_ended", "client_session_gone")),
    case(Act::ReuseNeighbour, "users", Told::Ended("session_ended", "client_session_gone")),
    case(Act::PushNotBefore, "not-before", Told::Ended("session_ended", "token_stale")),
    case(Act::WaitForMaximum, "maximum", Told::Ended("session_ended", "session_expired")),
    case(Act::DisableUser, "users", Told::Suspended("user_disabled")),
    case(Act::RequireConsent, "consent", Told::Suspended("consent_missing")),
    case(Act::ChangeSecret, "secret", Told::Waits),
];

const REALMS: &[&str] = &["users", "not-before", "maximum", "consent", "secret", "idle"];

fn user_of(act: Act) -> String {
    format!("{act:?}").to_lowercase()
}

struct Lab {
    vault: Vault,
    realms: Vec<(&'static str, LabRealm)>,
    _redis: Redis,
}

impl Lab {
    async fn set() -> Result<Self> {
        let realms = REALMS.iter().map(|name| async move { Ok::<_, Failure>((*name, builder(name).create().await?)) });
        let (redis, realms) = try_join(Redis::options().start(), try_join_all(realms)).await?;
        let mut vault = Vault::builder()?
            .redis(&redis)
            .module(Module::new(MODULE))
            .set("renewal.retry_max", 1)
            .set("telemetry.log_level", "info");
        for (_, realm) in &realms {
            vault = vault.tenant(realm)?;
        }
        Ok(Self { vault: vault.start().await?, realms, _redis: redis })
    }

    fn realm(&self, name: &str) -> &LabRealm {
        let found = self.realms.iter().find(|(known, _)| *known == name);
        &found.expect("every case names one of the realms").1
    }

    /// The module's client for a tenant.
    fn client(&self, realm: &str) -> Result<Client> {
        self.vault.client(MODULE)?.for_tenant(self.realm(realm).name())
    }

    async fn register(&self, realm: &str, user: &str) -> Result<Tokens> {
        let ui = self.realm(realm).login(user).await?;
        self.client(realm)?.register(user, &ui).await?.expect_status(201)?;
        Ok(ui)
    }

    /// What a reader hears in the end. In between a token may be late.
    async fn told(&self, realm: &str, job: &str, told: Told) -> Result<Answer> {
        let client = self.client(realm)?;
        poll(&format!("the vault to notice {job}"), PATIENCE, || async {
            tokio::time::sleep(BETWEEN_READS).await;
            let answer = client.get_with(job, "wait=0").await.ok()?;
            let last = match told {
                Told::Ended(..) => answer.status == 410,
                Told::Suspended(_) => answer.status == 503 && reason(&answer).is_some(),
                Told::Waits => answer.status == 503,
            };
            last.then_some(answer)
        })
        .await
    }

    async fn served_again(&self, realm: &str, job: &str) -> Result<()> {
        let client = self.client(realm)?;
        wait_until(&format!("a token of {job} again"), PATIENCE, || async {
            tokio::time::sleep(BETWEEN_READS).await;
            client.get_with(job, "wait=0").await.is_ok_and(|answer| answer.status == 200)
        })
        .await
    }

    async fn act(&self, case: &Case, ui: &Tokens) -> Result<()> {
        let (realm, user) = (self.realm(case.realm), user_of(case.act));
        let (admin, name, sub) = (realm.admin(), realm.name(), &realm.user(&user)?.sub);
        match case.act {
            Act::Logout => realm.logout(LOGIN_APP, ui.refresh()).await?,
            Act::EndSession => admin.delete_session(name, &ui.sid()).await?,
            Act::LogoutEverywhere => admin.logout_user(name, sub).await?,
            Act::DeleteUser => admin.delete_user(name, sub).await?,
            Act::RevokeClientSession => {
                let neighbour = realm.exchange(&ui.access_token).await?;
                realm.revoke(VAULT, neighbour.refresh()).await?;
            }
            Act::ReuseNeighbour => {
                let neighbour = realm.exchange(&ui.access_token).await?;
                realm.refresh(VAULT, neighbour.refresh()).await?;
                tokio::time::sleep(Duration::from_millis(1100)).await; // within one second it is no reuse
                let again = realm.refresh(VAULT, neighbour.refresh()).await;
                assert!(again.is_err(), "reuse is refused");
            }
            Act::PushNotBefore => admin.push_not_before(name, unix_now() + 1).await?,
            Act::DisableUser => admin.enable_user(name, sub, false).await?,
            Act::RequireConsent => require_consent(realm, true).await?,
            Act::ChangeSecret => change_secret(realm).await?,
            Act::WaitForMaximum => {}
        }
        Ok(())
    }

    /// Undoes what can be undone.
    async fn undo(&self, case: &Case) -> Result<()> {
        let realm = self.realm(case.realm);
        match case.act {
            Act::DisableUser => {
                let sub = &realm.user(&user_of(case.act))?.sub;
                realm.admin().enable_user(realm.name(), sub, true).await
            }
            Act::RequireConsent => require_consent(realm, false).await,
            _ => Ok(()),
        }
    }
}

fn builder(name: &str) -> LabRealmBuilder {
    let builder = LabRealm::builder().at_ttl(AT_TTL);
    let builder = match name {
        "maximum" => builder.max(MAXIMUM),
        "idle" => builder.idle(IDLE.as_secs()).user("idle"),
        _ => builder,
    };
    let users = CASES.iter().filter(|case| case.realm == name).map(|case| user_of(case.act));
    users.fold(builder, |builder, user| builder.user(&user))
}

async fn require_consent(realm: &LabRealm, required: bool) -> Result<()> {
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["consentRequired"] = json!(required);
    realm.admin().put_client(realm.name(), &client).await
}

async fn change_secret(realm: &LabRealm) -> Result<()> {
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["secret"] = json!(NEW_SECRET);
    realm.admin().put_client(realm.name(), &client).await
}

fn unix_now() -> u64 {
    Duration::from_secs_f64(tokenvault_tests::stage::now()).as_secs()
}

fn reason(answer: &Answer) -> Option<&str> {
    answer.body["reason"].as_str()
}

fn check(job: &str, told: Told, answer: &Answer) {
    let seen = (answer.status.as_u16(), answer.code(), reason(answer));
    let wanted = match told {
        Told::Ended(code, reason) => (410, code, Some(reason)),
        Told::Suspended(reason) => (503, "token_not_ready", Some(reason)),
        Told::Waits => (503, "token_not_ready", None),
    };
    assert_eq!(seen, wanted, "{job}");
}

/// The metrics and the log of what was done; at the level operators have.
async fn check_what_operators_see(lab: &mut Lab, secrets: &[String]) -> Result<()> {
    let replica = lab.vault.replica();
    for case in CASES {
        let job = user_of(case.act);
        let log = replica.process().log();
        let says = |words: &str, what: &str| {
            log.lines().any(|line| [words, what, job.as_str()].iter().all(|part| line.contains(part)))
        };
        match case.told {
            Told::Ended(_, reason) => {
                let alike = CASES.iter().filter(|other| other.told == case.told).count();
                let counted = replica.metric("tokenvault_jobs_ended_total", &format!("reason=\"{reason}\"")).await?;
                assert_eq!(counted.to_string(), alike.to_string(), "{reason}");
                assert!(says("the job ended", reason), "{job} in\n{log}");
            }
            Told::Suspended(reason) => {
                let counted =
                    replica.metric("tokenvault_jobs_suspended_total", &format!("reason=\"{reason}\"")).await?;
                assert_eq!(counted.to_string(), "1", "{reason}");
                assert!(says("the job is suspended", reason) && says("the job goes on", ""), "{job} in\n{log}");
            }
            Told::Waits => {
                let refused = "step=\"probe\",outcome=\"client_rejected\"";
                assert!(replica.metric("tokenvault_renewals_total", refused).await? >= 1.0, "{refused}");
                assert!(says("Keycloak refuses the vault's client", "ERROR"), "{job} in\n{log}");
            }
        }
    }
    let log = replica.process().log();
    assert!(!log.contains("eyJ"), "no token, or part of one, is ever logged");
    for secret in secrets {
        assert!(!log.contains(secret.as_str()), "no secret is ever logged");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_and_every_stop_is_told_as_what_it_is() -> Result<()> {
    let mut lab = Lab::set().await?;
    let logins = CASES.iter().map(|case| {
        let (lab, user) = (&lab, user_of(case.act));
        async move { lab.register(case.realm, &user).await }
    });
    let logins = try_join_all(logins).await?;
    try_join_all(CASES.iter().zip(&logins).map(|(case, ui)| lab.act(case, ui))).await?;

    let answers = try_join_all(CASES.iter().map(|case| {
        let (lab, user) = (&lab, user_of(case.act));
        async move { lab.told(case.realm, &user, case.told).await }
    }));
    for (case, answer) in CASES.iter().zip(answers.await?) {
        check(&user_of(case.act), case.told, &answer);
    }
    for case in CASES.iter().filter(|case| matches!(case.told, Told::Suspended(_))) {
        lab.undo(case).await?;
        lab.served_again(case.realm, &user_of(case.act)).await?;
    }
    let mut secrets = vec![NEW_SECRET.to_owned()];
    secrets.extend(lab.realms.iter().map(|(_, realm)| realm.secret(VAULT).to_owned()));
    secrets.extend(logins.iter().flat_map(|ui| [ui.access_token.clone(), ui.refresh().to_owned()]));
    check_what_operators_see(&mut lab, &secrets).await?;
    the_job_survives_a_new_secret(&mut lab).await?;
    an_idle_session_is_noticed_after_an_outage(&mut lab).await
}

/// Nothing was wrong with the job but what the vault had in its secret file, which is read at its start.
async fn the_job_survives_a_new_secret(lab: &mut Lab) -> Result<()> {
    let file = lab.vault.dir().join(format!("{}.secret", lab.realm("secret").name()));
    fs::write(file, NEW_SECRET)?;
    lab.vault.replica().restart().await?;
    lab.served_again("secret", &user_of(Act::ChangeSecret)).await
}

/// As long as the vault renews, its session does not idle; it does when the vault was stopped for longer.
async fn an_idle_session_is_noticed_after_an_outage(lab: &mut Lab) -> Result<()> {
    lab.register("idle", "idle").await?;
    lab.vault.replica().process().pause()?;
    tokio::time::sleep(IDLE + Duration::from_secs(2)).await;
    lab.vault.replica().process().resume()?;
    let told = Told::Ended("session_ended", "session_expired");
    check("idle", told, &lab.told("idle", "idle", told).await?);
    Ok(())
}
