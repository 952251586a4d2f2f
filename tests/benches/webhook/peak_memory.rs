//! Measures the peak memory of a process during a time span.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::usage::Memory;

/// Interval of samples.
const INTERVAL: Duration = Duration::from_millis(50);

/// The highest sample of a process's memory since this was created.
pub struct PeakMemory {
    kib: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl PeakMemory {
    /// Starts to sample a process.
    pub fn of(id: u32) -> Self {
        let kib = Arc::<AtomicU64>::default();
        let highest = kib.clone();
        let task = tokio::spawn(async move {
            while let Ok(memory) = Memory::of(id) {
                highest.fetch_max(memory.rss_kib, Ordering::Relaxed);
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { kib, task }
    }

    /// The highest sample so far, in KiB.
    pub fn kib(&self) -> u64 {
        self.kib.load(Ordering::Relaxed)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.task.abort();
    }
}
