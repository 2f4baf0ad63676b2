//! The cases, by what they tamper with.

mod algorithms;
mod authorities;
mod chains;
mod constraints;
mod encoding;
mod lists;
mod names;
mod usages;

use std::sync::LazyLock;

use crate::certificates::keys::Key;
use crate::certificates::stage::Outcome;
use crate::certificates::x509::{Authority, Spec, uri};

/// What the listener trusts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ground {
    pub(crate) authorities: Vec<Vec<u8>>,
    pub(crate) lists: Option<Vec<Vec<u8>>>,
}

/// What must come of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    /// The listener's files are refused, with these words.
    NotLoad(&'static str),
    /// The handshake ends with this alert.
    Refuse(&'static str),
    /// The handshake ends, with an alert or without.
    Drop,
    /// Nobody of the policy's.
    Nobody,
    /// This module.
    Admit(&'static str),
}

impl Must {
    pub(crate) fn is_met_by(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::NotLoad(words), Outcome::Unusable(said)) => said.contains(words),
            (Self::Refuse(alert), Outcome::Refused(came)) => alert == came,
            (Self::Nobody, Outcome::Nobody) | (Self::Drop, Outcome::Refused(_)) => true,
            (Self::Admit(module), Outcome::Module(came)) => module == came,
            _ => false,
        }
    }

    /// Whether somebody was let in who must not be, or as somebody else.
    pub(crate) fn is_betrayed_by(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Admit(module), Outcome::Module(came)) => module != came,
            (_, Outcome::Module(_)) | (Self::NotLoad(_) | Self::Refuse(_) | Self::Drop, Outcome::Nobody) => true,
            _ => false,
        }
    }
}

/// One certificate, how it is shown, and what must come of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) ground: Ground,
    /// What the client sends, its own certificate first.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Key,
    pub(crate) tls12: bool,
    pub(crate) must: Must,
}

pub(crate) const MOD_URI: &str = "spiffe://example.org/mod-uri";

/// The modules' authority of most cases.
pub(crate) static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::root("modules"));

/// A module's certificate by its URI, not signed yet.
pub(crate) fn module(key: &Key) -> Spec {
    Spec::leaf(key).named(&[uri(MOD_URI)])
}

/// A case against a listener that trusts these authorities.
pub(crate) fn case(name: &'static str, trusted: &[&Authority], chain: Vec<Vec<u8>>, key: Key, must: Must) -> Case {
    let authorities = trusted.iter().map(|authority| authority.der.clone()).collect();
    Case { name, ground: Ground { authorities, lists: None }, chain, key, tls12: false, must }
}

/// A case of a leaf right below [`ROOT`]; the change is what is wrong with it.
pub(crate) fn below_root(name: &'static str, must: Must, change: impl FnOnce(Spec) -> Spec) -> Case {
    let key = Key::new();
    let leaf = change(module(&key)).by(&ROOT);
    case(name, &[&ROOT], vec![leaf], key, must)
}

impl Case {
    /// With revocation lists.
    pub(crate) fn lists(mut self, lists: Vec<Vec<u8>>) -> Self {
        self.ground.lists = Some(lists);
        self
    }
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    [
        authorities::cases(),
        algorithms::cases(),
        chains::cases(),
        constraints::cases(),
        encoding::cases(),
        lists::cases(),
        names::cases(),
        usages::cases(),
    ]
    .concat()
}
