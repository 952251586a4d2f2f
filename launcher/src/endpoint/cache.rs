//! Remembers answers for a while, and a limited number of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Maximum number of entries: callers may send any number of tokens.
const CAPACITY: usize = 1_000;

#[derive(Debug)]
pub(super) struct Cache<K, V> {
    lifetime: Duration,
    entries: Mutex<HashMap<K, (V, Instant)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, entries: Mutex::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, end) = entries.get(key)?;
        (Instant::now() < *end).then(|| value.clone())
    }

    pub(super) fn insert(&self, key: K, value: V) {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, (_, end)| now < *end);
        }
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, (value, now + self.lifetime));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn entry_expires() {
        let cache = Cache::new(LIFETIME);
        cache.insert("a", 1);
        tokio::time::advance(LIFETIME / 2).await;
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (Some(1), None));
        tokio::time::advance(LIFETIME / 2).await;
        assert_eq!(cache.get(&"a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_entries_is_limited() {
        let cache = Cache::new(LIFETIME);
        for key in 0..3 * CAPACITY {
            cache.insert(key, ());
            assert!(cache.get(&key).is_some());
            assert!(cache.entries.lock().unwrap().len() <= CAPACITY);
        }
    }
}
