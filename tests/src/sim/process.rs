//! A replica's process and the machine it runs on: it can die, stand still, and be wrong about the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokenvault_core::ports::Clock;
use tokenvault_core::time::Timestamp;
use tokenvault_server::clock::TimeSource;
use tokio::time::{Instant, sleep};

use super::trouble::UNANSWERED;

/// When every simulation begins, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// The true time: tokio's, which stands while anybody has something to do, and then jumps to the next timer.
#[derive(Debug, Clone, Copy)]
pub struct SimTime(Instant);

impl SimTime {
    /// Starts at [`EPOCH_MS`]. Only inside a runtime whose time is paused.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the simulation's beginning.
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).expect("a simulation lasts hours")
    }

    /// Milliseconds since 1970.
    pub fn now_ms(self) -> u64 {
        EPOCH_MS + self.elapsed_ms()
    }
}

impl Clock for SimTime {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }
}

/// The machine of a replica, which outlives its processes: how far its clock is off.
#[derive(Debug, Default)]
pub struct Machine(AtomicI64);

impl Machine {
    /// Sets the clock off by so many milliseconds.
    pub fn set_off_by(&self, millis: i64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    fn wall(&self, true_ms: u64) -> u64 {
        true_ms.saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

/// One life of a replica.
#[derive(Debug)]
pub struct Process {
    /// Counts all processes of a simulation.
    pub id: usize,
    /// The replica's number.
    pub replica: usize,
    /// Where it runs.
    pub machine: Arc<Machine>,
    time: SimTime,
    dead: AtomicBool,
    ready: AtomicBool,
    stopped_until: AtomicU64,
    /// How many calls to Keycloak must still go unanswered before it leaves its frozen connections.
    frozen: AtomicU64,
}

impl Process {
    /// A process that begins now.
    pub fn start(id: usize, replica: usize, machine: &Arc<Machine>, time: SimTime) -> Self {
        Self {
            id,
            replica,
            machine: Arc::clone(machine),
            time,
            dead: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            stopped_until: AtomicU64::new(0),
            frozen: AtomicU64::new(0),
        }
    }

    /// Nothing it does reaches anybody any more, and nothing reaches it.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// It has come up.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
    }

    /// Whether it answers modules.
    pub fn serves(&self) -> bool {
        self.lives() && self.ready.load(Ordering::SeqCst)
    }

    /// Whether it has not been killed.
    pub fn lives(&self) -> bool {
        !self.dead.load(Ordering::SeqCst)
    }

    /// Its connections to Keycloak freeze.
    pub fn freeze(&self) {
        self.frozen.store(UNANSWERED, Ordering::SeqCst);
    }

    /// Whether what it sends to Keycloak arrives nowhere.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst) > 0
    }

    /// One more call was not answered.
    pub fn thaw_a_little(&self) {
        let left = self.frozen.load(Ordering::SeqCst);
        self.frozen.store(left.saturating_sub(1), Ordering::SeqCst);
    }

    /// Stands still until then, on the true clock.
    pub fn stop_until(&self, until_ms: u64) {
        self.stopped_until.fetch_max(until_ms, Ordering::SeqCst);
    }

    fn true_ms(&self) -> u64 {
        self.time.now_ms().max(self.stopped_until.load(Ordering::SeqCst))
    }

    /// Where everything that this process does passes: it ends here if it is dead, and waits here while it stands still.
    pub async fn gate(&self) {
        loop {
            if !self.lives() {
                std::future::pending::<()>().await;
            }
            let left = self.stopped_until.load(Ordering::SeqCst).saturating_sub(self.time.now_ms());
            if left == 0 {
                return;
            }
            sleep(Duration::from_millis(left)).await;
        }
    }
}

/// What the machine tells a process about time. Its clock may be wrong; the time it has been running never is.
///
/// What a timer wakes while the process stands still is in truth done when it goes on: such code reads that instant.
pub struct MachineTime(pub Arc<Process>);

impl TimeSource for MachineTime {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.machine.wall(self.0.true_ms()))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.true_ms() - EPOCH_MS)
    }
}
