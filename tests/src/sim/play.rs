//! One simulation: modules that register jobs and read their tokens, replicas that fail, a storm and the quiet after it,
//! and at the end the question who is still served.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::record::Acquisition;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use super::dice::Dice;
use super::module::{self, Desk, Stage};
use super::people::People;
use super::process::{Machine, SimTime};
use super::realm::{self, is_active};
use super::replica::{Replica, Setup};
use super::trace::Trace;
use super::weather::Weather;
use super::world::{Errand, Violation, World, name};
use super::{Options, Outcome};

/// The most jobs of one simulation.
const MOST_JOBS: usize = 12;
/// The same where jobs are to crowd into a session.
const MOST_IN_A_CROWD: usize = 100;

/// What a seed decides at the beginning.
struct Script {
    replicas: usize,
    users: usize,
    jobs: usize,
    access_life: u64,
    v1: bool,
    storm_ms: u64,
    setup: Setup,
    weather: Weather,
}

impl Script {
    fn draw(dice: &mut Dice, options: Options) -> Self {
        let v1 = dice.below(3) != 0;
        Self {
            replicas: dice.pick(&[2, 3, 3]),
            users: dice.pick(&[1, 2]),
            jobs: dice.pick(&[2, 3, 4, 6]),
            access_life: dice.pick(&[60, 60, 120, 300]),
            v1,
            storm_ms: dice.between(8, 24) * 60_000,
            setup: Setup {
                naive: options.naive,
                hides_joining: options.hides_joining,
                credulous: options.credulous,
                may_exchange: dice.below(3) != 0,
                poll: Duration::from_millis(dice.pick(&[1_000, 2_000, 4_000])),
            },
            weather: Weather::draw(dice),
        }
    }
}

/// Plays one seed from beginning to end. Only inside a runtime whose time is paused.
pub async fn play(seed: u64, options: &Options) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut script = Script::draw(&mut dice, *options);
    let (errands, inbox) = unbounded_channel();
    let users = (0..script.users).map(|user| format!("user{user}"));
    let keycloak = realm::keycloak(script.users, script.access_life, script.v1, dice.bits());
    let trace = Trace::new(options.full);
    let time = SimTime::start();
    if options.crowded {
        (script.weather, script.setup.may_exchange) = (Weather::crowded(), true);
    }
    script.weather.without(if dice.below(2) == 0 { &[] } else { &[0] });
    let quiet = if options.brief { 10 } else { 400 + 2 * script.access_life };
    let (storm, weather) = (script.storm_ms / if options.brief { 12 } else { 1 }, script.weather.clone());
    let world = Arc::new(World::new(time, keycloak, People::new(users), (dice, weather), trace, errands));
    world.remark(|| {
        let Setup { may_exchange, poll, .. } = &script.setup;
        format!(
            "{} replicas, access tokens of {} s, legacy exchange {}, may_exchange {may_exchange}, poll {poll:?}, storm {storm} ms",
            script.replicas, script.access_life, script.v1
        )
    });
    world.state.lock().trouble.may_exchange = script.setup.may_exchange;
    let desk = Arc::new(Desk::new(Arc::clone(&world)));
    let machines: Vec<Arc<Machine>> = (0..script.replicas).map(|_| Arc::default()).collect();
    for (number, machine) in machines.iter().enumerate() {
        desk.seat(Replica::start(&world, number, machine, &script.setup));
    }
    let acquisitions: &'static [Acquisition] = if options.crowded {
        &[Acquisition::Exchange]
    } else if script.v1 {
        &[Acquisition::Exchange, Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt]
    } else {
        &[Acquisition::Exchange, Acquisition::Adopt]
    };
    for _ in 0..script.jobs {
        let user = usize::try_from(world.state.lock().dice.below(script.users as u64)).expect("a user");
        module::begin(&desk, user, acquisitions);
    }
    let most = if options.crowded { MOST_IN_A_CROWD } else { MOST_JOBS };
    let errands = run_errands(inbox, Arc::clone(&desk), (machines, script.setup.clone()), (most, acquisitions));
    let errands = tokio::spawn(errands);
    sleep(Duration::from_millis(storm)).await;
    world.calm_down();
    // A clock that was five minutes ahead leaves leases that last as long; then comes the quarantine, then a renewal.
    sleep(Duration::from_secs(quiet)).await;
    let patience = if options.brief { 1 } else { 8 };
    let outcome = judge(seed, &world, &desk, patience).await;
    errands.abort();
    outcome
}

/// Restarts what died, enables who was disabled, registers what comes along.
async fn run_errands(
    mut inbox: UnboundedReceiver<Errand>,
    desk: Arc<Desk>,
    (machines, setup): (Vec<Arc<Machine>>, Setup),
    (most, acquisitions): (usize, &'static [Acquisition]),
) {
    let machines = Arc::new(Mutex::new(machines));
    while let Some(errand) = inbox.recv().await {
        let (desk, machines, setup) = (Arc::clone(&desk), Arc::clone(&machines), setup.clone());
        match errand {
            Errand::Restart(number, after) => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(after)).await;
                    let machine = Arc::clone(&machines.lock()[number]);
                    desk.seat(Replica::start(&desk.world, number, &machine, &setup));
                });
            }
            Errand::Enable(user, after) => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(after)).await;
                    desk.world.set_enabled(user, true);
                });
            }
            Errand::AnotherJob(user) => {
                if desk.count() < most {
                    module::begin(&desk, user, acquisitions);
                }
            }
        }
    }
}

/// Who is still served, and who should be.
async fn judge(seed: u64, world: &Arc<World>, desk: &Arc<Desk>, patience: u64) -> Outcome {
    world.watch_sessions(None);
    let mut outcome = Outcome { seed, jobs: desk.count() as u64, ..Outcome::default() };
    for job in 0..desk.count() {
        let end = match desk.stage(job) {
            Stage::Registering | Stage::GivenUp => {
                outcome.given_up += 1;
                continue;
            }
            Stage::Ended(why) => Some(why),
            Stage::Registered => final_read(world, desk, job, patience).await.err(),
        };
        let Some(why) = end else { continue };
        let (acquisition, line, bound, key) = {
            let job = &world.state.lock().jobs[job];
            let line = job.line.filter(|_| job.acquisition != Acquisition::Impersonate);
            (job.acquisition, line, job.bound.clone(), job.key.clone())
        };
        if bound.is_some_and(|(sid, began)| world.people.lock().ended(&sid, began)) {
            continue;
        }
        outcome.lost += 1;
        let (indistinct, set_back) = {
            let job = &world.state.lock().jobs[job];
            (job.indistinct, job.set_back)
        };
        let unclear = acquisition == Acquisition::Impersonate && set_back && why.contains("unclear");
        if unclear || (why.contains("_lost") && indistinct) {
            outcome.indistinct += 1;
            continue;
        }
        // Half a minute is what the last look before the calm may have cost.
        let calm_at = world.state.lock().calm_at.unwrap_or_default() + 30_000;
        let own = world.state.lock().jobs[job].line;
        if own.is_some_and(|line| world.state.lock().oracle.lost_its_key(line, calm_at)) {
            outcome.keys_gone += 1;
            continue;
        }
        outcome.lost_by.count(acquisition);
        let doom = line.and_then(|line| world.state.lock().oracle.doom(line));
        if doom.is_none() {
            outcome.excess_loss += 1;
            world.violate(Violation::ExcessLoss);
            let record = world.record(&key);
            world.remark(|| format!("job {job} was lost ({why}): {record:?}"));
            outcome.stories.push(format!("job {job}: {why}"));
        }
    }
    finish(world, outcome)
}

fn finish(world: &World, mut outcome: Outcome) -> Outcome {
    let mut state = world.state.lock();
    let count = |what| state.violations.iter().filter(|(_, violation)| *violation == what).count() as u64;
    outcome.double_spends = count(Violation::DoubleSpend);
    outcome.expired_served = count(Violation::ExpiredServed);
    outcome.ui_sessions_killed = count(Violation::UiSessionKilled);
    outcome.stories.extend(state.violations.iter().map(|(at, what)| format!("{} at {at} ms", name(*what))));
    (outcome.gaps, outcome.joins_lost) = (state.gaps, state.joins_lost);
    outcome.revived = state.revived;
    outcome.points = state.points;
    outcome.trace_hash = state.trace.hash();
    outcome.last = state.trace.last();
    outcome.full = state.trace.full.take();
    outcome
}

/// Whether a job that should live is served an access token that Keycloak holds to be active.
async fn final_read(world: &World, desk: &Desk, job: usize, patience: u64) -> Result<(), String> {
    let mut last = String::new();
    for attempt in 0..patience {
        match desk.read(job, attempt).await {
            Ok(token) if is_active(world, &token) => return Ok(()),
            Ok(_) => "a token that is not active".clone_into(&mut last),
            Err(why) => last = why,
        }
        sleep(Duration::from_secs(15)).await;
    }
    Err(last)
}
