//! Clusters that one test hands to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Clusters that no test uses are stopped after this time: they cost CPU even at rest.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// Values that one test at a time uses. The pool starts empty, and never makes a test wait: a test that finds it empty
/// starts a value of its own.
#[derive(Debug)]
pub struct Pool<T>(Mutex<Vec<(T, Instant)>>);

impl<T: Send + 'static> Pool<T> {
    /// An empty pool.
    pub const fn empty() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Takes a value that another test has released, if there is one.
    pub fn acquire(&self) -> Option<T> {
        self.lock().pop().map(|(value, _)| value)
    }

    /// Offers a value to other tests. It is dropped if none takes it for half a minute.
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
