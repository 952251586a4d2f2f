//! The lines in the box of an identity.

use super::geometry::{IDENTITY_TEXT, SMALL};
use super::text::{bold, wrap};
use crate::commands::graph::model::{Graph, Identity};
use crate::commands::graph::render::{MARK, identity_lines};

const MAX_RIGHTS: usize = 6;
const MAX_MARKS: usize = 4;

/// The marks and the rights that fit into the box of an identity.
pub(crate) fn shown_lines(graph: &Graph, identity: &Identity) -> (Vec<String>, Vec<String>) {
    let rights = truncated(&identity_lines(graph, identity).rights, MAX_RIGHTS, SMALL);
    if identity.admin.is_empty() {
        return (Vec::new(), rights);
    }
    let reasons: Vec<_> = identity.admin.iter().map(|reason| format!("it can {reason}")).collect();
    let heading = [format!("{MARK}:")];
    (heading.into_iter().chain(truncated(&reasons, MAX_MARKS, bold(SMALL))).collect(), rights)
}

/// Wraps sentences into lines. If these are too many, the last one shows how many sentences are omitted.
fn truncated(sentences: &[String], max_lines: usize, size: f64) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let remaining = sentences.len() - index;
        let mut lines = wrap(sentence, size, IDENTITY_TEXT);
        // Reserve the last line for the number of omitted sentences.
        let available = if remaining == 1 { max_lines } else { max_lines - 1 };
        if shown.is_empty() && lines.len() > available {
            // Drawing cuts this line.
            let rest = lines.split_off(available - 1).join(" ");
            lines.push(rest);
        }
        if shown.len() + lines.len() > available {
            shown.push(format!("and {remaining} more"));
            break;
        }
        shown.extend(lines);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&["a: get pods"], &["a: get pods"])]
    #[case(&["a: get pods", "b", "c"], &["a: get pods", "b", "c"])]
    #[case(&["a", "b", "c", "d"], &["a", "b", "and 2 more"])]
    #[case(&["a: b ccccccccccccccccccccccccccccccccccccccccccccccccc ddddddddddddddddddddddddddddddddddddddd", "b", "c"],
        &["a: b ccccccccccccccccccccccccccccccccccccccccccccccccc", "ddddddddddddddddddddddddddddddddddddddd", "and 2 more"])]
    fn sentences_are_truncated_to_the_available_lines(#[case] sentences: &[&str], #[case] expected: &[&str]) {
        let sentences: Vec<_> = sentences.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(truncated(&sentences, 3, SMALL), expected);
    }
}
