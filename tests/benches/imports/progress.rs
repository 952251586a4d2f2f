//! What is being done, on stderr: the table on stdout is the bench's answer.

use std::time::Instant;

/// Prints a line for each phase, with the time that it took.
pub struct Progress {
    begun: Instant,
    phase: Option<(String, Instant)>,
}

impl Progress {
    /// Begins.
    pub fn new() -> Self {
        Self { begun: Instant::now(), phase: None }
    }

    /// Ends the phase before, and begins this one.
    pub fn phase(&mut self, what: impl Into<String>) {
        self.done();
        self.phase = Some((what.into(), Instant::now()));
    }

    /// Ends the last phase.
    pub fn done(&mut self) {
        if let Some((what, begun)) = self.phase.take() {
            let (total, took) = (self.begun.elapsed().as_secs_f64(), begun.elapsed().as_secs_f64());
            eprintln!("[{total:6.1} s] {what} ({took:.1} s)");
        }
    }
}
