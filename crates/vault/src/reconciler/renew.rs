//! Renews one claimed record: newest record first, then a permit of its tenant, then a round under the lease.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::policy::longest_pause;
use tokenvault_core::ports::{Claimed, Lease, StoreError, Write};
use tokenvault_core::record::Record;

use super::context::RenewalContext;
use super::leased_round::{GivenUp, LeasedRound};
use super::tenant_limiter::TenantLimiter;
use crate::jitter::roll;
use crate::replica::Progression;
use crate::store_news::not_done;

/// How long a record that found no permit is left alone, more or less.
const PUT_BACK: Duration = Duration::from_secs(2);

/// Renews a claimed record; a permit is waited for as long as there is patience.
pub(super) async fn renew(
    context: &RenewalContext,
    limiter: &Arc<TenantLimiter>,
    claimed: Claimed,
    patience: Duration,
) {
    let (Claimed { lease, record, .. }, services) = (claimed, &context.services);
    if services.verify_terms(&record).is_err() {
        // It comes up again at the lease's end: perhaps an operator has put it right by then.
        return;
    }
    let Some(rules) = services.tenants.get(&record.key.tenant) else {
        return context.waiting.put_off(services, &record, &lease).await;
    };
    let span = tracing::info_span!("renew", tenant = %record.key.tenant, job = %record.key.job, fence = %lease.fence);
    let record = match newest(context, record).await {
        Ok(record) => record,
        Err(error) => {
            not_done(&error, "the renewal was given up");
            return context.stranded.add(lease);
        }
    };
    let dies_at = record.pair.as_ref().map(|pair| pair.access_expires_at);
    let now = services.clock.now();
    let Some(permit) = limiter.acquire(&record.key.tenant, dies_at, now, patience).await else {
        return put_back(context, &record, &lease).await;
    };
    let late = record.renew_at.is_none_or(|renew_at| renew_at <= now).then_some(now);
    let round = LeasedRound::new(context, &rules, &lease, &permit).run(record);
    let logged = tracing::Instrument::instrument(round, span.clone());
    let result = tracing::Instrument::instrument(logged, crate::spans::renewal()).await;
    let _entered = span.enter();
    log(&result);
    // Only now is it no longer in hand, and can be made due.
    context.outages.note(&lease.key, permit.reply(), late, services.clock.now());
    services.wake.renewed(&lease.key);
    if is_stranded(&result) {
        context.stranded.add(lease);
    }
}

fn log(result: &Result<(), GivenUp>) {
    match result {
        Ok(()) => {}
        Err(GivenUp::Store(error)) => not_done(error, "the renewal was given up"),
        Err(reason) => tracing::info!(%reason, "the renewal was given up"),
    }
}

/// Whether the store's absence has ended the round. One that takes no writes is there: what it refused would be refused again
/// at once.
fn is_stranded(result: &Result<(), GivenUp>) -> bool {
    let refused = |error: &StoreError| error.is_refusal_to_write() && !error.is_elsewhere();
    matches!(result, Err(GivenUp::Store(error)) if !refused(error))
}

/// Gives back a record that found no permit: its tenant's Keycloak is slow, and others are not to wait for it.
async fn put_back(context: &RenewalContext, record: &Record, lease: &Lease) {
    let services = &context.services;
    let (now, pause) = (services.clock.now(), PUT_BACK.mul_f64(0.5 + roll(&*services.entropy)));
    let pause = longest_pause(record, now).map_or(pause, |longest| pause.min(longest.max(PUT_BACK / 8)));
    let after = Record { due_at: Some(now + pause), ..record.clone() };
    let write = Write::between(record, &after, services.attempt()).under(lease).releasing();
    if let Err(error) = services.write(&write).await {
        not_done(&error, "a record could not be given back; it comes up again when its lease ends");
    }
}

/// The claimed record, or the newer one that the store has lost and this replica still has.
async fn newest(context: &RenewalContext, record: Record) -> Result<Record, StoreError> {
    let services = &context.services;
    if services.is_rolled_back(&record.key, Progression::of(&record)).await? {
        services.observer.rolled_back();
        tracing::warn!(tenant = %record.key.tenant, job = %record.key.job, generation = %record.generation, "the store has lost writes: a record is older than it was");
    }
    services.replica.seen.note(&record.key, Progression::of(&record));
    let Some(held) = context.held.newer_than(&record) else { return Ok(record) };
    context.held.restore(services, &held).await?;
    Ok(services.store.load(&record.key).await?.map_or(record, |stored| stored.record))
}
