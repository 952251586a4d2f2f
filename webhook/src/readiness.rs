//! Readiness of this replica, and reasons why it is not ready.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

/// A precondition of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All imports are cached.
    Imports,
    /// A valid certificate is served.
    Certificate,
    /// The webhook configuration has the right address and CA bundle.
    Registration,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Imports, Self::Certificate, Self::Registration];

    /// Name in probes, metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Imports => "imports",
            Self::Certificate => "certificate",
            Self::Registration => "registration",
        }
    }
}

pub(crate) struct Readiness {
    /// Parts that are not ready, with the reason.
    missing: Mutex<BTreeMap<Part, String>>,
    is_stopping: AtomicBool,
}

impl Default for Readiness {
    fn default() -> Self {
        let missing = Part::ALL.map(|part| (part, "not checked yet".to_owned()));
        Self { missing: Mutex::new(missing.into()), is_stopping: AtomicBool::new(false) }
    }
}

impl Readiness {
    /// Records whether a part is ready. Logs changes.
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

    /// Records a problem that does not make a ready part unready: after a failed watch, its last result stays valid.
    pub(crate) fn report_problem(&self, part: Part, problem: String) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match missing.get_mut(&part) {
            Some(reason) if *reason == problem => {}
            reason => {
                warn!(part = part.name(), reason = problem, "failed; retrying");
                if let Some(reason) = reason {
                    *reason = problem;
                }
            }
        }
    }

    /// Makes this replica unready for good.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// One line for each reason why this replica is not ready.
    pub(crate) fn check(&self) -> Result<(), String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let stopping = self.is_stopping.load(Ordering::Relaxed).then(|| "stopping".to_owned());
        let parts = missing.iter().map(|(part, reason)| format!("{}: {reason}", part.name()));
        let reasons: Vec<_> = stopping.into_iter().chain(parts).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
    }

    /// Whether each part is ready.
    pub(crate) fn parts(&self) -> [(Part, bool); Part::ALL.len()] {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        Part::ALL.map(|part| (part, !missing.contains_key(&part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_is_ready_when_all_parts_are() {
        let readiness = Readiness::default();
        readiness.set(Part::Imports, Ok(()));
        readiness.set(Part::Certificate, Err("no rights".into()));
        assert_eq!(readiness.check().unwrap_err(), "certificate: no rights\nregistration: not checked yet");
        readiness.report_problem(Part::Certificate, "not found".into());
        readiness.report_problem(Part::Imports, "the watch failed".into());
        assert_eq!(readiness.check().unwrap_err(), "certificate: not found\nregistration: not checked yet");
        let parts = [(Part::Imports, true), (Part::Certificate, false), (Part::Registration, false)];
        assert_eq!(readiness.parts(), parts);
        readiness.set(Part::Certificate, Ok(()));
        readiness.set(Part::Registration, Ok(()));
        assert_eq!(readiness.check(), Ok(()));
        readiness.stop();
        assert_eq!(readiness.check().unwrap_err(), "stopping");
    }
}
