//! A renewer as one would write it first: claim what is due, refresh, then write; on an error try again.
//!
//! It declares nothing before it sends, never asks whether a token is still good, keeps no spare, and sends the same
//! refresh token again when an answer does not come. It is run under the same faults as the real reconciler, to show that
//! a proof which the real one passes can fail. It must never be used for anything else.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokenvault_core::ids::Shard;
use tokenvault_core::pair::Kind;
use tokenvault_core::policy::{DecisionInput, Issued, Round, Settings, Step, StepOutcome, apply, plan};
use tokenvault_core::ports::{Claim, Claimed, Client, GrantError, Identity, Lease, Write};
use tokenvault_core::record::{Record, Slot};
use tokenvault_vault::jitter::roll;
use tokenvault_vault::reconciler::ReconcilerOptions;
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::TenantRules;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long after a failure the same token is sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// Renews what is due until it is told to stop.
pub async fn run(services: Services, options: ReconcilerOptions, stop: CancellationToken) {
    let naive = Arc::new(Naive { services, options });
    let permits = Arc::new(Semaphore::new(naive.options.concurrency));
    let tasks = TaskTracker::new();
    while !stop.is_cancelled() {
        naive.sweep(&permits, &tasks).await;
        let pause = naive.options.poll_interval.mul_f64(0.75 + 0.5 * roll(&*naive.services.entropy));
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = naive.services.wake.until_due() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

struct Naive {
    services: Services,
    options: ReconcilerOptions,
}

impl Naive {
    async fn sweep(self: &Arc<Self>, permits: &Arc<Semaphore>, tasks: &TaskTracker) {
        let claims = futures::stream::iter(Shard::all()).map(|shard| self.claim(shard));
        let mut claims = std::pin::pin!(claims.buffered(8));
        while let Some(claimed) = claims.next().await {
            for claim in claimed {
                let Ok(permit) = Arc::clone(permits).try_acquire_owned() else { continue };
                let this = Arc::clone(self);
                tasks.spawn(async move {
                    this.renew(claim).await;
                    drop(permit);
                });
            }
        }
    }

    async fn claim(&self, shard: Shard) -> Vec<Claimed> {
        let now = self.services.clock.now();
        let claim = Claim { replica: &self.options.replica, now, lease: self.options.lease, limit: 8 };
        self.services.store.claim(shard, &claim).await.unwrap_or_default()
    }

    async fn renew(&self, claimed: Claimed) {
        let Claimed { lease, record, .. } = claimed;
        let Some(rules) = self.services.tenants.get(&record.key.tenant) else { return };
        let before = record.clone();
        let after = self.next(record, &rules).await;
        self.write(&before, &after, &lease).await;
        if before.state.is_live()
            && let Some(reason) = after.state.end()
        {
            self.services.observer.ended(reason);
            self.services.remove_from_indexes(&before).await;
        }
        self.services.wake.renewed(&before.key);
    }

    /// The record after one attempt.
    async fn next(&self, record: Record, rules: &TenantRules) -> Record {
        let now = self.services.clock.now();
        // It believes what it is told first.
        let settings = Settings { doubt: Duration::ZERO, ..rules.renewal.clone() };
        let input = DecisionInput { now, roll: roll(&*self.services.entropy), settings: &settings };
        let mut round = Round::begin(record);
        match plan(&round, &input) {
            step @ (Step::Finish(_) | Step::Rest(_)) => return apply(round, step, StepOutcome::Noted, &input).record,
            Step::Done => return round.record,
            Step::Revoke => {
                let (client, token) = (client(&round.record, rules), self.token(&round.record));
                if let Some(token) = token {
                    let revoked = self.services.idp.revoke(&client, &token).await;
                    round = apply(round, Step::Revoke, StepOutcome::Revoked(revoked), &input);
                }
            }
            _ => round = self.refresh(round, rules, &input).await,
        }
        if let step @ Step::Finish(_) = plan(&round, &input) {
            return apply(round, step, StepOutcome::Noted, &input).record;
        }
        let mut record = round.record;
        if record.due_at.is_some_and(|due| due <= now) {
            record.due_at = Some(now + AGAIN);
        }
        record
    }

    async fn refresh(&self, round: Round, rules: &TenantRules, input: &DecisionInput<'_>) -> Round {
        let record = &round.record;
        let Some(token) = self.token(record) else { return round };
        let outcome = match self.services.idp.refresh(&client(record, rules), &token).await {
            Ok(grant) => StepOutcome::Issued(Box::new(Issued {
                pair: self.services.sealer(record).seal(&grant, Kind::Own, record.generation.next(), input.now),
                expires_in: grant.expires_in,
                identity: record
                    .session
                    .as_ref()
                    .map_or(Identity::Missing, |session| grant.identity_in_session(&record.user, &session.sid)),
                account: None,
                session: None,
            })),
            Err(GrantError::Refused(refusal)) => StepOutcome::Failed(GrantError::Refused(refusal)),
            // It may have been done or not: the same token once more.
            Err(GrantError::Unknown(_) | GrantError::Unsent(_)) => return round,
        };
        apply(round, Step::Spend(Slot::Current), outcome, input)
    }

    fn token(&self, record: &Record) -> Option<tokenvault_core::secret::RefreshToken> {
        self.services.sealer(record).open_refresh(record, Slot::Current).ok()
    }

    async fn write(&self, before: &Record, after: &Record, lease: &Lease) {
        let write = Write::between(before, after, self.services.attempt()).under(lease).releasing();
        // What cannot be written is forgotten: the record comes up again.
        let _ = self.services.write(&write).await;
    }
}

fn client(record: &Record, rules: &TenantRules) -> Client {
    match &record.session {
        Some(session) => Client { tenant: record.key.tenant.clone(), id: session.client.clone() },
        None => rules.client.clone(),
    }
}
