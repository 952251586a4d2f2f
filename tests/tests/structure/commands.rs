//! Finds commands in string literals. Omits attributes, which have help texts, and code under `#[cfg(test)]`.

use crate::syntax::{after_item, is_for_tests};
use crate::token::Token::{self, Braces, Group, Literal, Punct};
use crate::token::tokens;
use anyhow::{Result, anyhow};

/// The commands of kubemcsa that call clusters.
const COMMANDS: [&str; 13] = [
    "allow",
    "bootstrap",
    "check",
    "deny",
    "export",
    "graph",
    "imports",
    "install",
    "launch",
    "links",
    "rotate",
    "uninstall",
    "unlink",
];

/// The string literals of a file that have a command of kubectl or kubemcsa, but no flag for its context.
pub fn without_context(text: &str) -> Result<Vec<String>> {
    let stream = text.parse().map_err(|error| anyhow!("{error}"))?;
    let mut found = Vec::new();
    collect(&tokens(stream), &mut found);
    found.retain(|literal| has_command(literal) && !literal.contains("-context "));
    Ok(found)
}

fn collect(mut tokens: &[Token], found: &mut Vec<String>) {
    while let [first, rest @ ..] = tokens {
        tokens = match (first, rest) {
            (Punct('#'), [Group(attribute), rest @ ..]) if is_for_tests(attribute) => after_item(rest),
            (Punct('#'), [Punct('!'), Group(_), rest @ ..] | [Group(_), rest @ ..]) => rest,
            (Braces(inner) | Group(inner), rest) => {
                collect(inner, found);
                rest
            }
            (Literal(literal), rest) => {
                found.push(joined(literal));
                rest
            }
            (_, rest) => rest,
        };
    }
}

/// Joins the lines of a literal that end with a backslash.
fn joined(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

fn has_command(literal: &str) -> bool {
    let words: Vec<_> = literal.split(|c: char| c.is_whitespace() || "\"'(`".contains(c)).collect();
    words.windows(2).any(|pair| match pair {
        // Plugins and kubeconfigs have no context.
        ["kubectl", next] => !["mcsa", "config", ""].contains(next),
        ["kubemcsa", next] => COMMANDS.contains(next),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::kubectl(r#"bail!("delete it: kubectl delete {reference}")"#, true)]
    #[case::kubemcsa(r#"let text = "run kubemcsa rotate again";"#, true)]
    #[case::in_lines("warn(\"run kubemcsa \\\n    unlink --target-name {}\")", true)]
    #[case::with_context(r#"format!("kubectl --context {SOURCE} delete pod {name}")"#, false)]
    #[case::with_the_context_of_the_source(
        r#"format!("kubemcsa allow {} --source-context {}", a, b)"#,
        false
    )]
    #[case::prose(r#"format!("kubemcsa granted {target} nothing else")"#, false)]
    #[case::with_kubectl_of_the_context(r#"format!("{kubectl} delete {reference}")"#, false)]
    #[case::help(r#"#[command(after_help = "kubemcsa links")] struct Args;"#, false)]
    #[case::documentation("/// Runs kubectl delete.\nfn run() {}", false)]
    #[case::in_tests(r#"#[cfg(test)] mod tests { const A: &str = "kubectl delete pod"; }"#, false)]
    fn commands_without_context_are_found(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(!without_context(text).unwrap().is_empty(), expected);
    }
}
