//! The changes of a set, as a stream.

use std::collections::VecDeque;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use super::Member;
use super::set::Members;

/// A change of a [`Clusters`](super::Clusters).
#[derive(Clone, Debug)]
pub enum Change {
    /// A cluster joined the set.
    Joined(Member),
    /// Its address, certificate authority or default namespace changed. Its clients use the new one already.
    Updated(Member),
    /// It left the set.
    Left(Member),
}

/// The changes of the set, starting from an empty one.
pub(super) fn changes(
    members: watch::Receiver<Members>,
) -> impl Stream<Item = Change> + Send + Unpin + 'static {
    let state = (members, Members::default(), VecDeque::new(), true);
    stream::unfold(state, |(mut members, mut known, mut changes, mut is_first)| async move {
        loop {
            if let Some(change) = changes.pop_front() {
                return Some((change, (members, known, changes, is_first)));
            }
            if !std::mem::take(&mut is_first) {
                members.changed().await.ok()?;
            }
            let current = members.borrow_and_update().clone();
            changes = differences(&known, &current);
            known = current;
        }
    })
    .boxed()
}

/// Members that left come first, because a member that joined may have the name of one that left.
fn differences(old: &Members, new: &Members) -> VecDeque<Change> {
    let stays = |set: &Members, member: &Member| set.get(member.name()).is_some_and(|other| other == member);
    let left = old.values().filter(|member| !stays(new, member)).cloned().map(Change::Left);
    let joined_or_updated = new.values().filter_map(|member| match old.get(member.name()) {
        Some(known) if known != member => Some(Change::Joined(member.clone())),
        Some(known) => (!known.is_same_revision(member)).then(|| Change::Updated(member.clone())),
        None => Some(Change::Joined(member.clone())),
    });
    left.chain(joined_or_updated).collect()
}
