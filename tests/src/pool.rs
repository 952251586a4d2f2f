//! Reuses clusters: a test releases what it no longer needs, and the next test acquires it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Unused clusters are stopped after this time: even idle ones cost CPU.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// Values that tests use one after another. Acquiring never waits: if the pool is empty, the caller creates a value.
#[derive(Debug)]
pub struct Pool<T>(Mutex<Vec<(T, Instant)>>);

impl<T: Send + 'static> Pool<T> {
    /// An empty pool.
    pub const fn empty() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Takes a value that another test has released. `None`: the pool is empty.
    pub fn acquire(&self) -> Option<T> {
        self.lock().pop().map(|(value, _)| value)
    }

    /// Makes a value available to other tests. It is dropped if no test acquires it within half a minute.
    pub fn release(&'static self, value: T) {
        self.lock().push((value, Instant::now()));
        thread::spawn(|| {
            thread::sleep(IDLE);
            let idle: Vec<_> = self.lock().extract_if(.., |(_, since)| since.elapsed() >= IDLE).collect();
            drop(idle);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(T, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
