//! What processes use, and what a histogram says.

use std::fs;

use crate::harness::redis::Redis;
use crate::harness::{Failure, Result};

/// The kernel counts processor time in hundredths of a second for everybody.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) rss_mib: f64,
}

impl Usage {
    pub(super) fn of(process: u32) -> Result<Self> {
        let unreadable = || Failure::new("what a process uses cannot be read");
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // After the name, which may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        let cpu = ticks(11).zip(ticks(12)).ok_or_else(unreadable)?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let rss: f64 = rss.ok_or_else(unreadable)?;
        Ok(Self { cpu_seconds: (cpu.0 + cpu.1) / TICKS_PER_SECOND, rss_mib: rss / 1024.0 })
    }
}

/// The memory that Redis has given out, in bytes.
pub(super) async fn memory_of(redis: &Redis) -> Result<f64> {
    told(redis, "memory", "used_memory:").await?.parse().map_err(|_| Failure::new("Redis tells no number of bytes"))
}

/// Redis' process.
pub(super) async fn process_of(redis: &Redis) -> Result<u32> {
    told(redis, "server", "process_id:").await?.parse().map_err(|_| Failure::new("Redis tells no process"))
}

async fn told(redis: &Redis, section: &str, name: &str) -> Result<String> {
    let mut connection = redis.connection().await?;
    let info: String = redis::cmd("INFO").arg(section).query_async(&mut connection).await?;
    let value = info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    value.ok_or_else(|| Failure::new(format!("Redis does not tell its {name}")))
}

/// How many were at most so much, by Prometheus' buckets.
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    pub(super) fn read(text: &str, name: &str) -> Option<Self> {
        let buckets: Vec<(f64, f64)> = text
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| {
                let (labels, count) = line.rsplit_once(' ')?;
                let most = labels.split("le=\"").nth(1)?.split('"').next()?;
                Some((if most == "+Inf" { f64::INFINITY } else { most.parse().ok()? }, count.parse().ok()?))
            })
            .collect();
        (!buckets.is_empty()).then_some(Self(buckets))
    }

    /// What has come since an earlier look.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(now, then)| (now.0, now.1 - then.1)).collect())
    }

    /// The upper end of the bucket in which a part of all lies.
    pub(super) fn quantile(&self, part: f64) -> f64 {
        let all = self.0.last().map_or(0.0, |bucket| bucket.1);
        self.0.iter().find(|bucket| bucket.1 >= all * part).map_or(0.0, |bucket| bucket.0)
    }
}
