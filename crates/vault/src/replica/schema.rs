//! The schema that the store was heard to have.

use std::sync::atomic::{AtomicU32, Ordering};

/// The first schema in which every record's terms are vouched for.
const WITH_TERMS: u32 = 2;
/// The first schema in which the identity provider's own id of the user is one of the terms. A replica that does not know it
/// would take such terms for forged.
const WITH_ACCOUNTS: u32 = 3;

/// The newest schema heard of; 0 before any.
#[derive(Debug, Default)]
pub struct HeardSchema(AtomicU32);

impl HeardSchema {
    /// Hears the store's schema.
    pub fn hear(&self, schema: u32) {
        self.0.fetch_max(schema, Ordering::Relaxed);
    }

    /// Whether a record without a seal on its terms was tampered with.
    pub fn demands_terms(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= WITH_TERMS
    }

    /// Whether a record may say the identity provider's own id of its user.
    pub fn keeps_accounts(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= WITH_ACCOUNTS
    }
}
