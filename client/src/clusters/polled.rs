//! Members that are listed on this machine: mounted imports, and contexts of a kubeconfig. What they are made
//! of is read again while it is used; this is about who comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{info, warn};

use super::member::Joining;
use super::set::Set;
use crate::config::{ConfigError, Contexts, Mounts};
use crate::live::LiveConfig;

/// How often the list is looked at.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is listed.
#[derive(Clone, Debug)]
pub(super) enum Polled {
    Mounted(Mounts),
    /// The contexts of these names, or all.
    Contexts(Contexts, Option<Vec<String>>),
}

/// Those who joined by one list, and what is wrong with others.
#[derive(Default)]
pub(super) struct Known {
    joined: BTreeSet<String>,
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

    /// Whether what can't be used should end the program before it begins.
    fn is_asked_for_by_name(&self) -> bool {
        matches!(self, Self::Contexts(_, Some(_)))
    }

    /// The first look.
    ///
    /// # Errors
    /// When there is no list, or somebody was named who can't join.
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

    /// Looks again and again.
    pub(super) async fn go_on(self, set: Set, mut known: Known) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.names() {
                Ok(names) => {
                    known.leave(&set, &names);
                    for name in
                        names.iter().filter(|name| !known.joined.contains(*name)).cloned().collect::<Vec<_>>()
                    {
                        known.join(&set, &name, self.open(&name));
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
                if set.join(joining) {
                    info!(cluster = name, "joined");
                    self.joined.insert(name.to_owned());
                    None
                } else {
                    Some("there is another cluster of this name".into())
                }
            }
        };
        self.note(name, problem);
    }

    fn leave(&mut self, set: &Set, names: &[String]) {
        let gone = |name: &String| !names.contains(name);
        for name in self.joined.extract_if(.., gone) {
            info!(cluster = name, "left");
            set.leave(&name);
        }
        self.problems.retain(|name, _| names.contains(name) || name.is_empty());
    }

    /// Says what is wrong, once.
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
