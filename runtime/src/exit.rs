//! Exit codes.

use std::io::Write;
use std::process::ExitCode;

use crate::errors;

/// Returns exit code 0 on success. Otherwise prints the error and its causes on one line to stderr, and returns 1.
/// (clap exits with 2 on wrong usage.)
pub fn report(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if stderr is closed.
            let _ = writeln!(std::io::stderr(), "{name}: {}", errors::line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
