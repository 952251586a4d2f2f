//! How a process ends: one line that says why, and a code.

use std::io::Write;
use std::process::ExitCode;

use crate::errors;

/// Exit code 0, or one line on stderr with the error and its causes, and exit code 1. (clap ends
/// with 2 by itself on wrong usage.)
pub fn report(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whether anyone reads it or not.
            let _ = writeln!(std::io::stderr(), "{name}: {}", errors::line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
