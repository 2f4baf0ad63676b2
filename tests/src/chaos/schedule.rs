//! The faults of a storm, drawn from its seed before it begins: what happens when. What comes of it is up to the machine,
//! so the same seed gives the same blows, not the same wounds.

use std::time::Duration;

use super::{Fault, LEASE, Options, REPLICAS};
use crate::harness::proxy;
use crate::sim::dice::Dice;

/// Which way a proxy stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Between the vault and Keycloak.
    Keycloak,
    /// Between the vault and Redis.
    Redis,
}

/// What may arrive twice: neither consumes anything. A refresh that arrives twice is reuse, whoever repeated it; no client
/// can help that, so none is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harmless {
    /// An exchange.
    Exchange,
    /// A probe of a refresh token.
    Probe,
}

impl Harmless {
    /// What such a request holds and a refresh does not.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Exchange => "requested_token_type",
            Self::Probe => "token_type_hint=refresh_token",
        }
    }
}

/// One blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL of a replica, which is started again at once.
    Kill(usize),
    /// SIGSTOP of a replica for so long.
    Stop(usize, Duration),
    /// The next so many requests on a way meet this.
    Spoil(Way, proxy::Fault, usize),
    /// The next so many harmless requests to Keycloak arrive twice, the copy so much later.
    Repeat(Harmless, Duration, usize),
    /// From now on Keycloak issues tokens so much later.
    Slow(Duration),
    /// Every connection of a way is closed.
    HangUp(Way),
    /// Nothing passes on a way for so long.
    Block(Way, Duration),
    /// SIGKILL of Redis, which is started again after so long.
    Redis(Duration),
    /// SIGKILL of Keycloak, which is started again after so long.
    Keycloak(Duration),
}

/// How late Keycloak's tokens are while replicas are stopped; well below [`super::REQUEST_TIMEOUT`].
pub const SLOW: Duration = Duration::from_millis(500);

/// A blow and when it falls, counted from the storm's beginning.
pub type Planned = (Duration, Blow);

/// Draws the whole storm.
pub fn draw(options: &Options) -> Vec<Planned> {
    let mut dice = Dice::new(options.seed);
    let end = Duration::from_secs(options.seconds);
    let phases: &[Fault] = match options.fault {
        Fault::All => &[Fault::Kill, Fault::Stop, Fault::Proxy, Fault::Redis, Fault::Keycloak],
        ref one => std::slice::from_ref(one),
    };
    let length = end / u32::try_from(phases.len()).unwrap_or(1);
    let mut plan = Vec::new();
    for (fault, start) in phases.iter().zip((0..).map(|phase| length * phase)) {
        phase(*fault, (start, length), &mut dice, &mut plan);
    }
    plan
}

fn phase(fault: Fault, (start, length): (Duration, Duration), dice: &mut Dice, plan: &mut Vec<Planned>) {
    if fault == Fault::Keycloak {
        // It takes a while to come back, and there should be a while afterwards.
        let times = if length > Duration::from_mins(2) { 2 } else { 1 };
        let part = length / (times + 1);
        return plan.extend((0..times).map(|time| (start + part * time + part / 4, Blow::Keycloak(pause(dice, 0, 3)))));
    }
    let mut at = start + Duration::from_secs(1);
    let mut last = REPLICAS;
    plan.extend((fault == Fault::Stop).then_some((start, Blow::Slow(SLOW))));
    while at < start + length {
        let (blow, next) = match fault {
            Fault::Kill => (Blow::Kill(another(&mut last, dice)), Duration::from_secs(1)),
            Fault::Stop => {
                let stopped = Duration::from_secs(LEASE) + pause(dice, 1, 4);
                (Blow::Stop(another(&mut last, dice), stopped), stopped + pause(dice, 1, 4))
            }
            Fault::Proxy => (spoil(dice), pause(dice, 0, 2)),
            _ => (Blow::Redis(pause(dice, 0, 2)), pause(dice, 5, 9)),
        };
        plan.push((at, blow));
        at += next;
    }
}

/// Not the one that was struck last: it may not be up yet.
fn another(last: &mut usize, dice: &mut Dice) -> usize {
    let others: Vec<usize> = (0..REPLICAS).filter(|one| one != last).collect();
    *last = dice.pick(&others);
    *last
}

fn pause(dice: &mut Dice, least: u64, most: u64) -> Duration {
    Duration::from_millis(dice.between(least * 1000 + 100, most * 1000))
}

fn spoil(dice: &mut Dice) -> Blow {
    let way = if dice.below(3) == 0 { Way::Redis } else { Way::Keycloak };
    let length = if way == Way::Keycloak { 5_000 } else { 300 };
    let bytes = usize::try_from(dice.below(length)).unwrap_or_default();
    let times = usize::try_from(dice.between(1, 12)).unwrap_or(1);
    let fault = match dice.below(11) {
        0 => return Blow::HangUp(way),
        1 => return Blow::Block(way, pause(dice, 0, 3)),
        2 | 3 => proxy::Fault::CutAnswerAfter(bytes),
        4 => proxy::Fault::ResetAnswerAfter(bytes),
        // Not to Redis: there the next answer would be taken for the one that was swallowed, which TCP never does.
        5 if way == Way::Keycloak => proxy::Fault::SwallowAnswer,
        6 => proxy::Fault::DropRequest,
        7 => proxy::Fault::Delay(pause(dice, 0, 3)),
        8 if way == Way::Keycloak => return Blow::Repeat(Harmless::Exchange, pause(dice, 0, 1), times),
        9 if way == Way::Keycloak => return Blow::Repeat(Harmless::Probe, pause(dice, 0, 1), times),
        _ => proxy::Fault::Refuse,
    };
    Blow::Spoil(way, fault, times)
}

#[cfg(test)]
mod tests {
    use super::super::Acquisition;
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_storm_and_every_kind_of_blow_falls() {
        let options = Options::new(&[Acquisition::Exchange], Fault::All, 600, 10);
        let plan = draw(&options);
        assert_eq!(plan, draw(&options));
        let falls = |kind: fn(&Blow) -> bool| plan.iter().any(|(_, blow)| kind(blow));
        assert!(falls(|blow| matches!(blow, Blow::Kill(_))) && falls(|blow| matches!(blow, Blow::Stop(..))));
        assert!(
            falls(|blow| matches!(blow, Blow::Spoil(Way::Redis, ..))) && falls(|blow| matches!(blow, Blow::HangUp(_)))
        );
        assert!(falls(|blow| matches!(blow, Blow::Repeat(Harmless::Exchange, ..))));
        assert!(falls(|blow| matches!(blow, Blow::Repeat(Harmless::Probe, ..))));
        assert!(falls(|blow| matches!(blow, Blow::Redis(_))) && falls(|blow| matches!(blow, Blow::Keycloak(_))));
        assert!(plan.iter().all(|(at, _)| *at < Duration::from_mins(10)));
    }

    #[test]
    fn a_replica_is_killed_each_second_and_never_twice_in_a_row() {
        let plan = draw(&Options::new(&[Acquisition::Adopt], Fault::Kill, 60, 10));
        assert_eq!(plan.len(), 59);
        assert!(plan.windows(2).all(|two| two[0].1 != two[1].1));
    }
    #[test]
    fn nothing_that_consumes_anything_is_repeated() {
        let plan = draw(&Options::new(&[Acquisition::Adopt], Fault::Proxy, 600, 10));
        let repeats = |blow: &Blow| matches!(blow, Blow::Spoil(_, proxy::Fault::Duplicate(_), _));
        assert!(!plan.iter().any(|(_, blow)| repeats(blow)));
    }
}
