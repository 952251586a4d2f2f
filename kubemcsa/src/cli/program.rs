//! The name under which this program runs: `kubemcsa`, or `kubectl mcsa` as a plugin that Krew installed. Commands in
//! messages use the same name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

const NAME: &str = "kubemcsa";

/// The visible subcommands. A test in `args.rs` compares this list with clap's.
pub(crate) const SUBCOMMANDS: [&str; 15] = [
    "install",
    "uninstall",
    "bootstrap",
    "allow",
    "deny",
    "launch",
    "rotate",
    "unlink",
    "links",
    "imports",
    "check",
    "export",
    "graph",
    "completion",
    "version",
];

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

/// Replaces the name only where a subcommand follows, and no flag precedes: a context or a cluster may have the same
/// name.
fn rename_commands_to<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    if name == NAME {
        return Cow::Borrowed(text);
    }
    let (mut renamed, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(NAME) {
        let (before, after) = (&rest[..start], &rest[start + NAME.len()..]);
        renamed.push_str(before);
        renamed.push_str(if is_start_of_command(&renamed) && has_subcommand(after) { name } else { NAME });
        rest = after;
    }
    renamed.push_str(rest);
    Cow::Owned(renamed)
}

/// Whether a command may begin after this text.
fn is_start_of_command(before: &str) -> bool {
    let is_separate = before.chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
    let is_value = before.split_whitespace().next_back().is_some_and(|word| word.starts_with("--"));
    let is_quoted = before.rfind(" '").is_some_and(|open| !before[open + 2..].contains('\''));
    is_separate && !is_value && !is_quoted
}

fn has_subcommand(after: &str) -> bool {
    let word = after.strip_prefix(' ').unwrap_or_default();
    let end = word.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(word.len());
    SUBCOMMANDS.contains(&&word[..end])
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

    #[rstest]
    #[case("kubemcsa check", "kubectl mcsa check")]
    #[case("a && kubemcsa bootstrap --allow a", "a && kubectl mcsa bootstrap --allow a")]
    #[case("(kubemcsa allow or kubemcsa deny)", "(kubectl mcsa allow or kubectl mcsa deny)")]
    #[case("\nkubemcsa links", "\nkubectl mcsa links")]
    #[case::value(
        "kubemcsa rotate --target-context kubemcsa --source-context c2",
        "kubectl mcsa rotate --target-context kubemcsa --source-context c2"
    )]
    #[case::value_before_a_subcommand("run --context kubemcsa check", "run --context kubemcsa check")]
    #[case::quoted_value("--source-context 'my kubemcsa check'", "--source-context 'my kubemcsa check'")]
    #[case::after_a_quoted_value("'a b' && kubemcsa check", "'a b' && kubectl mcsa check")]
    #[case::after_an_apostrophe("can't read it: kubemcsa check", "can't read it: kubectl mcsa check")]
    #[case::prose("kubemcsa granted it; kubemcsa checks", "kubemcsa granted it; kubemcsa checks")]
    #[case::part_of_a_word("x-kubemcsa check", "x-kubemcsa check")]
    fn only_commands_are_renamed(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(rename_commands_to(text, "kubectl mcsa"), expected);
    }
}
