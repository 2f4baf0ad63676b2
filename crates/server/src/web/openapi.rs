//! What the descriptions of all APIs have in common: a problem's body, and what a name must look like, added wherever the
//! name stands. The types that check names know nothing of descriptions, and one table serves both documents.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::explanations;

/// A problem (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// `/problems/<code>`.
    r#type: String,
    /// The stable code.
    code: String,
    title: String,
    status: u16,
    detail: String,
    /// Names the request.
    instance: String,
    /// For 409 `job_ended`, 410, 422 `unsupported`, 502 and 503 `token_not_ready`: why.
    reason: Option<String>,
    /// For `token_rejected`: the check that failed.
    check: Option<String>,
    /// For `min_ttl_unsatisfiable`: the most that can be promised, in seconds.
    max_ttl: Option<u64>,
    /// For `expires_at_too_late`: the latest end.
    latest: Option<String>,
    /// For `key_not_held`: the replicas that do not hold it.
    replicas: Option<Vec<String>>,
}

/// A job's or a module's name.
const JOB: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";
const TENANT: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$";
/// Visible ASCII.
const USER: &str = "^[!-~]{1,255}$";

fn pattern(name: &str) -> Option<&'static str> {
    match name {
        "job_id" | "parent_job_id" => Some(JOB),
        "tenant" | "x-okapi-tenant" => Some(TENANT),
        "user_id" => Some(USER),
        "access_token" | "refresh_token" => Some("^[!-~]+$"),
        _ => None,
    }
}

/// The description with the constraints in it. `more` are those of this document alone: a parameter's name and what is
/// added to its schema.
pub fn add(document: &utoipa::openapi::OpenApi, more: &[(&str, Value)]) -> Value {
    let mut document = json!(document);
    for path in members(&mut document["paths"]) {
        for operation in members(path) {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                of_parameter(parameter, more);
            }
        }
    }
    for member in ["check", "reason"] {
        if let Some(described) = document["components"]["schemas"]["ProblemBody"]["properties"].get_mut(member) {
            let words = explanations::names(member).join("`, `");
            let about = described["description"].as_str().unwrap_or_default();
            described["description"] = json!(format!("{about} One of `{words}`; `/problems/<code>` explains each."));
        }
    }
    if let Some(registration) = document["components"]["schemas"].get_mut("RegisterBody") {
        registration["anyOf"] = json!([given("access_token"), given("parent_job_id")]);
    }
    for schema in members(&mut document["components"]["schemas"]) {
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (name, property) in properties.into_iter().flatten() {
            of_property(name, property);
        }
    }
    document
}

/// That a member is there, and not null.
fn given(member: &str) -> Value {
    json!({"required": [member], "properties": {member: {"type": "string"}}})
}

fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(Map::values_mut)
}

fn of_parameter(parameter: &mut Value, more: &[(&str, Value)]) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let Some(schema) = parameter.get_mut("schema").and_then(Value::as_object_mut) else { return };
    // A parameter that is not given is absent; there is no such thing as a null in a query or a header.
    if schema.get("type") == Some(&json!(["string", "null"])) {
        schema.insert("type".to_owned(), json!("string"));
    }
    if let Some(pattern) = pattern(&name) {
        schema.insert("pattern".to_owned(), json!(pattern));
    }
    for added in more.iter().filter(|(known, _)| *known == name).filter_map(|(_, added)| added.as_object()) {
        schema.extend(added.clone());
    }
}

fn of_property(name: &str, property: &mut Value) {
    if let (Some(pattern), Some(schema)) = (pattern(name), property.as_object_mut()) {
        schema.insert("pattern".to_owned(), json!(pattern));
    }
    if let ("readers", Some(items)) = (name, property.get_mut("items").and_then(Value::as_object_mut)) {
        items.insert("pattern".to_owned(), json!(JOB));
    }
}
