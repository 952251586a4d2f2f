//! How many connections are open: strangers, who have no verified client certificate, must not keep out API servers.
//!
//! Every connection is a stranger's until its handshake is complete. If there are too many, a new one evicts the oldest
//! of the address that holds the most. So one address never evicts the handshake of another.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Maximum numbers of what callers hold at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maximums {
    /// Connections without a verified client certificate.
    pub(super) strangers: usize,
    /// Connections with one.
    pub(super) known: usize,
    /// Tunnels. Each has two buffers, and the process has a memory limit.
    pub(super) tunnels: usize,
}

impl Default for Maximums {
    fn default() -> Self {
        Self { strangers: 100, known: 1_000, tunnels: 500 }
    }
}

/// The slots of connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    max_strangers: usize,
    strangers: Arc<Mutex<Strangers>>,
    known: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Strangers {
    next_number: u64,
    /// The oldest first.
    open: Vec<Stranger>,
}

#[derive(Debug)]
struct Stranger {
    number: u64,
    address: IpAddr,
    /// Evicts the connection when dropped.
    _evict: oneshot::Sender<Infallible>,
}

/// The slot of a stranger's connection, until it is dropped.
#[derive(Debug)]
pub(super) struct StrangerSlot {
    number: u64,
    strangers: Arc<Mutex<Strangers>>,
    evicted: oneshot::Receiver<Infallible>,
}

impl Slots {
    pub(super) fn new(maximums: Maximums) -> Self {
        let known = Arc::new(Semaphore::new(maximums.known));
        Self { max_strangers: maximums.strangers, strangers: Arc::default(), known }
    }

    /// A slot for a new connection from an address. May evict another connection.
    pub(super) fn stranger(&self, address: IpAddr) -> StrangerSlot {
        let (evict, evicted) = oneshot::channel();
        let mut strangers = lock(&self.strangers);
        let number = strangers.next_number;
        strangers.next_number += 1;
        strangers.open.push(Stranger { number, address, _evict: evict });
        if strangers.open.len() > self.max_strangers {
            let addresses: Vec<_> = strangers.open.iter().map(|stranger| stranger.address).collect();
            strangers.open.remove(to_evict(&addresses));
        }
        StrangerSlot { number, strangers: self.strangers.clone(), evicted }
    }

    /// A slot for a connection whose client certificate was verified. `None`: there are too many.
    pub(super) fn known(&self) -> Option<OwnedSemaphorePermit> {
        self.known.clone().try_acquire_owned().ok()
    }
}

impl StrangerSlot {
    /// Waits until the connection must close.
    pub(super) async fn evicted(&mut self) {
        // Nothing is ever sent: the error says that the sender was dropped.
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for StrangerSlot {
    fn drop(&mut self) {
        lock(&self.strangers).open.retain(|stranger| stranger.number != self.number);
    }
}

fn lock(strangers: &Mutex<Strangers>) -> MutexGuard<'_, Strangers> {
    strangers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The index of the oldest connection of the address that holds the most. `addresses` has the oldest first, and is not
/// empty.
fn to_evict(addresses: &[IpAddr]) -> usize {
    let mut held = HashMap::<_, usize>::new();
    for address in addresses {
        *held.entry(address).or_default() += 1;
    }
    let most = held.values().max();
    addresses.iter().position(|address| held.get(address) == most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use rstest::rstest;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[rstest]
    #[case::oldest(&[1, 1, 1], 0)]
    #[case::oldest_of_the_one_with_most(&[2, 1, 3, 1], 1)]
    #[case::newcomer_counts(&[1, 2, 3, 2], 1)]
    #[case::oldest_of_all_if_each_has_one(&[3, 2, 1], 0)]
    #[case::oldest_of_two_with_most(&[3, 2, 2, 1, 1], 1)]
    fn address_with_most_connections_loses_its_oldest(#[case] addresses: &[u8], #[case] expected: usize) {
        let addresses: Vec<_> = addresses.iter().map(|last| address(*last)).collect();
        assert_eq!(to_evict(&addresses), expected);
    }

    #[test]
    fn flood_from_one_address_evicts_only_its_own() {
        let slots = Slots::new(Maximums { strangers: 3, ..Maximums::default() });
        let mut other = slots.stranger(address(1));
        let mut flood: Vec<_> = (0..10).map(|_| slots.stranger(address(2))).collect();
        assert!(other.evicted().now_or_never().is_none());
        let is_open: Vec<_> = flood.iter_mut().map(|slot| slot.evicted().now_or_never().is_none()).collect();
        assert_eq!(is_open.iter().filter(|is_open| **is_open).count(), 2);
        // The newest two.
        assert!(is_open[8..].iter().all(|is_open| *is_open));
        // A dropped slot is free.
        flood.clear();
        let mut next = [slots.stranger(address(2)), slots.stranger(address(2))];
        assert!(next.iter_mut().all(|slot| slot.evicted().now_or_never().is_none()));
        assert_eq!(lock(&slots.strangers).open.len(), 3);
    }
}
