//! What follows from a logout token: the jobs of its session are made due, so that they are looked at.
//!
//! Keycloak calls its clients one after the other and ends the session only when the last has answered; until then every
//! probe says that it lives. So the first look comes a moment after the answer, and, since other clients may keep Keycloak
//! waiting, further looks follow. The first is in the store before the answer is given, and any replica may take it; the
//! further ones are in this process alone. What none of them sees is seen by the next renewal.
//!
//! An exchange that meets Keycloak in the middle of ending the session can keep it alive: the client session it makes is
//! written when the session has just been removed, and the session is there again. So a job that is active is only looked
//! at for as long as Keycloak may take, and then it is renewed: a look that got no answer is made up for by that, whichever
//! replica does it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokenvault_core::ids::{ClientId, JobId, JobKey, SessionKey, TenantId, UserId};
use tokenvault_core::ports::{Client, StoreError};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::LogoutToken;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use tokenvault_vault::services::Services;

/// From the answer to the first look: Keycloak needs some 20 ms to end the session, and more when it is busy.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// Pauses before the further looks. Keycloak gives each client of a session five seconds to answer.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];
/// From the answer until the jobs are renewed, should their session live on. By then Keycloak is done with its clients.
const SETTLED: Duration = Duration::from_secs(25);
/// Sessions that are looked at repeatedly at a time. With more than that, the first look must do.
const MAX_FOLLOWED: usize = 1024;
/// Jobs that are made due at a time.
const AT_ONCE: usize = 16;
/// Jobs of a user that are read at a time.
const PAGE: usize = 500;

/// Follows hints.
pub(super) struct Hints {
    services: Services,
    followed: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Where the jobs that a token means are found.
#[derive(Debug, Clone)]
enum LogoutTarget {
    /// In these client sessions.
    Sessions(Vec<SessionKey>),
    /// Under this user.
    User(TenantId, UserId),
    /// Nowhere.
    Nothing,
}

impl Hints {
    pub(super) fn new(services: Services, stop: CancellationToken) -> Self {
        Self { services, followed: Arc::new(Semaphore::new(MAX_FOLLOWED)), stop }
    }

    /// Makes the jobs a token means due in a moment, and again later; answers how many there are now. An error says that
    /// not all of them could be reached.
    pub(super) async fn follow(self: &Arc<Self>, tenant: &TenantId, token: &LogoutToken) -> Result<usize, StoreError> {
        let meant = self.meant(tenant, token);
        let now = self.services.clock.now();
        let settled = now + SETTLED;
        let jobs = self.announce(tenant, &meant, now, (now + FIRST_LOOK, settled)).await?;
        // A session without jobs may be getting one right now; then the registration's own look at Keycloak decides.
        if jobs > 0 {
            self.look_again(tenant.clone(), meant, now, settled);
        }
        Ok(jobs)
    }

    fn meant(&self, tenant: &TenantId, token: &LogoutToken) -> LogoutTarget {
        let Some(rules) = self.services.tenants.get(tenant) else { return LogoutTarget::Nothing };
        if let Some(sid) = &token.sid {
            let clients = std::iter::once(&rules.client.id).chain(&rules.adopt_clients);
            let session = |id: &ClientId| Client { tenant: tenant.clone(), id: id.clone() }.session(sid);
            return LogoutTarget::Sessions(clients.map(session).collect());
        }
        // Which of the user's sessions is over is not said; and who the user is only where they are known by `sub`.
        let subject = token.subject.as_ref().filter(|_| rules.user_id_claim == "sub");
        if let Some(user) = subject.and_then(|subject| UserId::parse(subject.as_str()).ok()) {
            return LogoutTarget::User(tenant.clone(), user);
        }
        tracing::warn!(%tenant, "a logout token names no session: set backchannel.logout.session.required");
        LogoutTarget::Nothing
    }

    async fn announce(
        &self,
        tenant: &TenantId,
        meant: &LogoutTarget,
        heard_at: Timestamp,
        (due, renew): (Timestamp, Timestamp),
    ) -> Result<usize, StoreError> {
        let keys = self.jobs(meant).await?.into_iter().map(|job| JobKey::new(tenant.clone(), job));
        let keys: Vec<JobKey> = keys.collect();
        let count = keys.len();
        let store = &self.services.store;
        let announced = futures::stream::iter(keys).map(|key| async move {
            match meant {
                // Which of the user's sessions is over is not said: those that live are not to be given up at the first no.
                LogoutTarget::User(..) => store.make_due(&key, due, renew).await,
                _ => store.announce_logout(&key, heard_at, due, renew).await,
            }
        });
        announced.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(count)
    }

    async fn jobs(&self, meant: &LogoutTarget) -> Result<BTreeSet<JobId>, StoreError> {
        let mut jobs = BTreeSet::new();
        match meant {
            LogoutTarget::Sessions(sessions) => {
                for session in sessions {
                    jobs.extend(self.services.store.session(session).await?.into_iter().flat_map(|entry| entry.jobs));
                }
            }
            LogoutTarget::User(tenant, user) => loop {
                let page = self.services.store.jobs_of_user(tenant, user, jobs.last(), PAGE).await?;
                let last = page.len() < PAGE;
                jobs.extend(page);
                if last {
                    break;
                }
            },
            LogoutTarget::Nothing => {}
        }
        Ok(jobs)
    }

    fn look_again(self: &Arc<Self>, tenant: TenantId, meant: LogoutTarget, heard_at: Timestamp, settled: Timestamp) {
        let Ok(place) = Arc::clone(&self.followed).try_acquire_owned() else {
            tracing::warn!(%tenant, "too many logouts at once; the jobs of this one are looked at only once");
            return;
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            let stop = this.stop.clone();
            stop.run_until_cancelled(this.looks(&tenant, &meant, heard_at, settled)).await;
        });
    }

    /// The first look is due in the store by now and needs only the tap; the others are made due here. A job that is being
    /// renewed at the moment, or whose session still seemed to live, is met by the next of them.
    async fn looks(&self, tenant: &TenantId, meant: &LogoutTarget, heard_at: Timestamp, settled: Timestamp) {
        tokio::time::sleep(FIRST_LOOK).await;
        self.services.wake.due();
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            match self.announce(tenant, meant, heard_at, (self.services.clock.now(), settled)).await {
                Ok(0) => return,
                Ok(_) => self.services.wake.due(),
                Err(error) => {
                    tracing::warn!(%tenant, %error, "the jobs of a session that may be over were not reached");
                }
            }
        }
    }
}
