//! What people type to run this program. As a plugin of kubectl's, which Krew installs, it is called
//! `kubectl mcsa`; what they are told to run next has to be called so, too.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

/// Its usual name.
const NAME: &str = "kubemcsa";

static CALLED: LazyLock<&str> = LazyLock::new(|| called(&std::env::args_os().next().unwrap_or_default()));

/// The name that it was called by.
pub fn name() -> &'static str {
    *CALLED
}

/// A text for people, with the commands in it as they would type them.
pub fn as_called(text: &str) -> Cow<'_, str> {
    with_name(text, name())
}

fn called(program: &OsStr) -> &'static str {
    // kubectl finds its plugins by this.
    match Path::new(program).file_stem().and_then(|stem| stem.to_str()) {
        Some("kubectl-mcsa") => "kubectl mcsa",
        _ => NAME,
    }
}

fn with_name<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    if name == NAME {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.replace("kubemcsa ", &format!("{name} ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/usr/local/bin/kubemcsa", "run kubemcsa bootstrap again")]
    #[case("/home/me/.krew/bin/kubectl-mcsa", "run kubectl mcsa bootstrap again")]
    #[case("kubectl-mcsa.exe", "run kubectl mcsa bootstrap again")]
    #[case("", "run kubemcsa bootstrap again")]
    fn what_to_run_next_is_called_as_this_was(#[case] program: &str, #[case] expected: &str) {
        assert_eq!(with_name("run kubemcsa bootstrap again", called(program.as_ref())), expected);
    }
}
