//! Free loopback ports.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex};

use super::Result;

/// Ports handed out before: the system may offer one again before its user has bound it.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Below the ports that systems give to outgoing connections: one of those could take a port while its server restarts.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port on 127.0.0.1 that nobody listens on and that this process has not handed out before.
pub fn free() -> Result<u16> {
    loop {
        let [.., low, high] = *uuid::Uuid::new_v4().as_bytes();
        let port = RANGE.start + u16::from_le_bytes([low, high]) % (RANGE.end - RANGE.start);
        let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && taken.insert(port) {
            return Ok(port);
        }
    }
}

/// [`free`] as an address.
pub fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)))
}
