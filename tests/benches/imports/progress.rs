//! Progress messages on stderr. The table is on stdout.

use std::time::Instant;

/// Prints a line for each phase, with its duration.
pub struct Progress {
    started: Instant,
    phase: Option<(String, Instant)>,
}

impl Progress {
    pub fn new() -> Self {
        Self { started: Instant::now(), phase: None }
    }

    /// Ends the previous phase, and starts this one.
    pub fn phase(&mut self, what: impl Into<String>) {
        self.done();
        self.phase = Some((what.into(), Instant::now()));
    }

    /// Ends the current phase.
    pub fn done(&mut self) {
        if let Some((what, started)) = self.phase.take() {
            let (total, duration) = (self.started.elapsed().as_secs_f64(), started.elapsed().as_secs_f64());
            eprintln!("[{total:6.1} s] {what} ({duration:.1} s)");
        }
    }
}
