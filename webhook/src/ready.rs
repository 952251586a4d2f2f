//! Whether this replica can do its job, and what is missing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

/// What the job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All imports have been listed.
    Imports,
    /// A certificate is served, and its time is not over.
    Certificate,
    /// The API server knows where to call, and whom to trust.
    Registration,
}

impl Part {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Imports, Self::Certificate, Self::Registration];

    /// As probes, metrics and logs call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Imports => "imports",
            Self::Certificate => "certificate",
            Self::Registration => "registration",
        }
    }
}

/// What stands, and why the rest does not.
pub(crate) struct Readiness {
    missing: Mutex<BTreeMap<Part, String>>,
    is_stopping: AtomicBool,
}

impl Default for Readiness {
    fn default() -> Self {
        let missing = Part::ALL.map(|part| (part, "not yet".to_owned()));
        Self { missing: Mutex::new(missing.into()), is_stopping: AtomicBool::new(false) }
    }
}

impl Readiness {
    /// Notes that a part stands, or why it does not; logged when that is news.
    pub(crate) fn set(&self, part: Part, state: Result<(), String>) {
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
    pub(crate) fn explain(&self, part: Part, trouble: String) {
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

    /// From now on, no one should come here any more.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the job can be done here.
    ///
    /// # Errors
    /// A line for each reason why not.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let stopping = self.is_stopping.load(Ordering::Relaxed).then(|| "stopping".to_owned());
        let parts = missing.iter().map(|(part, reason)| format!("{}: {reason}", part.name()));
        let reasons: Vec<_> = stopping.into_iter().chain(parts).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
    }

    /// Whether each part stands.
    pub(crate) fn parts(&self) -> [(Part, bool); Part::ALL.len()] {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        Part::ALL.map(|part| (part, !missing.contains_key(&part)))
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
        assert_eq!(readiness.verdict().unwrap_err(), "certificate: no rights\nregistration: not yet");
        readiness.explain(Part::Certificate, "still none".into());
        readiness.explain(Part::Imports, "the watch broke off".into());
        assert_eq!(readiness.verdict().unwrap_err(), "certificate: still none\nregistration: not yet");
        let stands = [(Part::Imports, true), (Part::Certificate, false), (Part::Registration, false)];
        assert_eq!(readiness.parts(), stands);
        readiness.set(Part::Certificate, Ok(()));
        readiness.set(Part::Registration, Ok(()));
        assert_eq!(readiness.verdict(), Ok(()));
        readiness.stop();
        assert_eq!(readiness.verdict().unwrap_err(), "stopping");
    }
}
