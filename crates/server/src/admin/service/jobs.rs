//! Looking at jobs, and making one due.

use std::time::Duration;

use tokenvault_core::ids::{JobKey, TenantId, UserId};
use tokenvault_core::ports::Stored;
use tokenvault_core::record::State;
use tokenvault_vault::jobs::store_problem;
use tokenvault_vault::problem::{Code, Problem};
use tokenvault_vault::services::Services;

use crate::admin::commands::{JobsPage, JobsQuery, RequestedRenewal};
use crate::admin::cursor::Cursor;

/// How long a page is searched for. What was found by then is shown, and where to go on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a renewal is asked for while somebody has the job in hand, and how long after each time.
const ASKED: u32 = 6;
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// One job.
pub(super) async fn load(services: &Services, key: &JobKey) -> Result<Stored, Problem> {
    let stored = services.store.load(key).await.map_err(store_problem)?;
    stored.ok_or_else(|| not_found(services, key))
}

/// A page of jobs.
pub(super) async fn list(services: &Services, query: &JobsQuery) -> Result<JobsPage, Problem> {
    let known = query.filter.tenant.as_ref().map(|tenant| services.tenants.get(tenant).is_some());
    let page = match (&query.filter.tenant, &query.filter.user, &query.after) {
        (Some(tenant), Some(user), None | Some(Cursor::Job(_))) => of_user(services, tenant, user, query).await,
        (_, _, None | Some(Cursor::Walk(_))) => walked(services, query).await,
        (_, _, Some(Cursor::Job(_))) => {
            Err(Problem::new(Code::InvalidRequest, "after is the `next` of another question."))
        }
    };
    Ok(JobsPage { tenant_known: known, ..page? })
}

/// There is no such job; nor such a tenant, it may be.
pub(super) fn not_found(services: &Services, key: &JobKey) -> Problem {
    let detail = match services.tenants.get(&key.tenant) {
        Some(_) => "There is no such job in this tenant.".to_owned(),
        None => format!("The tenant {} is not known here, and no job of that name is left of it.", key.tenant),
    };
    Problem::new(Code::JobNotFound, detail)
}

/// A user's jobs are entered under that user, but for those that have ended.
async fn of_user(
    services: &Services,
    tenant: &TenantId,
    user: &UserId,
    query: &JobsQuery,
) -> Result<JobsPage, Problem> {
    if query.filter.state == Some("ended") {
        return walked(services, query).await;
    }
    let after = query.after.as_ref().and_then(|after| match after {
        Cursor::Job(job) => Some(job),
        Cursor::Walk(_) => None,
    });
    let store = &services.store;
    let ids = store.jobs_of_user(tenant, user, after, query.limit + 1).await.map_err(store_problem)?;
    let next = (ids.len() > query.limit).then(|| ids.get(query.limit - 1).cloned()).flatten();
    let mut page = JobsPage { next: next.map(Cursor::Job), ..JobsPage::default() };
    for job in ids.into_iter().take(query.limit) {
        let key = JobKey::new(tenant.clone(), job);
        let stored = store.load(&key).await.map_err(store_problem)?;
        page.jobs.extend(stored.filter(|stored| query.filter.admits(stored)));
    }
    Ok(page)
}

async fn walked(services: &Services, query: &JobsQuery) -> Result<JobsPage, Problem> {
    let started = services.clock.now();
    let mut place = match &query.after {
        Some(Cursor::Walk(place)) => Some(place.clone()),
        _ => None,
    };
    let mut page = JobsPage::default();
    loop {
        let walked = services.fleet.walk(&query.filter, place.as_deref(), query.limit);
        let walked = walked.await.map_err(store_problem)?;
        page.jobs.extend(walked.records);
        page.unreadable += walked.unreadable;
        let Some(next) = walked.next else { return Ok(page) };
        let enough = page.jobs.len() >= query.limit || services.clock.now().since(started) >= PATIENCE;
        if enough {
            page.next = Some(Cursor::Walk(next));
            return Ok(page);
        }
        place = Some(next);
    }
}

/// Makes a job due now: the reconciler renews it.
pub(super) async fn renew(services: &Services, key: &JobKey) -> Result<RequestedRenewal, Problem> {
    let mut owner = load(services, key).await?;
    if let (true, Some(parent)) = (owner.record.state.is_live(), owner.record.parent.clone()) {
        owner = load(services, &JobKey::new(key.tenant.clone(), parent)).await?;
    }
    if let State::Ended(reason) | State::Releasing(reason) = owner.record.state {
        let over = Problem::new(Code::JobEnded, format!("The job {} is over.", owner.record.key.job));
        return Err(over.with("reason", reason.code()));
    }
    if services.tenants.get(&key.tenant).is_none() {
        let why = "The tenant is not configured in this vault; its jobs wait for it and are not renewed.";
        return Err(Problem::new(Code::Unsupported, why));
    }
    let pause = services.fleet.paused().await.map_err(store_problem)?;
    let mut leased = owner.leased_until.is_some();
    for _ in 0..ASKED {
        let now = services.clock.now();
        services.store.make_due(&owner.record.key, now, now).await.map_err(store_problem)?;
        services.wake.due();
        if !leased {
            break;
        }
        // Whoever has it in hand may only be looking at it, and put it off again.
        tokio::time::sleep(ASK_AGAIN).await;
        let stored = load(services, &owner.record.key).await?;
        if stored.record.generation > owner.record.generation {
            break;
        }
        leased = stored.leased_until.is_some();
    }
    Ok(RequestedRenewal { owner, pause })
}
