//! Whether this replica can do its job, and what is missing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

/// What the job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All imports have been listed.
    Imports,
    /// The certificate that is served is the one that all replicas share.
    Certificate,
    /// The API server knows where to call, and whom to trust.
    Registration,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Imports => "imports",
            Self::Certificate => "certificate",
            Self::Registration => "registration",
        }
    }
}

/// What stands, and why the rest does not.
pub struct Readiness {
    missing: Mutex<BTreeMap<Part, String>>,
}

impl Default for Readiness {
    fn default() -> Self {
        let parts = [Part::Imports, Part::Certificate, Part::Registration];
        Self { missing: Mutex::new(parts.into_iter().map(|part| (part, "not yet".to_owned())).collect()) }
    }
}

impl Readiness {
    /// Notes that a part stands, or why it does not; logged when that is news.
    pub fn set(&self, part: Part, state: Result<(), String>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let name = part.name();
        match state {
            Ok(()) => {
                if missing.remove(&part).is_some() {
                    info!(part = name, "ready");
                }
            }
            Err(reason) => {
                if missing.get(&part) != Some(&reason) {
                    warn!(part = name, reason, "not ready");
                    missing.insert(part, reason);
                }
            }
        }
    }

    /// Notes trouble with a part, which does not stop to stand by that: a watch that broke off
    /// leaves what it said last.
    pub fn explain(&self, part: Part, trouble: String) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match missing.get_mut(&part) {
            Some(reason) if *reason == trouble => {}
            reason => {
                warn!(part = part.name(), reason = trouble, "trouble; trying again");
                if let Some(reason) = reason {
                    *reason = trouble;
                }
            }
        }
    }

    /// A line for each part that does not stand; none when all do.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.iter().map(|(part, reason)| format!("{}: {reason}", part.name())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_nothing_is_missing() {
        let readiness = Readiness::default();
        readiness.set(Part::Imports, Ok(()));
        readiness.set(Part::Certificate, Err("no rights".into()));
        assert_eq!(readiness.missing(), ["certificate: no rights", "registration: not yet"]);
        readiness.explain(Part::Certificate, "still none".into());
        readiness.explain(Part::Imports, "the watch broke off".into());
        assert_eq!(readiness.missing(), ["certificate: still none", "registration: not yet"]);
        readiness.set(Part::Certificate, Ok(()));
        readiness.set(Part::Registration, Ok(()));
        assert!(readiness.missing().is_empty());
    }
}
