//! A record that is older than what was seen of its job: it was overtaken while it was on its way, or the store has gone back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokenvault_core::ids::Generation;
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::record::Acquisition;
use tokenvault_vault::jobs::{ReadAnswer, ReadRequest};
use tokenvault_vault::observer::Observer;
use tokenvault_vault::problem::Code;

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
    let behind = Arc::new(MemoryStore::new(Arc::clone(&stage.services.clock)));
    behind.restore(stage.store.snapshot());
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.generation == Generation(2)).await;
    stage.read("a", Duration::ZERO).await.expect("a token of the second generation is seen");

    // Each bit is an answer to come, the lowest first: one from before the renewal, or one from after it.
    let (late, heard) = (Arc::new(AtomicU64::new(0)), Arc::new(Heard::default()));
    let (ahead, to_come) = (Arc::clone(&stage.store), Arc::clone(&late));
    let store = Between::choosing(move |operation| {
        let next = |late: u64| matches!(operation, "load" | "read").then_some(late >> 1);
        let is_late = to_come.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok_and(|late| late & 1 == 1);
        Ok(Arc::clone(if is_late { &behind } else { &ahead }))
    });
    let vault =
        stage.vault_with(|parts| (parts.store, parts.observer) = (store, Arc::clone(&heard) as Arc<dyn Observer>));
    let read = async |answers| {
        late.store(answers, Ordering::Relaxed);
        vault.read(&caller("mod-di"), &job("a"), AT_ONCE).await
    };
    let told = || heard.0.load(Ordering::Relaxed);

    let ReadAnswer::Token(token) = read(0b1).await.expect("the newer one is there") else {
        panic!("nothing was known")
    };
    assert_eq!((token.generation, told()), (Generation(2), 0), "the store has lost nothing");

    assert_eq!(read(u64::MAX).await.expect_err("it is renewed first").code, Code::TokenNotReady);
    assert_eq!(told(), 1, "the store has gone back");

    // One that shows an old record each time it is asked for the newest is not asked for ever.
    assert_eq!(read(0b0101_0101_0101).await.expect_err("it is renewed first").code, Code::TokenNotReady);
    assert_eq!((told(), late.load(Ordering::Relaxed)), (1, 0b0101_0101));
}
