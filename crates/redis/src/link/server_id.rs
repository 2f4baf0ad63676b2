//! Which server is at the other end of a connection.

use redis::aio::MultiplexedConnection;

/// What tells a server from every other one: it is new with each of its starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerId(String);

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
