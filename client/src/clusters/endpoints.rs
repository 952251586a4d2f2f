//! Observes where the configs of members lead, in one task for all of them.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use super::member::Member;
use crate::live::Endpoint;

/// The interval at which configs that are stale are reread, even if they are not in use.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// A member whose config may lead elsewhere later.
pub(super) type Observed = (Member, watch::Receiver<Endpoint>);

/// Calls `on_change` when the config of a member leads elsewhere, or has another default namespace.
pub(super) async fn observe(mut joined: mpsc::UnboundedReceiver<Observed>, on_change: impl Fn(&Member)) {
    let mut changes = FuturesUnordered::new();
    loop {
        tokio::select! {
            observed = joined.recv() => match observed {
                Some(observed) => changes.push(change(observed)),
                None => return,
            },
            Some(changed) = changes.next() => if let Some(observed) = changed {
                on_change(&observed.0);
                changes.push(change(observed));
            },
        }
    }
}

/// Waits for a change. `None`: the member has left.
async fn change((member, mut endpoint): Observed) -> Option<Observed> {
    tokio::select! {
        changed = endpoint.changed() => changed.ok()?,
        () = member.left() => return None,
    }
    Some((member, endpoint))
}

/// Rereads stale configs at an interval: health checks send the credential of one member at a time, and so don't reread
/// those of all.
pub(super) async fn refresh(members: impl Fn() -> Vec<Member>) {
    let mut ticks = interval(REFRESH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for member in members() {
            member.access().refresh();
            // Reading a file blocks.
            yield_now().await;
        }
    }
}
