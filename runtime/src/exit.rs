//! How a process ends: one line that says why, and a code.

use std::process::ExitCode;

/// Exit code 0, or one line on stderr with the error and its causes, and exit code 1. (clap ends
/// with 2 by itself on wrong usage.)
pub fn report(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes on one line, each said once: many errors print their cause themselves.
pub fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::line;
    use anyhow::Context;

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let error =
            Err::<(), _>(anyhow::anyhow!("refused\nby peer")).context("c2: can't connect").unwrap_err();
        assert_eq!(line(&error), "c2: can't connect: refused by peer");
        let error = Err::<(), _>(anyhow::anyhow!("refused")).context("can't connect: refused").unwrap_err();
        assert_eq!(line(&error), "can't connect: refused");
    }
}
