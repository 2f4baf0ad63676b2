//! Searches the vault for jobs. The admin API answers in pages; this puts the pages together, each job once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer::{array_items, text};
use super::context::CommandContext;
use crate::failure::Failure;

/// Jobs asked for at a time.
const PAGE: usize = 500;

/// Jobs, each once, in order of their names.
#[derive(Debug, Default)]
pub(super) struct FoundJobs {
    pub(super) jobs: Vec<Value>,
    /// Records that the vault could not read.
    pub(super) unreadable: u64,
    /// Whether there are more than were asked for.
    pub(super) more: bool,
    /// The vault does not know the tenant that was asked for.
    tenant_unknown: bool,
}

impl FoundJobs {
    /// Fails where the tenant is not configured and has no job. A configured tenant may have none. A tenant that was taken out
    /// of the configuration may have jobs left.
    pub(super) fn require_known_tenant(&self, tenant: Option<&str>) -> Result<(), Failure> {
        match tenant {
            Some(tenant) if self.tenant_unknown && self.jobs.is_empty() && self.unreadable == 0 => {
                Err(Failure::not_found(format!(
                    "the tenant {tenant} is not known: it is not configured in this vault, and no such job is left of it"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Asks for page after page until `limit` jobs are found; 0 stands for all.
pub(super) async fn find_jobs(
    context: &CommandContext<'_, '_>,
    filter: &[(&str, String)],
    limit: usize,
) -> Result<FoundJobs, Failure> {
    let mut jobs: BTreeMap<(String, String), Value> = BTreeMap::new();
    let (mut unreadable, mut after, mut tenant_unknown) = (0, None::<String>, false);
    loop {
        let wanted = if limit == 0 { PAGE } else { limit.saturating_sub(jobs.len()).clamp(1, PAGE) };
        let mut query = filter.to_vec();
        query.push(("limit", wanted.to_string()));
        query.extend(after.take().map(|after| ("after", after)));
        let page = context.client.get(&["jobs"], &query).await?;
        for job in array_items(&page, "jobs") {
            jobs.insert((text(job, "tenant"), text(job, "job_id")), job.clone());
        }
        tenant_unknown |= page["tenant_known"] == false;
        unreadable += page["unreadable"].as_u64().unwrap_or(0);
        after = page["next"].as_str().map(str::to_owned);
        let enough = limit > 0 && jobs.len() >= limit;
        if after.is_none() || enough {
            let more = after.is_some() || (limit > 0 && jobs.len() > limit);
            let shown = jobs.into_values().take(if limit == 0 { usize::MAX } else { limit });
            return Ok(FoundJobs { jobs: shown.collect(), unreadable, more, tenant_unknown });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_found_is_a_mistake_only_in_a_tenant_that_there_is_not() {
        let found = |tenant_unknown, jobs: Vec<Value>| FoundJobs { jobs, tenant_unknown, ..FoundJobs::default() };
        let mistake = found(true, Vec::new()).require_known_tenant(Some("nope")).unwrap_err();
        assert!(
            mistake.is_not_found() && mistake.text().is_some_and(|text| text.contains("the tenant nope is not known"))
        );
        assert!(found(false, Vec::new()).require_known_tenant(Some("diku")).is_ok());
        assert!(found(false, Vec::new()).require_known_tenant(None).is_ok());
        // Taken out of the configuration, and its jobs are there still.
        assert!(found(true, vec![json!({"job_id": "a"})]).require_known_tenant(Some("gone")).is_ok());
        let unreadable = FoundJobs { unreadable: 1, ..found(true, Vec::new()) };
        assert!(unreadable.require_known_tenant(Some("gone")).is_ok());
    }
}
