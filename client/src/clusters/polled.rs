//! Members from files: mounted imports, and contexts of a kubeconfig. The files are polled to add and remove members.
//! The members' configs reload by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{info, warn};

use super::member::{Member, NewMember};
use super::set::Set;
use crate::config::{Contexts, Mounts};
use crate::error::ConfigError;
use crate::live::LiveConfig;

/// The interval at which names are listed.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Where the members come from.
#[derive(Clone, Debug)]
pub(super) enum Polled {
    Mounted(Mounts),
    /// The contexts of these names. `None`: all.
    Contexts(Contexts, Option<Vec<String>>),
}

/// What is known from earlier polls.
#[derive(Default)]
pub(super) struct State {
    joined: BTreeMap<String, Member>,
    /// Members that were missing from the last list.
    missing: BTreeSet<String>,
    /// Why clusters could not join, by name. The empty name has the problem of the list itself.
    problems: BTreeMap<String, String>,
}

impl Polled {
    fn names(&self) -> Result<Vec<String>, ConfigError> {
        match self {
            Self::Mounted(mounts) => mounts.names(),
            Self::Contexts(_, Some(names)) => Ok(names.clone()),
            Self::Contexts(contexts, None) => contexts.names(),
        }
    }

    fn open(&self, name: &str) -> Result<LiveConfig, ConfigError> {
        match self {
            Self::Mounted(mounts) => mounts.import(name),
            Self::Contexts(contexts, _) => contexts.context(Some(name)),
        }
    }

    /// Whether the caller named the members. If so, an unusable one is an error at start.
    fn has_given_names(&self) -> bool {
        matches!(self, Self::Contexts(_, Some(_)))
    }

    /// Adds the members of the first list.
    ///
    /// # Errors
    /// If the list can't be read, or a member that the caller named can't join.
    pub(super) fn join_all(&self, set: &Set) -> Result<State, ConfigError> {
        let mut state = State::default();
        for name in self.names()? {
            match self.open(&name) {
                Err(error) if self.has_given_names() => return Err(error),
                Ok(_) if self.has_given_names() && set.get(&name).is_some() => {
                    return Err(ConfigError::DuplicateName(name));
                }
                opened => state.join(set, &name, opened),
            }
        }
        Ok(state)
    }

    /// Lists names at an interval, and adds and removes members.
    pub(super) async fn poll(self, set: Set, mut state: State) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            match self.names() {
                Ok(names) => {
                    state.leave(&set, &names);
                    for name in names
                        .iter()
                        .filter(|name| !state.joined.contains_key(*name))
                        .cloned()
                        .collect::<Vec<_>>()
                    {
                        let opened = match set.get(&name) {
                            None => self.open(&name),
                            Some(_) => Err(ConfigError::DuplicateName(name.clone())),
                        };
                        state.join(&set, &name, opened);
                    }
                    state.set_problem("", None);
                }
                Err(error) => state.set_problem("", Some(error.to_string())),
            }
        }
    }
}

impl State {
    fn join(&mut self, set: &Set, name: &str, opened: Result<LiveConfig, ConfigError>) {
        let problem = match opened {
            Err(error) => Some(error.to_string()),
            Ok(live) => match set.join(NewMember::new(name, live)) {
                Some(member) => {
                    info!(cluster = name, "cluster joined");
                    self.joined.insert(name.to_owned(), member);
                    None
                }
                None => Some("another cluster has this name".into()),
            },
        };
        self.set_problem(name, problem);
    }

    /// Removes members that were missing twice in a row: a file may be incomplete while it is written.
    fn leave(&mut self, set: &Set, names: &[String]) {
        let missing: BTreeSet<_> = self.joined.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in missing.intersection(&self.missing) {
            if let Some(member) = self.joined.remove(name) {
                info!(cluster = name, "cluster left");
                set.leave(&member);
            }
        }
        self.missing = missing;
        self.problems.retain(|name, _| names.contains(name) || name.is_empty());
    }

    /// Records a problem. Logs it if it is new.
    fn set_problem(&mut self, name: &str, problem: Option<String>) {
        match problem {
            Some(problem) if self.problems.get(name) != Some(&problem) => {
                if name.is_empty() {
                    warn!(problem, "can't list clusters; retrying, and keeping all members");
                } else {
                    warn!(cluster = name, problem, "cluster can't join; retrying");
                }
                self.problems.insert(name.to_owned(), problem);
            }
            Some(_) => {}
            None => drop(self.problems.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;

    #[tokio::test]
    async fn a_member_leaves_when_it_is_missing_twice_in_a_row() {
        let (set, _tasks) = Set::new();
        let mut state = State::default();
        let live = LiveConfig::fixed(Config::new("https://127.0.0.1:1".parse().unwrap()));
        state.join(&set, "c2", live);
        for (names, is_member) in [(&[][..], true), (&["c2"], true), (&[], true), (&[], false)] {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            state.leave(&set, &names);
            assert_eq!(set.get("c2").is_some(), is_member, "{names:?}");
        }
    }
}
