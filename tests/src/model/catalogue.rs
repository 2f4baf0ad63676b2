//! The worlds that are explored, by name.

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
    /// What may happen in it, unless told otherwise.
    pub budget: Budget,
    /// How many events deep it is explored in the time a test may take.
    pub quick: usize,
    /// How deep the binary explores it: some ten seconds.
    pub deep: usize,
}

const NOTHING: Budget = Budget { faults: 0, others: 0, newcomers: 0, releases: 0, rollbacks: 0 };

const JOB: Start = Start {
    name: "exchange",
    about: "one job, renewed by exchange",
    acquisition: Acquisition::Exchange,
    jobs: 1,
    anchored: false,
    may_exchange: true,
    budget: Budget { faults: 2, ..NOTHING },
    quick: 16,
    deep: 26,
};

/// Every world.
pub const STARTS: &[Start] = &[
    JOB,
    Start {
        name: "spend",
        about: "one job whose client may not exchange",
        may_exchange: false,
        quick: 16,
        deep: 26,
        ..JOB
    },
    Start {
        name: "adopt",
        about: "one adopted pair",
        acquisition: Acquisition::Adopt,
        may_exchange: false,
        quick: 16,
        deep: 26,
        ..JOB
    },
    Start {
        name: "impersonate",
        about: "one session of the vault's own, its user's session watched",
        acquisition: Acquisition::Impersonate,
        anchored: true,
        budget: Budget { faults: 2, others: 1, ..NOTHING },
        quick: 13,
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
        quick: 11,
        deep: 15,
        ..JOB
    },
    Start {
        name: "newcomer-spend",
        about: "the same where the client may not exchange",
        may_exchange: false,
        budget: Budget { faults: 1, others: 1, newcomers: 1, ..NOTHING },
        quick: 11,
        deep: 16,
        ..JOB
    },
    Start {
        name: "two",
        about: "two jobs in one client session, one of which is released",
        jobs: 2,
        budget: Budget { faults: 1, releases: 1, ..NOTHING },
        quick: 11,
        deep: 16,
        ..JOB
    },
    Start {
        name: "two-spend",
        about: "the same where the client may not exchange",
        jobs: 2,
        may_exchange: false,
        budget: Budget { faults: 1, releases: 1, ..NOTHING },
        quick: 11,
        deep: 15,
        ..JOB
    },
    Start {
        name: "two-others",
        about: "two jobs in one client session, a release, a third registration, and others",
        jobs: 2,
        budget: Budget { faults: 1, others: 1, newcomers: 1, releases: 1, ..NOTHING },
        quick: 9,
        deep: 13,
        ..JOB
    },
    Start {
        name: "rollback",
        about: "one job renewed by exchange; the store goes back to an older record",
        budget: Budget { faults: 1, rollbacks: 1, ..NOTHING },
        quick: 13,
        deep: 18,
        ..JOB
    },
    Start {
        name: "rollback-spend",
        about: "two jobs whose client may not exchange; the store goes back to an older record",
        jobs: 2,
        may_exchange: false,
        budget: Budget { faults: 0, rollbacks: 1, ..NOTHING },
        quick: 11,
        deep: 14,
        ..JOB
    },
];

impl Start {
    /// The world, with this much that may happen.
    pub fn world(&self, mut rules: Rules, budget: Budget) -> World {
        rules.settings.may_exchange = self.may_exchange;
        World::new(rules, self.acquisition, self.jobs, self.anchored, budget)
    }
}
