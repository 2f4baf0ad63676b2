//! The pure renewal machine, explored exhaustively: every order of the steps of two replicas, with crashes, lost
//! requests, lost and late answers, and the acts of others, to a stated depth.
//!
//! What is explored is the real `plan` and `apply`; only Keycloak, the store and time are models, small enough to be read
//! in one sitting.

pub mod keycloak;
pub mod world;

use std::collections::HashSet;

use world::{Event, World};

/// What an exploration found.
#[derive(Debug, Default)]
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    /// Transitions between them.
    pub transitions: usize,
    /// States in which the job had come to an end.
    pub ended: usize,
    /// The events that led to a violation, and what it was.
    pub violation: Option<(Vec<Event>, &'static str)>,
}

/// Explores breadth first to a depth; stops at the first violation, which is then one of the shortest.
pub fn explore(start: World, depth: usize) -> Explored {
    let mut found = Explored::default();
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut frontier = vec![(start, Vec::new())];
    for _ in 0..depth {
        let mut next = Vec::new();
        for (world, path) in frontier {
            for event in world.events() {
                let after = world.after(event);
                found.transitions += 1;
                if !seen.insert(after.fingerprint()) {
                    continue;
                }
                let mut path: Vec<Event> = path.clone();
                path.push(event);
                if let Some(violation) = after.violation() {
                    found.states = seen.len();
                    found.violation = Some((path, violation));
                    return found;
                }
                if after.is_over() {
                    found.ended += 1;
                }
                next.push((after, path));
            }
        }
        frontier = next;
    }
    found.states = seen.len();
    found
}
