//! The worlds that are explored, by name.

use std::time::Duration;

use tokenvault_core::record::Acquisition;

use super::world::{Budget, Rules, World};

/// A world to explore.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub about: &'static str,
    acquisition: Acquisition,
    jobs: usize,
    anchored: bool,
    may_exchange: bool,
    errs_for: Option<Duration>,
    prompt: bool,
    /// What may happen in it, unless told otherwise.
    pub budget: Budget,
    /// How many events deep it is explored in the time a test may take.
    pub quick: usize,
    /// How deep the binary explores it: some seconds.
    pub deep: usize,
}

const NOTHING: Budget = Budget {
    faults: 0,
    others: 0,
    newcomers: 0,
    releases: 0,
    rollbacks: 0,
    errors: 0,
    keys: 0,
    oversized: 0,
    announcements: 0,
};

const JOB: Start = Start {
    name: "exchange",
    about: "one job, renewed by exchange",
    acquisition: Acquisition::Exchange,
    jobs: 1,
    anchored: false,
    may_exchange: true,
    errs_for: None,
    prompt: false,
    budget: Budget { faults: 2, ..NOTHING },
    quick: 15,
    deep: 26,
};

/// Every world.
pub const STARTS: &[Start] = &[
    JOB,
    Start {
        name: "spend",
        about: "one job whose client may not exchange",
        may_exchange: false,
        quick: 14,
        deep: 26,
        ..JOB
    },
    Start {
        name: "adopt",
        about: "one adopted pair",
        acquisition: Acquisition::Adopt,
        may_exchange: false,
        quick: 14,
        deep: 26,
        ..JOB
    },
    Start {
        name: "impersonate",
        about: "one session of the vault's own, its user's session watched",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        budget: Budget { faults: 2, others: 1, ..NOTHING },
        quick: 12,
        deep: 20,
        ..JOB
    },
    Start {
        name: "impersonate-alone",
        about: "one session of the vault's own that survives the logout, renewed by spending",
        acquisition: Acquisition::Impersonate,
        may_exchange: false,
        budget: Budget { faults: 2, others: 1, releases: 1, ..NOTHING },
        quick: 11,
        deep: 16,
        ..JOB
    },
    Start {
        name: "newcomer",
        about: "one job; others revoke or reuse, and the user registers a second job",
        budget: Budget { faults: 1, others: 2, newcomers: 2, ..NOTHING },
        quick: 10,
        deep: 15,
        ..JOB
    },
    Start {
        name: "newcomer-spend",
        about: "the same where the client may not exchange",
        may_exchange: false,
        budget: Budget { faults: 1, others: 1, newcomers: 1, ..NOTHING },
        quick: 10,
        deep: 16,
        ..JOB
    },
    Start {
        name: "two",
        about: "two jobs in one client session, one of which is released",
        jobs: 2,
        budget: Budget { faults: 1, releases: 1, ..NOTHING },
        quick: 10,
        deep: 16,
        ..JOB
    },
    Start {
        name: "two-spend",
        about: "the same where the client may not exchange",
        jobs: 2,
        may_exchange: false,
        budget: Budget { faults: 1, releases: 1, ..NOTHING },
        quick: 10,
        deep: 15,
        ..JOB
    },
    Start {
        name: "two-others",
        about: "two jobs in one client session, a release, a third registration, and others",
        jobs: 2,
        budget: Budget { faults: 1, others: 1, newcomers: 1, releases: 1, ..NOTHING },
        quick: 8,
        deep: 13,
        ..JOB
    },
    Start {
        name: "rollback",
        about: "one job renewed by exchange; the store goes back to an older record",
        budget: Budget { faults: 1, rollbacks: 1, ..NOTHING },
        quick: 12,
        deep: 18,
        ..JOB
    },
    Start {
        name: "rollback-spend",
        about: "two jobs whose client may not exchange; the store goes back to an older record",
        jobs: 2,
        may_exchange: false,
        budget: Budget { faults: 0, rollbacks: 1, ..NOTHING },
        quick: 10,
        deep: 14,
        ..JOB
    },
    Start {
        name: "erring",
        about: "one job renewed by exchange; Keycloak errs for a moment",
        budget: Budget { faults: 1, errors: 1, ..NOTHING },
        quick: 13,
        deep: 20,
        ..JOB
    },
    Start {
        name: "erring-spend",
        about: "the same where the client may not exchange",
        may_exchange: false,
        budget: Budget { faults: 1, errors: 1, ..NOTHING },
        quick: 13,
        deep: 20,
        ..JOB
    },
    Start {
        name: "erring-adopt",
        about: "one adopted pair; Keycloak errs for a moment, and the store goes back to an older record",
        acquisition: Acquisition::Adopt,
        may_exchange: false,
        budget: Budget { rollbacks: 1, errors: 1, ..NOTHING },
        quick: 11,
        deep: 17,
        ..JOB
    },
    Start {
        name: "erring-impersonate",
        about: "one session of the vault's own, its user's session watched; Keycloak errs for a moment",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        budget: Budget { faults: 1, others: 1, errors: 1, ..NOTHING },
        quick: 11,
        deep: 17,
        ..JOB
    },
    Start {
        name: "erring-newcomer",
        about: "one job; Keycloak errs for a moment, others revoke or reuse, and the user registers a second job",
        budget: Budget { faults: 0, others: 1, newcomers: 1, errors: 1, ..NOTHING },
        quick: 9,
        deep: 15,
        ..JOB
    },
    Start {
        name: "erring-long",
        about: "one job; Keycloak errs for longer than it is doubted",
        errs_for: Some(Duration::from_secs(20)),
        budget: Budget { faults: 1, others: 1, errors: 1, ..NOTHING },
        quick: 10,
        deep: 18,
        ..JOB
    },
    Start {
        name: "keys",
        about: "one job renewed by exchange; a key of the realm is deleted",
        budget: Budget { faults: 1, keys: 1, ..NOTHING },
        quick: 14,
        deep: 20,
        ..JOB
    },
    Start {
        name: "keys-impersonate",
        about: "one session of the vault's own, its user's session watched; a key of the realm is deleted",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        budget: Budget { faults: 1, keys: 1, ..NOTHING },
        quick: 12,
        deep: 18,
        ..JOB
    },
    Start {
        name: "keys-alone",
        about: "one session of the vault's own, renewed by spending; a key of the realm is deleted",
        acquisition: Acquisition::Impersonate,
        may_exchange: false,
        budget: Budget { faults: 1, keys: 1, ..NOTHING },
        quick: 13,
        deep: 22,
        ..JOB
    },
    Start {
        name: "keys-newcomer",
        about: "one job; a key is deleted, others revoke or reuse, and the user registers a second job",
        budget: Budget { faults: 0, others: 1, newcomers: 1, keys: 1, ..NOTHING },
        quick: 9,
        deep: 15,
        ..JOB
    },
    Start {
        name: "oversized",
        about: "two jobs in one client session, the token of one becomes too long to be exchanged",
        jobs: 2,
        budget: Budget { faults: 1, oversized: 1, ..NOTHING },
        quick: 9,
        deep: 16,
        ..JOB
    },
    Start {
        name: "logout",
        about: "one job, whose session's end is announced; Keycloak errs for a moment",
        budget: Budget { faults: 1, errors: 1, announcements: 1, ..NOTHING },
        quick: 9,
        deep: 16,
        ..JOB
    },
    Start {
        name: "logout-impersonate",
        about: "one session of the vault's own, the end of its user's session is announced",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        budget: Budget { faults: 1, announcements: 1, ..NOTHING },
        quick: 11,
        deep: 17,
        ..JOB
    },
    Start {
        name: "prompt",
        about: "one job, looked after without delay: Keycloak errs for a moment, and others end the session",
        prompt: true,
        budget: Budget { faults: 1, others: 1, errors: 1, announcements: 1, ..NOTHING },
        quick: 14,
        deep: 28,
        ..JOB
    },
    Start {
        name: "prompt-spend",
        about: "the same where the client may not exchange",
        may_exchange: false,
        prompt: true,
        budget: Budget { faults: 1, others: 1, errors: 1, announcements: 1, ..NOTHING },
        quick: 13,
        deep: 30,
        ..JOB
    },
    Start {
        name: "prompt-impersonate",
        about: "the same of a session of the vault's own, its user's session watched",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        prompt: true,
        budget: Budget { faults: 1, others: 1, errors: 1, announcements: 1, ..NOTHING },
        quick: 14,
        deep: 26,
        ..JOB
    },
    Start {
        name: "prompt-keys",
        about: "one job, looked after without delay: a key is deleted, and others end the session",
        prompt: true,
        budget: Budget { faults: 1, others: 1, keys: 1, ..NOTHING },
        quick: 18,
        deep: 30,
        ..JOB
    },
    Start {
        name: "prompt-keys-impersonate",
        about: "the same of a session of the vault's own, its user's session watched",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        prompt: true,
        budget: Budget { faults: 1, others: 1, keys: 1, ..NOTHING },
        quick: 16,
        deep: 28,
        ..JOB
    },
];

impl Start {
    /// The world, with this much that may happen.
    pub fn world(&self, mut rules: Rules, budget: Budget) -> World {
        rules.settings.may_exchange = self.may_exchange;
        rules.errs_for = self.errs_for.unwrap_or(rules.errs_for);
        if self.prompt {
            // A lost answer can cost the quarantine, and a crash the lease.
            let faults = u32::from(budget.faults);
            rules.prompt = true;
            rules.in_time = Some(Duration::from_secs(5) + (rules.lease + Duration::from_secs(5)) * faults);
            rules.ends_within = Some(Duration::from_secs(45) + (rules.settings.quarantine + rules.lease) * faults);
        }
        World::new(rules, self.acquisition, self.jobs, self.anchored, budget)
    }
}
