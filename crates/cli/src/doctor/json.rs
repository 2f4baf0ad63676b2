//! Members of Keycloak's answers. What is absent, or of another type, is empty.

use serde_json::Value;

/// The elements of a list.
pub(super) fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A text.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
