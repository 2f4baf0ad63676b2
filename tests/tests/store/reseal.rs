//! Keys are promoted and records sealed anew while they are read; `cargo run --bin reseal` does it with many more.

use tokenvault_tests::harness::Result;
use tokenvault_tests::reseal::run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_while_a_key_is_promoted_and_two_thousand_records_are_sealed_anew() -> Result<()> {
    let report = run(2_000, |_| {}).await?;

    assert!(report.is_good(), "{report:?}");
    assert!(report.reads > 100 && report.resealed > 0, "{report:?}");
    Ok(())
}
