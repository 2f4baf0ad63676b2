//! What a process has used: processor time and memory, as the system counts it.

use std::fs;
use std::time::Duration;

use crate::harness::{Failure, Result};

/// The system counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time that a process has used, in its own code and in the system's for it.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in parentheses and may hold blanks; what follows it does not.
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(own), Some(system)) => Ok(Duration::from_secs_f64((own + system) / TICKS_PER_SECOND)),
        _ => Err(Failure::new("the processor time of a process cannot be read")),
    }
}

/// The resident memory of a process, MiB.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| Failure::new("the memory of a process cannot be read"))
}
