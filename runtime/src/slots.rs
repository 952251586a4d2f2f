//! Limits how many connections a server holds. Strangers who reach the port must not keep out the clients that it is
//! for.
//!
//! A new connection is never refused: if there are too many, it evicts another.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The slots of connections. Clones share them. `C` identifies clients: by address, or by user.
#[derive(Clone, Debug)]
pub struct Slots<C = IpAddr> {
    table: Arc<Mutex<Table<C>>>,
}

#[derive(Debug)]
struct Table<C> {
    maximum: usize,
    /// Increases with each use.
    clock: u64,
    /// The newest is last.
    connections: Vec<Connection<C>>,
}

#[derive(Debug)]
struct Connection<C> {
    number: u64,
    holder: Holder<C>,
    /// Evicts the connection when dropped.
    _evict: oneshot::Sender<Infallible>,
}

#[derive(Clone, Debug)]
struct Holder<C> {
    client: C,
    is_proven: bool,
    /// When it was last used, by [`Table::clock`].
    last_use: u64,
}

/// The slot of a connection, until it is dropped.
#[derive(Debug)]
pub struct Slot<C = IpAddr> {
    usage: SlotUsage<C>,
    evicted: oneshot::Receiver<Infallible>,
}

/// Records the use of a slot. Clones record the use of the same one.
#[derive(Clone, Debug)]
pub struct SlotUsage<C = IpAddr> {
    number: u64,
    table: Arc<Mutex<Table<C>>>,
}

impl<C: Clone + Eq + Hash> Slots<C> {
    /// `maximum`: number of connections, at least 1.
    pub fn new(maximum: usize) -> Self {
        let table = Table { maximum, clock: 0, connections: Vec::new() };
        Self { table: Arc::new(Mutex::new(table)) }
    }

    /// A slot for a new connection of a client. If that is one too many, evicts another connection:
    ///
    /// 1. one that has not proven itself ([`SlotUsage::prove`]), if there is any;
    /// 2. of these, one of the client that holds the most;
    /// 3. of these, the one whose last use is the longest ago.
    ///
    /// So a client that opens many evicts its own.
    pub fn take(&self, client: C) -> Slot<C> {
        let (evict, evicted) = oneshot::channel();
        let mut table = lock(&self.table);
        let number = table.tick();
        let holder = Holder { client, is_proven: false, last_use: number };
        table.connections.push(Connection { number, holder, _evict: evict });
        if table.connections.len() > table.maximum
            && let Some(index) = to_evict(&table.holders())
        {
            table.connections.remove(index);
        }
        drop(table);
        Slot { usage: SlotUsage { number, table: self.table.clone() }, evicted }
    }
}

impl<C> Table<C> {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn find(&mut self, number: u64) -> Option<&mut Holder<C>> {
        let mut connections = self.connections.iter_mut();
        connections.find(|connection| connection.number == number).map(|connection| &mut connection.holder)
    }

    fn holders(&self) -> Vec<&Holder<C>> {
        self.connections.iter().map(|connection| &connection.holder).collect()
    }
}

impl<C: Clone> Slot<C> {
    /// Waits until the connection must close.
    pub async fn evicted(&mut self) {
        // Nothing is ever sent: the error says that the sender was dropped.
        let _ = (&mut self.evicted).await;
    }

    /// Records the use of this slot.
    pub fn usage(&self) -> SlotUsage<C> {
        self.usage.clone()
    }
}

impl<C> Drop for Slot<C> {
    fn drop(&mut self) {
        lock(&self.usage.table).connections.retain(|connection| connection.number != self.usage.number);
    }
}

impl<C: Clone + Eq + Hash> SlotUsage<C> {
    /// The connection was used.
    pub fn touch(&self) {
        let mut table = lock(&self.table);
        let now = table.tick();
        if let Some(holder) = table.find(self.number) {
            holder.last_use = now;
        }
    }

    /// The connection was used as the clients do that the server is for. Strangers may do that, too, and must not evict
    /// each new client: so at most half of the slots stay proven.
    pub fn prove(&self) {
        let mut table = lock(&self.table);
        let now = table.tick();
        let Some(holder) = table.find(self.number) else { return };
        holder.last_use = now;
        if std::mem::replace(&mut holder.is_proven, true) {
            return;
        }
        let holders = table.holders();
        let proven = || holders.iter().copied().enumerate().filter(|(_, holder)| holder.is_proven);
        if proven().count() > table.maximum.div_ceil(2)
            && let Some(index) = oldest_of_largest_client(proven(), None)
        {
            table.connections[index].holder.is_proven = false;
        }
    }
}

fn lock<C>(table: &Mutex<Table<C>>) -> MutexGuard<'_, Table<C>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The index of the connection to evict; see [`Slots::take`]. The last one is new, and stays.
fn to_evict<C: Clone + Eq + Hash>(holders: &[&Holder<C>]) -> Option<usize> {
    let (newest, others) = holders.split_last()?;
    let are_proven = others.iter().all(|holder| holder.is_proven);
    let candidates = others.iter().copied().enumerate();
    let candidates = candidates.filter(|(_, holder)| holder.is_proven == are_proven);
    oldest_of_largest_client(candidates, Some(&newest.client))
}

/// Of these connections, the least recently used one of the client that holds the most. The client `newest` holds one
/// more.
fn oldest_of_largest_client<'a, C: Clone + Eq + Hash + 'a>(
    candidates: impl Iterator<Item = (usize, &'a Holder<C>)>,
    newest: Option<&C>,
) -> Option<usize> {
    let candidates: Vec<_> = candidates.collect();
    let mut held = HashMap::<_, usize>::new();
    for client in candidates.iter().map(|(_, holder)| &holder.client).chain(newest) {
        *held.entry(client).or_default() += 1;
    }
    let rank = |holder: &Holder<C>| (held.get(&holder.client).copied(), u64::MAX - holder.last_use);
    candidates.iter().max_by_key(|(_, holder)| rank(holder)).map(|(index, _)| *index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use rstest::rstest;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Addresses in the order of last use; negative ones have proven themselves.
    #[rstest]
    #[case::oldest(&[1, 1, 1], 0)]
    #[case::oldest_of_the_one_with_most(&[2, 1, 3, 1], 1)]
    #[case::newest_counts(&[1, 2, 3, 2], 1)]
    #[case::oldest_if_each_has_one(&[3, 2, 1], 0)]
    #[case::oldest_of_two_with_most(&[3, 2, 2, 1, 1], 1)]
    #[case::unproven_first(&[-1, -1, 2, 3], 2)]
    #[case::proven_ones_do_not_count(&[1, -2, -2, 2, 1, 3], 0)]
    #[case::proven_if_all_are(&[-1, -2, -2, 3], 1)]
    #[case::newest_stays(&[-1, 2], 0)]
    fn unproven_connections_of_the_largest_client_are_evicted_first(
        #[case] addresses: &[i16],
        #[case] expected: usize,
    ) {
        let holder = |(last_use, address): (usize, &i16)| Holder {
            client: self::address(address.unsigned_abs() as u8),
            is_proven: *address < 0,
            last_use: last_use as u64,
        };
        let holders: Vec<_> = addresses.iter().enumerate().map(holder).collect();
        assert_eq!(to_evict(&holders.iter().collect::<Vec<_>>()), Some(expected));
    }

    #[test]
    fn use_delays_eviction() {
        let slots = Slots::new(2);
        let mut held = [slots.take(address(1)), slots.take(address(1))];
        held[0].usage().touch();
        let mut newest = slots.take(address(1));
        assert!(held[0].evicted().now_or_never().is_none() && held[1].evicted().now_or_never().is_some());
        assert!(newest.evicted().now_or_never().is_none());
    }

    #[test]
    fn flood_from_one_address_evicts_only_its_own() {
        let slots = Slots::new(3);
        let mut other = slots.take(address(1));
        let mut flood: Vec<_> = (0..10).map(|_| slots.take(address(2))).collect();
        assert!(other.evicted().now_or_never().is_none());
        let is_open: Vec<_> = flood.iter_mut().map(|slot| slot.evicted().now_or_never().is_none()).collect();
        assert_eq!(is_open.iter().filter(|is_open| **is_open).count(), 2);
        // The newest two.
        assert!(is_open[8..].iter().all(|is_open| *is_open));
        // A dropped slot is free.
        flood.clear();
        let mut next = [slots.take(address(2)), slots.take(address(2))];
        assert!(next.iter_mut().all(|slot| slot.evicted().now_or_never().is_none()));
        assert_eq!(lock(&slots.table).connections.len(), 3);
    }

    #[test]
    fn flood_from_many_addresses_does_not_evict_proven_ones() {
        let slots = Slots::new(3);
        let mut proven = slots.take(address(1));
        proven.usage().prove();
        let _flood: Vec<_> = (2..20).map(|last| slots.take(address(last))).collect();
        assert!(proven.evicted().now_or_never().is_none());
    }

    #[test]
    fn strangers_that_prove_themselves_do_not_evict_newcomers() {
        let slots = Slots::new(4);
        let mut strangers: Vec<_> = (0..4).map(|_| slots.take(address(2))).collect();
        for stranger in &strangers {
            stranger.usage().prove();
        }
        let mut newcomer = slots.take(address(1));
        strangers.extend((0..10).map(|_| slots.take(address(2))));
        assert!(newcomer.evicted().now_or_never().is_none());
    }
}
