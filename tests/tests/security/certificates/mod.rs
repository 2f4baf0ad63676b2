//! Hostile client certificates, and their benign twins, against the listener as it is: each case says what must come of it.
//!
//! A case that is let in by mistake is a false accept, one that is turned away by mistake a false reject; there may be
//! neither. The table of all cases is printed if there is one.
#![allow(clippy::disallowed_methods, reason = "certificates hold by the real clock, and the listener is a real one")]

mod cases;
mod der;
mod keys;
mod stage;
mod x509;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::OnceCell;

use crate::certificates::cases::{Case, Must};
use crate::certificates::stage::{Listener, Outcome};

/// Handshakes under way at a time.
const AT_ONCE: usize = 8;

type Listeners = HashMap<cases::Ground, Arc<OnceCell<Listener>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_certificate_is_answered_as_it_must_be() {
    let cases = tokio::task::spawn_blocking(cases::all).await.expect("the cases");
    let dir = tempfile::tempdir().expect("a directory");
    let mut listeners = Listeners::new();
    for case in &cases {
        listeners.entry(case.ground.clone()).or_default();
    }
    let places: HashMap<&cases::Ground, usize> =
        listeners.keys().enumerate().map(|(at, ground)| (ground, at)).collect();
    let outcomes: Vec<Outcome> = futures::stream::iter(&cases)
        .map(|case| {
            let (cell, place) = (Arc::clone(&listeners[&case.ground]), places[&case.ground]);
            let dir = dir.path().join(place.to_string());
            async move {
                let start = || Listener::start(&dir, &case.ground.authorities, case.ground.lists.as_deref());
                cell.get_or_init(start).await.call(&case.chain, &case.key, case.tls12).await
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let hostile = cases.iter().filter(|case| !matches!(case.must, Must::Admit(_))).count();
    assert!(hostile >= 150, "only {hostile} hostile cases");
    let wrong: Vec<_> = cases.iter().zip(&outcomes).filter(|(case, outcome)| !case.must.is_met_by(outcome)).collect();
    let accepts = wrong.iter().filter(|(case, outcome)| case.must.is_betrayed_by(outcome)).count();
    assert!(
        wrong.is_empty(),
        "{} of {} cases went wrong, {accepts} of them false accepts:\n{}\nall of them:\n{}",
        wrong.len(),
        cases.len(),
        table(wrong.iter().copied()),
        table(cases.iter().zip(&outcomes)),
    );
    let names: std::collections::HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
}

fn table<'a>(rows: impl Iterator<Item = (&'a Case, &'a Outcome)>) -> String {
    rows.fold(String::new(), |mut text, (case, outcome)| {
        let mark = if case.must.is_met_by(outcome) { "  " } else { "! " };
        writeln!(text, "{mark}{:72} must: {:40} came: {outcome:?}", case.name, format!("{:?}", case.must))
            .expect("a text takes all");
        text
    })
}
