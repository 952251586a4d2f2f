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
    /// Its address, certificate authority or default namespace changed. Its clients already use the new one.
    Changed(Member),
    /// It left the set.
    Left(Member),
}

/// The changes, beginning with an empty set.
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
            let now = members.borrow_and_update().clone();
            changes = differences(&known, &now);
            known = now;
        }
    })
    .boxed()
}

/// Members that left come first: one that joined may have taken the name of one that left.
fn differences(old: &Members, new: &Members) -> VecDeque<Change> {
    let stays =
        |set: &Members, member: &Member| set.get(member.name()).is_some_and(|other| other.is_same(member));
    let left = old.values().filter(|member| !stays(new, member)).cloned().map(Change::Left);
    let come = new.values().filter_map(|member| match old.get(member.name()) {
        Some(known) if !known.is_same(member) => Some(Change::Joined(member.clone())),
        Some(known) => (!known.leads_as(member)).then(|| Change::Changed(member.clone())),
        None => Some(Change::Joined(member.clone())),
    });
    left.chain(come).collect()
}
