//! Every byte offset of an answer of real Keycloak's, head and body, cut there.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokenvault_core::ports::{Grant, GrantError, IdentityProvider};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::proxy::Fault;
use tokenvault_tests::harness::realm::LabRealm;

use super::lab::Lane;

const LANES: usize = 6;
/// So many spent tokens in one session before Keycloak gets a new one: with thousands it becomes slow.
const PER_SESSION: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// Which answer is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Refresh,
    Exchange,
}

impl Cut {
    /// What only such a request contains.
    fn mark(self) -> &'static str {
        match self {
            Self::Refresh => "grant_type=refresh_token",
            Self::Exchange => "requested_token_type",
        }
    }

    async fn ask(self, lane: &Lane, pair: &Grant) -> Result<Grant, GrantError> {
        match self {
            Self::Refresh => lane.through.refresh(&lane.vault, &pair.refresh).await,
            Self::Exchange => lane.through.exchange(&lane.vault, &pair.access).await,
        }
    }
}

/// What a sweep came to.
#[derive(Default)]
struct Tally {
    cut: usize,
    unknown: usize,
    whole: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.cut += other.cut;
        self.unknown += other.unknown;
        self.whole += other.whole;
        self.wrong.extend(other.wrong);
    }

    /// An answer of `length` bytes of which `offset` came through.
    fn judge(&mut self, offset: usize, length: usize, result: Result<&Grant, GrantError>) {
        self.cut += 1;
        match result {
            Ok(_) if offset == length => self.whole += 1,
            Err(GrantError::Unknown(_)) if offset < length => self.unknown += 1,
            other => self.wrong.push(format!("byte {offset} of {length}: {:?}", other.map(|_| "a pair"))),
        }
    }
}

async fn sweep(cut: Cut) -> Result<Tally> {
    let realm = LabRealm::builder().create().await?;
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(Lane::lay(&realm, PATIENCE).await?);
    }
    let pair = lanes[0].pair(&realm).await?;
    cut.ask(&lanes[0], &pair).await?;
    let length = lanes[0].proxy.last_answer();
    let begun = Instant::now();
    let offsets: Vec<usize> = (0..=length).collect();
    let share = offsets.len().div_ceil(LANES);
    let tasks = lanes.iter().zip(offsets.chunks(share)).map(|(lane, offsets)| drive(cut, lane, &realm, offsets));
    let mut total = Tally::default();
    for tally in try_join_all(tasks).await? {
        total.add(tally);
    }
    tell(cut, length, &total, begun.elapsed());
    assert_eq!(total.wrong, Vec::<String>::new(), "misclassified");
    assert_eq!((total.cut, total.unknown, total.whole), (length + 1, length, 1));
    assert!(length > 1500, "an answer of {length} bytes holds no pair");
    Ok(total)
}

/// One lane's offsets, in several sessions.
async fn drive(cut: Cut, lane: &Lane, realm: &LabRealm, offsets: &[usize]) -> Result<Tally> {
    let mut tally = Tally::default();
    for offsets in offsets.chunks(PER_SESSION) {
        let own = lane.pair(realm).await?;
        for offset in offsets {
            match cut {
                Cut::Refresh => refresh_cut_at(*offset, lane, &own, &mut tally).await?,
                Cut::Exchange => exchange_cut_at(*offset, lane, &own, &mut tally).await?,
            }
        }
        assert!(lane.lives(&own).await?, "the pair before all of this is still good");
    }
    Ok(tally)
}

async fn refresh_cut_at(offset: usize, lane: &Lane, own: &Grant, tally: &mut Tally) -> Result<()> {
    let spent = lane.next(own).await?;
    let struck = lane.proxy.struck();
    lane.proxy.strike(fault(offset), 1, Cut::Refresh.mark());
    let result = Cut::Refresh.ask(lane, &spent).await;
    assert_eq!(lane.proxy.struck(), struck + 1, "the token was sent once");
    tally.judge(offset, lane.proxy.last_answer(), result.as_ref().map_err(|error| *error));
    assert!(!lane.lives(&spent).await?, "byte {offset}: Keycloak had answered, so the token is spent");
    if let Ok(pair) = result {
        assert!(lane.lives(&pair).await?);
    }
    Ok(())
}

async fn exchange_cut_at(offset: usize, lane: &Lane, own: &Grant, tally: &mut Tally) -> Result<()> {
    lane.proxy.strike(fault(offset), 1, Cut::Exchange.mark());
    let result = Cut::Exchange.ask(lane, own).await;
    tally.judge(offset, lane.proxy.last_answer(), result.as_ref().map_err(|error| *error));
    if offset.is_multiple_of(16) {
        assert!(lane.lives(own).await?, "byte {offset}: an exchange consumes nothing");
        lane.next(own).await?;
    }
    Ok(())
}

/// Every eighth connection is reset, the others are closed.
fn fault(offset: usize) -> Fault {
    if offset % 8 == 5 { Fault::ResetAnswerAfter(offset) } else { Fault::CutAnswerAfter(offset) }
}

#[allow(clippy::print_stderr, reason = "a figure for the documents; shown with --nocapture")]
fn tell(cut: Cut, length: usize, tally: &Tally, took: Duration) {
    let what = if cut == Cut::Refresh { "refresh" } else { "exchange" };
    let (cuts, unknown, wrong) = (tally.cut, tally.unknown, tally.wrong.len());
    eprintln!("{what}: {length} bytes, cut at {cuts} offsets in {took:.1?}: {unknown} unknown, {wrong} misclassified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_answer_cut_at_any_byte_is_unknown_and_the_token_is_sent_once() -> Result<()> {
    sweep(Cut::Refresh).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_answer_cut_at_any_byte_is_unknown_and_consumes_nothing() -> Result<()> {
    sweep(Cut::Exchange).await.map(drop)
}
