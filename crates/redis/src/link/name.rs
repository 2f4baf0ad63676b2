//! Where the name leads by now.
//!
//! A name that is given to another server (a DNS name, a balancer) says nothing to the connections that are open. The
//! server at their other end may even take writes still. So a new connection is made every second, and the
//! server that it leads to is compared with the one that answers.

use std::sync::Weak;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::reads::Reads;

const EVERY: Duration = Duration::from_secs(1);

/// What tells a server from every other one: it is new with each of its starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerId(String);

/// Looks as long as somebody reads.
pub(crate) async fn follow_name(reads: Weak<Reads>) {
    let mut other = None;
    loop {
        sleep(EVERY).await;
        let Some(reads) = reads.upgrade() else { return };
        other = reads.look_where_it_leads(other).await;
    }
}

/// Which server is at the other end; nothing where it does not tell.
pub(super) async fn server_id(connection: &mut MultiplexedConnection) -> Option<ServerId> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await.ok()?;
    id(&info)
}

fn id(info: &str) -> Option<ServerId> {
    let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim_end();
    (!id.is_empty()).then(|| ServerId(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_by_its_run() {
        assert_eq!(id("# Server\r\nrun_id:7f3a\r\ntcp_port:1\r\n"), Some(ServerId("7f3a".to_owned())));
        assert_eq!(id("# Server\r\nrun_id:\r\n"), None);
    }
}
