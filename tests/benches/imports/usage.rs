//! Reads the memory and processor time of processes from /proc.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// The unit of processor time in /proc, which does not depend on the kernel's own tick.
const TICKS_PER_SECOND: u64 = 100;

/// The memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Peak resident memory, in KiB.
    pub peak_kib: u64,
}

impl Memory {
    pub fn of(id: u32) -> anyhow::Result<Self> {
        let status = read(&format!("/proc/{id}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            value.with_context(|| format!("/proc/{id}/status has no {name}"))
        };
        Ok(Self { rss_kib: field("VmRSS:")?, peak_kib: field("VmHWM:")? })
    }
}

/// The processor time of a process.
pub fn cpu(id: u32) -> anyhow::Result<Duration> {
    let stat = read(&format!("/proc/{id}/stat"))?;
    // The second field is the program's name in parentheses, with any characters. utime and stime are the 14th and
    // 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = times.sum::<Result<_, _>>().with_context(|| format!("reading /proc/{id}/stat"))?;
    Ok(ticks_to_time(ticks))
}

/// The busy time of all processors of this machine.
pub fn machine_cpu() -> anyhow::Result<Duration> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal. The next fields are included in user.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|&field| fields.get(field)).sum();
    Ok(ticks_to_time(busy))
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}; this bench needs Linux"))
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}
