//! What is kept as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokenvault_core::ports::StoreError;

pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these structures have only text keys and no failing Serialize")
}

pub(crate) fn parse<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(format!("{what} cannot be read")))
}
