//! The moment in which a stop hurts most: a refresh token was sent, and its answer is still under way.
//!
//! Looked up in the store, where a spend is declared before it is sent.

use std::time::{Duration, Instant};

use super::stage::Stage;
use crate::harness::Result;

/// How long the moment is waited for. Without it, the blow falls all the same.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);
/// From the declaration to the send, with room; well below [`super::schedule::SLOW`].
const SENT: Duration = Duration::from_millis(100);

/// Waits until this replica has declared a spend of one of these records, and a moment longer. Answers whether it did.
pub async fn at_spend(stage: &Stage, keys: &[String], replica: &str) -> Result<bool> {
    let mut connection = stage.redis.connection().await?;
    let mut ask = redis::pipe();
    for key in keys {
        ask.cmd("HMGET").arg(key).arg("lease_holder").arg("intent");
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let found: Vec<(Option<String>, Option<String>)> = ask.query_async(&mut connection).await?;
        if found.iter().any(|(holder, intent)| holder.as_deref() == Some(replica) && intent.is_some()) {
            tokio::time::sleep(SENT).await;
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}
