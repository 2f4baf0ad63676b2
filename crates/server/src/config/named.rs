//! `{tenant}`: filled in wherever a name may depend on the tenant, which is in every text of `[keycloak]` and of
//! `[tenants.NAME]`, and in the names of the clients whose pairs may be deposited.
//!
//! Braces that are left over are a slip of the pen (`{tenat}`). Taken literally they would name a client, a file or a realm
//! that is not there, and nobody would hear of it before the first registration.

use figment::value::{Dict, Value};
use tokenvault_core::ids::TenantId;

/// What stands for the tenant's name.
pub(super) const PLACEHOLDER: &str = "{tenant}";

/// A table with the tenant's name filled in, and for each key in which something is wrong what to say of it.
pub(super) fn fill_in(table: &Dict, tenant: &TenantId) -> (Dict, Vec<(String, &'static str)>) {
    let mut wrong = Vec::new();
    let mut filled = Dict::new();
    for (key, value) in table {
        let mut problem = None;
        filled.insert(key.clone(), value_of(value, tenant, &mut problem));
        wrong.extend(problem.map(|problem| (key.clone(), problem)));
    }
    (filled, wrong)
}

fn value_of(value: &Value, tenant: &TenantId, problem: &mut Option<&'static str>) -> Value {
    match value {
        Value::String(tag, text) => Value::String(*tag, self::text(text, tenant, problem)),
        Value::Array(tag, values) => {
            Value::Array(*tag, values.iter().map(|value| value_of(value, tenant, problem)).collect())
        }
        Value::Dict(tag, table) => {
            let mut filled = Dict::new();
            for (name, value) in table {
                let value = value_of(value, tenant, problem);
                if filled.insert(text(name, tenant, problem), value).is_some() {
                    *problem = Some("names one client twice once `{tenant}` is filled in");
                }
            }
            Value::Dict(*tag, filled)
        }
        other => other.clone(),
    }
}

fn text(text: &str, tenant: &TenantId, problem: &mut Option<&'static str>) -> String {
    let filled = text.replace(PLACEHOLDER, tenant.as_str());
    if filled.contains(['{', '}']) {
        *problem = Some("has braces that are not `{tenant}`, which is all that is filled in");
    }
    filled
}
