//! What this machine uses as a whole, as its kernel counts it.

use crate::apiserver::usage::Reading;
use jiff::Timestamp;
use std::fs;

/// Linux counts CPU time for programs in hundredths of a second, on every architecture that we run on.
const TICK: u64 = 10_000_000;

/// `None` where /proc says nothing we understand.
pub fn read() -> Option<Reading> {
    let time = Timestamp::now();
    let cpu_nanos = busy(&fs::read_to_string("/proc/stat").ok()?)?;
    let memory = used(&fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(Reading { started: Timestamp::UNIX_EPOCH, time, cpu_nanos, memory })
}

/// Bytes of memory that can still be had.
pub fn available() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")?.checked_mul(1024)
}

/// Nanoseconds that all CPUs together were not idle, from the text of /proc/stat.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|number| number.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests use is part of user.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else { return None };
    [user, nice, system, irq, softirq, steal].iter().sum::<u64>().checked_mul(TICK)
}

/// Bytes that cannot be had without writing to a disk, from the text of /proc/meminfo.
fn used(meminfo: &str) -> Option<u64> {
    kilobytes(meminfo, "MemTotal")?.checked_sub(kilobytes(meminfo, "MemAvailable")?)?.checked_mul(1024)
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernels_words() {
        let stat = "cpu  100 20 30 5000 400 5 6 7 99 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy(stat), Some((100 + 20 + 30 + 5 + 6 + 7) * TICK));
        assert_eq!(busy("intr 0\n"), None);
        assert_eq!(busy("cpu 1 2\n"), None);
        assert_eq!(used("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n"), Some(600 * 1024));
        assert_eq!(used("MemTotal: 1000 kB\n"), None);
        assert!(read().unwrap().memory > 0);
    }
}
