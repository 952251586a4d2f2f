//! Members from files: mounted imports, and contexts of a kubeconfig. This adds and removes members; their configs
//! reload themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{info, warn};

use super::member::{Joining, Member};
use super::set::Set;
use crate::config::{Contexts, Mounts};
use crate::error::ConfigError;
use crate::live::LiveConfig;

/// The interval at which names are listed.
const INTERVAL: Duration = Duration::from_secs(10);

/// Where the names come from.
#[derive(Clone, Debug)]
pub(super) enum Polled {
    Mounted(Mounts),
    /// The contexts of these names, or all.
    Contexts(Contexts, Option<Vec<String>>),
}

/// The members that joined from one list, and the problems of others.
#[derive(Default)]
pub(super) struct Known {
    joined: BTreeMap<String, Member>,
    /// Members that were missing from the latest list.
    missing: BTreeSet<String>,
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

    /// Whether an unusable entry is an error at start: the caller named it.
    fn is_asked_for_by_name(&self) -> bool {
        matches!(self, Self::Contexts(_, Some(_)))
    }

    /// Adds the members of the first list.
    ///
    /// # Errors
    /// If there is no list, or a named member can't join.
    pub(super) fn begin(&self, set: &Set) -> Result<Known, ConfigError> {
        let mut known = Known::default();
        for name in self.names()? {
            match self.open(&name) {
                Err(error) if self.is_asked_for_by_name() => return Err(error),
                Ok(_) if self.is_asked_for_by_name() && set.get(&name).is_some() => {
                    return Err(ConfigError::SameName(name));
                }
                opened => known.join(set, &name, opened),
            }
        }
        Ok(known)
    }

    /// Lists names at each interval, and adds and removes members.
    pub(super) async fn go_on(self, set: Set, mut known: Known) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.names() {
                Ok(names) => {
                    known.leave(&set, &names);
                    for name in names
                        .iter()
                        .filter(|name| !known.joined.contains_key(*name))
                        .cloned()
                        .collect::<Vec<_>>()
                    {
                        // Opening may run a credential plugin.
                        let opened = match set.get(&name) {
                            None => self.open(&name),
                            Some(_) => Err(ConfigError::SameName(name.clone())),
                        };
                        known.join(&set, &name, opened);
                    }
                    known.note("", None);
                }
                Err(error) => known.note("", Some(error.to_string())),
            }
        }
    }
}

impl Known {
    fn join(&mut self, set: &Set, name: &str, opened: Result<LiveConfig, ConfigError>) {
        let problem = match opened {
            Err(error) => Some(error.to_string()),
            Ok(live) => {
                let joining = Joining { name: name.into(), access: live.into(), is_local: false, uid: None };
                match set.join(joining) {
                    Some(member) => {
                        info!(cluster = name, "joined");
                        self.joined.insert(name.to_owned(), member);
                        None
                    }
                    None => Some("there is another cluster of this name".into()),
                }
            }
        };
        self.note(name, problem);
    }

    /// Removes members that were missing twice in a row: a file may be half written when it is read.
    fn leave(&mut self, set: &Set, names: &[String]) {
        let missing: BTreeSet<_> = self.joined.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in missing.intersection(&self.missing) {
            if let Some(member) = self.joined.remove(name) {
                info!(cluster = name, "left");
                set.leave(&member);
            }
        }
        self.missing = missing;
        self.problems.retain(|name, _| names.contains(name) || name.is_empty());
    }

    /// Logs a problem once.
    fn note(&mut self, name: &str, problem: Option<String>) {
        match problem {
            Some(problem) if self.problems.get(name) != Some(&problem) => {
                warn!(cluster = name, problem, "can't join; it is tried again");
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
        let mut known = Known::default();
        let live = LiveConfig::fixed(Config::new("https://127.0.0.1:1".parse().unwrap()));
        known.join(&set, "c2", live);
        for (names, is_there) in [(&[][..], true), (&["c2"], true), (&[], true), (&[], false)] {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            known.leave(&set, &names);
            assert_eq!(set.get("c2").is_some(), is_there, "{names:?}");
        }
    }
}
