//! What a group knows about its members.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::clusters::health_check::Answer;
use crate::clusters::member::Member;
use crate::clusters::turns::next_backoff;
use crate::live::health::Health;

/// The most names of members in a message.
const NAMES: usize = 3;

#[derive(Debug)]
pub(super) struct State {
    /// In the order of their turns.
    pub(super) entries: VecDeque<Entry>,
    /// When the last check began.
    pub(super) last_check: Instant,
    /// The pause between checks while the cluster is unavailable.
    pub(super) backoff: Duration,
    pub(super) was_unavailable: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) member: Member,
    /// When it is asked again, and the pause before, if its last check concerned only itself, and failed.
    pub(super) retry: Option<(Instant, Duration)>,
}

impl State {
    pub(super) fn entry(&mut self, member: &Member) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.member == *member)
    }

    pub(super) fn indexes(&self, filter: impl Fn(&Entry) -> bool) -> Vec<usize> {
        let matching = self.entries.iter().enumerate().filter(|(_, entry)| filter(entry));
        matching.map(|(index, _)| index).collect()
    }

    /// Moves the members at these ascending indexes to the end of the turns.
    pub(super) fn take_turns(&mut self, indexes: &[usize]) -> Vec<Member> {
        // Each removal shifts the later ones.
        let taken =
            indexes.iter().enumerate().filter_map(|(removed, index)| self.entries.remove(index - removed));
        let taken: Vec<_> = taken.collect();
        let members = taken.iter().map(|entry| entry.member.clone()).collect();
        self.entries.extend(taken);
        members
    }

    /// Sets an answer that concerns only this member.
    pub(super) fn set_own(&mut self, member: &Member, answer: &Answer) {
        self.set_retry(member, !answer.is_response());
        let (known, health) = (member.health_state().own(), answer.health());
        // A plugin that failed runs again: the problem stays the same until it ends.
        if *answer != Answer::CredentialPending || !known.is_unavailable() {
            log(member.name(), &known, &health);
            member.health_state().set(health);
        }
    }

    /// Sets or clears when the member is asked again. Returns whether it was set.
    pub(super) fn set_retry(&mut self, member: &Member, is_due: bool) -> bool {
        let Some(entry) = self.entry(member) else { return false };
        let known = entry.retry;
        let backoff = next_backoff(known.map_or(Duration::ZERO, |(_, backoff)| backoff));
        entry.retry = is_due.then(|| (Instant::now() + backoff, backoff));
        known.is_some()
    }

    pub(super) fn refresh(&self) {
        self.entries.iter().for_each(|entry| entry.member.health_state().refresh());
    }

    /// The names of the members, for messages.
    pub(super) fn names(&self) -> String {
        let mut names: Vec<_> = self.entries.iter().map(|entry| &**entry.member.name()).collect();
        names.sort_unstable();
        match names.len() {
            all @ ..=NAMES => names[..all].join(", "),
            all => format!("{} and {} more", names[..NAMES].join(", "), all - NAMES),
        }
    }
}

/// Logs a change that concerns only one member.
fn log(cluster: &str, known: &Health, health: &Health) {
    match health {
        Health::Unavailable { problem, .. } if !known.is_unavailable() => {
            warn!(cluster, problem = &**problem, "cluster is unavailable");
        }
        Health::Unauthorized if known != health => {
            warn!(cluster, "cluster refuses the credential (401): it expired or was revoked");
        }
        Health::Ready if !matches!(known, Health::Ready | Health::Unknown) => {
            info!(cluster, "cluster is available again");
        }
        _ => {}
    }
}
