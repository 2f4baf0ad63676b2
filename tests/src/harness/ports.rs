//! Free loopback ports.

use std::collections::HashMap;
use std::fs::{File, TryLockError, create_dir_all};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex};

use super::Result;

/// Below the ports that systems give to outgoing connections: one of those could take a port while its server restarts.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Ports are claimed by the block: a process whose tests need hundreds of them would otherwise keep as many files open.
const BLOCK: u16 = 16;

/// The ports of this process: the system may offer one again before its user has bound it, or while its user restarts, so that
/// each is given away once.
#[derive(Default)]
struct Ports {
    /// What keeps each block, by its first port.
    claims: HashMap<u16, File>,
    /// What is left of the last block.
    left: std::ops::Range<u16>,
}

static PORTS: LazyLock<Mutex<Ports>> = LazyLock::new(Mutex::default);

/// A port on 127.0.0.1 that nobody listens on and that no test process that still runs has been given.
pub fn free() -> Result<u16> {
    let mut ports = PORTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loop {
        if let Some(port) = ports.left.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
            return Ok(port);
        }
        let [.., low, high] = *uuid::Uuid::new_v4().as_bytes();
        let first = block_of(RANGE.start + u16::from_le_bytes([low, high]) % (RANGE.end - RANGE.start));
        if let Some(claim) = claim(first)? {
            ports.claims.insert(first, claim);
            ports.left = first..first + BLOCK;
        }
    }
}

/// The first port of the block that a port is in.
fn block_of(port: u16) -> u16 {
    port - port % BLOCK
}

/// Takes a block of ports, by its first, for as long as this process lives, unless somebody has it: a user's test processes run
/// beside each other.
fn claim(block: u16) -> Result<Option<File>> {
    let claims = std::env::temp_dir().join(format!("tokenvault-test-ports-{}", rustix::process::geteuid().as_raw()));
    create_dir_all(&claims)?;
    let claim = File::create(claims.join(block.to_string()))?;
    match claim.try_lock() {
        Ok(()) => Ok(Some(claim)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// [`free`] as an address.
pub fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_to_one_at_a_time() -> Result<()> {
        let (first, second) = (free()?, free()?);
        assert_ne!(first, second);
        let block = block_of(first);
        assert!(claim(block)?.is_none(), "it has been given away");
        let mut ports = PORTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ports.claims.remove(&block);
        let again = claim(block)?;
        assert!(again.is_some(), "nobody has it any more");
        ports.claims.extend(again.map(|claim| (block, claim)));
        Ok(())
    }
}
