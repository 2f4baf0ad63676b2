//! What may befall a simulation at each fault point, and how often in which seed.

use super::dice::Dice;

/// The other side of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Redis.
    Store,
    /// Keycloak.
    Keycloak,
}

/// What befalls one operation on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It arrives, and so does its answer.
    None,
    /// The process dies before it is sent.
    CrashBefore,
    /// The process dies when it has been sent; it is carried out.
    CrashAfter,
    /// No connection: certainly not sent.
    Refused,
    /// It never arrives.
    RequestLost,
    /// It is carried out; its answer never arrives.
    AnswerLost,
    /// It is carried out so many milliseconds later; past the time-out, after its sender has given up.
    Late(u64),
    /// It is carried out at once; its answer takes so many milliseconds.
    Slow(u64),
    /// A store operation whose client sends it again on a second connection: it is carried out twice.
    Twice,
    /// A request to Keycloak that somebody in between sends again: the copy arrives so many milliseconds after it.
    Again(u64),
    /// A 5xx instead of the act.
    ErrorBefore,
    /// A 5xx instead of the answer.
    ErrorAfter,
    /// The connection breaks in the middle of the answer.
    CutAnswer,
    /// The answer's body breaks off, and nobody said how long it would be.
    ShortAnswer,
}

impl Fault {
    /// For the trace.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::Refused => "refused",
            Self::RequestLost => "request-lost",
            Self::AnswerLost => "answer-lost",
            Self::Late(_) => "late",
            Self::Slow(_) => "slow",
            Self::Twice => "twice",
            Self::Again(_) => "again",
            Self::ErrorBefore => "error-before",
            Self::ErrorAfter => "error-after",
            Self::CutAnswer => "cut-answer",
            Self::ShortAnswer => "short-answer",
        }
    }
}

/// What happens in the world just before or just after an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The store goes back to what it held so many milliseconds ago.
    Rollback(u64),
    /// The store cannot be reached for so many milliseconds.
    StoreAway(u64),
    /// Keycloak cannot be reached for so many milliseconds.
    KeycloakAway(u64),
    /// The clock of the machine is off by so many milliseconds from now on.
    ClockJump(i64),
    /// The process stands still for so many milliseconds.
    Stop(u64),
    /// A user's interface refreshes its own pair.
    UiRefreshes,
    /// A user logs out.
    UiLogsOut,
    /// A user's interface revokes an access token, which ends the vault's client session too.
    UiRevokes,
    /// A user is disabled for so many milliseconds.
    Disabled(u64),
    /// One more job is registered in a user's session.
    AnotherJob,
    /// For so many milliseconds Keycloak says of sessions that live that they are over.
    Errs(u64),
    /// An administrator does something to one of the realm's keys.
    Keys(KeyAct),
    /// A user was given so many roles that their tokens are too long to be exchanged.
    TokenGrows,
    /// The connections of the process to Keycloak freeze: what it sends arrives nowhere, until it leaves them.
    Freezes,
}

/// What is done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAct {
    /// Access tokens are signed with a new one; the earlier still verify.
    RotateSigning,
    /// The earlier ones are deleted.
    DeleteEarlier,
    /// The one that signs access tokens is deleted, and a new one made.
    ReplaceSigning,
    /// The one that signs refresh tokens is deleted, and a new one made.
    ReplaceSecret,
}

const MINUTES: u64 = 60_000;

/// Longer than this after it was sent, no request is carried out: whatever is still queued then died with its connection.
pub const LATEST_MS: u64 = 15_000;

/// How often what happens in one seed.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Faults of a single operation, in a million operations.
    pub fault_rate: u64,
    /// Happenings, in a million operations.
    pub happening_rate: u64,
    store: [u64; 9],
    keycloak: [u64; 13],
    world: [u64; 14],
}

impl Weather {
    /// The weather of a seed: from calm to brutal, and not every seed knows every fault.
    pub fn draw(dice: &mut Dice) -> Self {
        let fault_rate = dice.pick(&[0, 2_000, 5_000, 10_000, 20_000, 40_000, 80_000]);
        let happening_rate = dice.pick(&[0, 1_000, 2_000, 4_000, 8_000, 16_000]);
        let mut weather = Self {
            fault_rate,
            happening_rate,
            store: [2, 2, 2, 4, 4, 4, 4, 4, 1],
            keycloak: [2, 2, 2, 4, 6, 4, 4, 4, 4, 4, 2, 1, 3],
            world: [3, 3, 3, 4, 4, 6, 1, 2, 2, 3, 3, 2, 1, 3],
        };
        let lists = [&mut weather.store[..], &mut weather.keycloak[..], &mut weather.world[..]];
        for weight in lists.into_iter().flatten() {
            *weight *= dice.pick(&[0, 1, 1, 3]);
        }
        weather
    }

    /// Nothing ever happens.
    pub fn calm() -> Self {
        Self { fault_rate: 0, happening_rate: 0, store: [0; 9], keycloak: [0; 13], world: [0; 14] }
    }

    /// Requests that take their time, interfaces that revoke, and one registration after another: what a stale exchange is
    /// made of. Revocations are rare enough that a job lives until its renewal comes due.
    pub fn crowded() -> Self {
        let (mut keycloak, mut world) = ([0; 13], [0; 14]);
        keycloak[6] = 1;
        (world[7], world[9]) = (1, 6);
        Self { fault_rate: 500_000, happening_rate: 21_000, store: [0; 9], keycloak, world }
    }

    /// What befalls an operation.
    pub fn fault(&self, side: Side, dice: &mut Dice) -> Fault {
        if !dice.chance(self.fault_rate) {
            return Fault::None;
        }
        let place = dice.weighted(if side == Side::Store { &self.store } else { &self.keycloak });
        let Some(place) = place else { return Fault::None };
        match side {
            Side::Store => match place {
                0 => Fault::CrashBefore,
                1 | 2 => Fault::CrashAfter,
                3 => Fault::Refused,
                4 => Fault::RequestLost,
                5 => Fault::AnswerLost,
                6 => Fault::Late(dice.between(10, 4_000)),
                7 => Fault::Twice,
                _ => Fault::Slow(dice.between(10, 900)),
            },
            Side::Keycloak => match place {
                0 => Fault::CrashBefore,
                1 | 2 => Fault::CrashAfter,
                3 => Fault::Refused,
                4 => Fault::RequestLost,
                5 => Fault::AnswerLost,
                6 => Fault::Late(dice.between(100, LATEST_MS)),
                7 => Fault::Slow(dice.between(100, 4_500)),
                8 => Fault::ErrorBefore,
                9 => Fault::ErrorAfter,
                10 => Fault::CutAnswer,
                11 => Fault::ShortAnswer,
                _ => Fault::Again(dice.between(0, 4_000)),
            },
        }
    }

    /// What happens beside an operation.
    pub fn happening(&self, dice: &mut Dice) -> Option<Happening> {
        if !dice.chance(self.happening_rate) {
            return None;
        }
        Some(match dice.weighted(&self.world)? {
            0 => Happening::Rollback(dice.between(50, 2_000)),
            1 => Happening::StoreAway(dice.between(500, 20_000)),
            2 => Happening::KeycloakAway(dice.between(1_000, 5 * MINUTES)),
            3 => Happening::ClockJump(jump(dice)),
            4 => Happening::Stop(dice.between(1_000, 90_000)),
            5 => Happening::UiRefreshes,
            6 => Happening::UiLogsOut,
            7 => Happening::UiRevokes,
            8 => Happening::Disabled(dice.between(1_000, 90_000)),
            9 => Happening::AnotherJob,
            10 => Happening::Errs(dice.between(1_000, MINUTES)),
            11 => Happening::Keys(dice.pick(&[
                KeyAct::RotateSigning,
                KeyAct::DeleteEarlier,
                KeyAct::ReplaceSigning,
                KeyAct::ReplaceSecret,
            ])),
            12 => Happening::TokenGrows,
            _ => Happening::Freezes,
        })
    }

    /// Leaves some kinds of happenings out, by their place in the list of [`Happening`].
    pub fn without(&mut self, places: &[usize]) {
        for place in places {
            self.world[*place] = 0;
        }
    }
}

/// Set right again as often as set wrong.
fn jump(dice: &mut Dice) -> i64 {
    let far = i64::try_from(dice.between(500, 5 * MINUTES)).expect("five minutes in milliseconds");
    match dice.below(4) {
        0 => far,
        1 => -far,
        _ => 0,
    }
}
