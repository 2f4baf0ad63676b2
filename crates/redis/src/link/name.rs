//! Where the name leads by now.
//!
//! A name that is given to another server (a DNS name, a balancer) says nothing to the connections that are open. The
//! server at their other end may even take writes still. So a new connection is made every second, and the
//! server that it leads to is compared with the one that answers.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::read_link::ReadLink;

const EVERY: Duration = Duration::from_secs(1);

/// Looks as long as somebody reads.
pub(crate) async fn follow_name(reads: Weak<ReadLink>) {
    let mut other = None;
    loop {
        sleep(EVERY).await;
        let Some(reads) = reads.upgrade() else { return };
        other = reads.look_where_it_leads(other).await;
    }
}
