//! A process's memory over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::usage::Memory;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// The most memory that a process has had since this was made, as far as was seen.
pub struct Highest {
    kib: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Highest {
    /// Begins to watch a process.
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

    /// The most so far, in KiB.
    pub fn kib(&self) -> u64 {
        self.kib.load(Ordering::Relaxed)
    }
}

impl Drop for Highest {
    fn drop(&mut self) {
        self.task.abort();
    }
}
