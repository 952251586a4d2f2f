//! The name under which this program runs: `kubemcsa`, or `kubectl mcsa` as a plugin that Krew installed. Commands in
//! messages use the same name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

const NAME: &str = "kubemcsa";

static INVOKED_AS: LazyLock<&str> =
    LazyLock::new(|| name_of(&std::env::args_os().next().unwrap_or_default()));

pub(crate) fn name() -> &'static str {
    *INVOKED_AS
}

/// Replaces `kubemcsa` in the commands of a message.
pub(crate) fn rename_commands(text: &str) -> Cow<'_, str> {
    rename_commands_to(text, name())
}

fn name_of(program: &OsStr) -> &'static str {
    // kubectl finds plugins by this file name.
    match Path::new(program).file_stem().and_then(|stem| stem.to_str()) {
        Some("kubectl-mcsa") => "kubectl mcsa",
        _ => NAME,
    }
}

fn rename_commands_to<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
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
    fn commands_use_the_name_of_the_program(#[case] program: &str, #[case] expected: &str) {
        assert_eq!(rename_commands_to("run kubemcsa bootstrap again", name_of(program.as_ref())), expected);
    }
}
