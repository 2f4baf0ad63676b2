//! Breadth first through every state there is, on all cores.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::canon::halves;
use super::judge::{Gap, Violation};
use super::world::{Event, World};

/// What an exploration found.
#[derive(Debug, Default, Serialize)]
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    /// Transitions between them.
    pub transitions: usize,
    /// The longest path that led to something new.
    pub depth: usize,
    /// Whether there is nothing beyond: every reachable state was seen.
    pub closed: bool,
    /// States in which a job had come to an end.
    pub ended: usize,
    /// States in which a job had been renewed.
    pub renewed: usize,
    /// States that fell through [`Gap::JoinedInFlight`].
    pub joined_in_flight: usize,
    /// States that fell through [`Gap::IntentLost`].
    pub intent_lost: usize,
    /// Violations, each with a shortest path to it.
    #[serde(serialize_with = "as_text")]
    pub violations: Vec<(Violation, Vec<Event>)>,
}

fn as_text<S: serde::Serializer>(found: &[(Violation, Vec<Event>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(found.iter().map(|(violation, path)| format!("{violation:?}: {path:?}")))
}

const SHARDS: usize = 256;
const CHUNK: usize = 64;

#[derive(Default)]
struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, bits: u128) {
        self.0 = halves(bits)[1];
    }
}

/// The states seen, by their fingerprints.
struct Seen(Vec<Mutex<HashSet<u128, BuildHasherDefault<Low>>>>);

impl Seen {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Whether this one is new.
    fn insert(&self, bits: u128) -> bool {
        let shard = usize::from(bits.to_be_bytes()[0]);
        self.0[shard].lock().expect("nothing panics under this lock").insert(bits)
    }
}

/// A new state, how it was come by, and what was found in it.
struct Found {
    world: World,
    parent: u32,
    event: Event,
}

#[derive(Default)]
struct Part {
    next: Vec<Found>,
    transitions: usize,
    violations: Vec<(Violation, u32, Event)>,
    gaps: [usize; 2],
    ended: usize,
    renewed: usize,
    states: usize,
}

/// Explores to a depth, or until there is nothing new; stops behind the first depth with a violation, whose path is then
/// one of the shortest.
pub fn explore(start: World, depth: usize, mut progress: impl FnMut(usize, usize)) -> Explored {
    let seen = Seen::new();
    seen.insert(start.fingerprint());
    let mut found = Explored { states: 1, ..Explored::default() };
    let mut frontier = vec![start];
    let mut levels: Vec<Vec<(u32, Event)>> = Vec::new();
    while found.depth < depth && found.violations.is_empty() {
        let parts = expand(&frontier, &seen);
        drop(frontier);
        frontier = Vec::new();
        let mut level = Vec::new();
        for part in parts {
            found.transitions += part.transitions;
            found.states += part.states;
            found.ended += part.ended;
            found.renewed += part.renewed;
            found.joined_in_flight += part.gaps[0];
            found.intent_lost += part.gaps[1];
            for (violation, parent, event) in part.violations {
                if found.violations.iter().all(|(known, _)| *known != violation) {
                    found.violations.push((violation, path(&levels, parent, event)));
                }
            }
            for Found { world, parent, event } in part.next {
                frontier.push(world);
                level.push((parent, event));
            }
        }
        levels.push(level);
        if frontier.is_empty() {
            found.closed = found.violations.is_empty();
            break;
        }
        found.depth += 1;
        progress(found.depth, found.states);
    }
    found
}

fn path(levels: &[Vec<(u32, Event)>], mut parent: u32, last: Event) -> Vec<Event> {
    let mut events = vec![last];
    for level in levels.iter().rev() {
        let (before, event) = level[parent as usize];
        events.push(event);
        parent = before;
    }
    events.reverse();
    events
}

fn expand(frontier: &[World], seen: &Seen) -> Vec<Part> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let turn = AtomicUsize::new(0);
    let work = || {
        let mut part = Part::default();
        loop {
            let from = turn.fetch_add(CHUNK, Ordering::Relaxed);
            let to = frontier.len().min(from + CHUNK);
            if from >= to {
                return part;
            }
            for (world, place) in frontier[from..to].iter().zip(from..) {
                part.visit(world, u32::try_from(place).expect("a frontier fits into memory"), seen);
            }
        }
    };
    if frontier.len() <= CHUNK {
        return vec![work()];
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("an exploration does not panic")).collect()
    })
}

impl Part {
    fn visit(&mut self, world: &World, parent: u32, seen: &Seen) {
        for event in world.events() {
            let world = world.after(event);
            self.transitions += 1;
            if !seen.insert(world.fingerprint()) {
                continue;
            }
            self.states += 1;
            self.ended += usize::from(world.has_ended());
            self.renewed += usize::from(world.has_renewed());
            match (world.gap(), world.violation()) {
                (Some(Gap::JoinedInFlight), _) => self.gaps[0] += 1,
                (Some(Gap::IntentLost), _) => self.gaps[1] += 1,
                (None, Some(violation)) => self.violations.push((violation, parent, event)),
                (None, None) => self.next.push(Found { world, parent, event }),
            }
        }
    }
}
