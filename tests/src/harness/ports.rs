//! Free loopback ports.

use std::collections::HashMap;
use std::fs::{File, TryLockError, create_dir_all};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex};

use super::Result;

/// Ports handed out before, and what keeps them: the system may offer one again before its user has bound it, or while its
/// user restarts.
static TAKEN: LazyLock<Mutex<HashMap<u16, File>>> = LazyLock::new(Mutex::default);

/// Below the ports that systems give to outgoing connections: one of those could take a port while its server restarts.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port on 127.0.0.1 that nobody listens on and that no test process that still runs has been given.
pub fn free() -> Result<u16> {
    loop {
        let [.., low, high] = *uuid::Uuid::new_v4().as_bytes();
        let port = RANGE.start + u16::from_le_bytes([low, high]) % (RANGE.end - RANGE.start);
        let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && let Some(claim) = claim(port)?
        {
            taken.insert(port, claim);
            return Ok(port);
        }
    }
}

/// Takes a port for as long as this process lives, unless somebody has it: a user's test processes run beside each other.
fn claim(port: u16) -> Result<Option<File>> {
    let claims = std::env::temp_dir().join(format!("tokenvault-test-ports-{}", rustix::process::geteuid().as_raw()));
    create_dir_all(&claims)?;
    let claim = File::create(claims.join(port.to_string()))?;
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
        let port = free()?;
        assert!(claim(port)?.is_none(), "it has been given away");
        TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&port);
        assert!(claim(port)?.is_some(), "nobody has it any more");
        Ok(())
    }
}
