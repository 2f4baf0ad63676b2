//! What a change takes away, and from whom: the difference of what each could do before and can do after it.
//!
//! A tenant counts where it is granted and there: a pattern that no longer covers it takes it away as well as a name that
//! was struck.

use std::collections::{BTreeMap, BTreeSet};

use tokenvault_core::ids::TenantId;
use tokenvault_core::record::Acquisition;

use super::tenant_set::TenantTables;
use crate::callers::{CertificateKey, ModuleRights, Policy};
use crate::notices::RightsLoss;

/// What modules lose from the one policy over the one set of tenants to the other.
pub(super) fn of_modules(before: (&Policy, &TenantTables), after: (&Policy, &TenantTables)) -> Vec<RightsLoss> {
    let after_by_name: BTreeMap<_, _> = after.0.entries().map(|(key, module)| (&module.name, (key, module))).collect();
    let mut losses = Vec::new();
    for (key, module) in before.0.entries() {
        let had = tenants(module, before.1);
        let what = match after_by_name.get(&module.name) {
            None => "everything".to_owned(),
            Some((new_key, new)) => {
                let has = tenants(new, after.1);
                lost(key != *new_key, key, (module, &had), (new, &has))
            }
        };
        if !what.is_empty() {
            losses.push(RightsLoss::new(module.name.to_string(), what));
        }
    }
    losses.sort();
    losses
}

/// What the tables of tenants that stay no longer allow.
pub(super) fn of_tables(before: &TenantTables, after: &TenantTables) -> Vec<RightsLoss> {
    let mut losses = Vec::new();
    for (id, (old, new)) in before.iter().filter_map(|(id, old)| Some((id, (old, after.get(id)?)))) {
        for acquisition in old.acquisitions.difference(&new.acquisitions) {
            losses.push(RightsLoss::new(format!("jobs of the tenant {id}"), word(*acquisition)));
        }
        for client in old.accepted_clients.difference(&new.accepted_clients) {
            losses.push(RightsLoss::new(format!("users of {client} in the tenant {id}"), "registration"));
        }
        for client in old.adopt_clients.keys().filter(|client| !new.adopt_clients.contains_key(*client)) {
            losses.push(RightsLoss::new(format!("pairs of {client} in the tenant {id}"), "adopt"));
        }
    }
    losses
}

fn tenants<'a>(module: &ModuleRights, tables: &'a TenantTables) -> BTreeSet<&'a TenantId> {
    tables.keys().filter(|tenant| module.tenants.contains(tenant)).collect()
}

fn lost(
    renamed: bool,
    key: &CertificateKey,
    (old, had): (&ModuleRights, &BTreeSet<&TenantId>),
    (new, has): (&ModuleRights, &BTreeSet<&TenantId>),
) -> String {
    let mut what: Vec<String> = Vec::new();
    if renamed {
        what.push(format!("the certificate {key}"));
    }
    what.extend(old.register.difference(&new.register).map(|way| format!("register by {}", word(*way))));
    for (word, had, has) in
        [("read", old.read, new.read), ("release", old.release, new.release), ("watch", old.watch, new.watch)]
    {
        what.extend((had && !has).then(|| word.to_owned()));
    }
    what.extend(had.difference(has).map(|tenant| format!("tenant {tenant}")));
    if let Some(tenant) = old.default_tenant.as_ref().filter(|_| new.default_tenant.is_none()) {
        what.push(format!("the default tenant {tenant}"));
    }
    what.join(", ")
}

fn word(acquisition: Acquisition) -> &'static str {
    match acquisition {
        Acquisition::Exchange => "exchange",
        Acquisition::Impersonate => "impersonate",
        Acquisition::Adopt => "adopt",
    }
}
