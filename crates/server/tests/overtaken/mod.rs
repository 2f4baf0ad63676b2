//! A record that is older than what was seen of its job: it was overtaken while it was on its way, or the store has gone back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokenvault::parts::Observer;
use tokenvault::problem::Code;
use tokenvault::vault::{ReadAnswer, ReadRequest};
use tokenvault_core::ids::Generation;
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::record::Acquisition;

use super::stage::between::Between;
use super::stage::{LIFE, Stage, caller, job, request};

/// Counts how often it heard that the store has gone back.
#[derive(Default)]
struct Heard(AtomicUsize);

impl Observer for Heard {
    fn rolled_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const AT_ONCE: ReadRequest = ReadRequest { min_ttl: None, wait: Duration::ZERO, known: None };

#[tokio::test]
async fn a_record_that_was_overtaken_while_it_was_read_is_no_news_and_a_store_that_went_back_is() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let behind = Arc::new(MemoryStore::new(Arc::clone(&stage.parts.clock)));
    behind.restore(stage.store.snapshot());
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.generation == Generation(2)).await;
    stage.read("a", Duration::ZERO).await.expect("a token of the second generation is seen");

    // So many answers are from before the renewal.
    let (late, heard) = (Arc::new(AtomicUsize::new(1)), Arc::new(Heard::default()));
    let (ahead, still) = (Arc::clone(&stage.store), Arc::clone(&late));
    let store = Between::choosing(move |operation| {
        let less_by_one = |late: usize| late.checked_sub(1);
        let is_late =
            operation == "load" && still.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_by_one).is_ok();
        Ok(Arc::clone(if is_late { &behind } else { &ahead }))
    });
    let vault =
        stage.vault_with(|parts| (parts.store, parts.observer) = (store, Arc::clone(&heard) as Arc<dyn Observer>));
    let read = async || vault.read(&caller("mod-di"), &job("a"), AT_ONCE).await;

    let ReadAnswer::Token(token) = read().await.expect("the newer one is there") else { panic!("nothing was known") };
    assert_eq!((token.generation, late.load(Ordering::Relaxed)), (Generation(2), 0));
    assert_eq!(heard.0.load(Ordering::Relaxed), 0, "the store has lost nothing");

    late.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(read().await.expect_err("it is renewed first").code, Code::TokenNotReady);
    assert_eq!(heard.0.load(Ordering::Relaxed), 1, "the store has gone back");
}
