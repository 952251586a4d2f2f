//! The lines of an identity's box.

use super::geometry::{IDENTITY_TEXT, SMALL};
use super::text::{bold, wrap};
use crate::commands::graph::model::{Graph, Identity};
use crate::commands::graph::render::{MARK, lines};

/// At most so many lines of rights.
const MOST_RIGHTS: usize = 6;
/// At most so many lines of why it is marked.
const MOST_MARKS: usize = 4;

/// The lines of an identity's box: why it is marked, and its rights, as many as there is room for.
pub fn shown(graph: &Graph, identity: &Identity) -> (Vec<String>, Vec<String>) {
    let rights = some(&lines(graph, identity).rights, MOST_RIGHTS, SMALL);
    if identity.admin.is_empty() {
        return (Vec::new(), rights);
    }
    let reasons: Vec<_> = identity.admin.iter().map(|reason| format!("it may {reason}")).collect();
    let heading = [format!("{MARK}, for")];
    (heading.into_iter().chain(some(&reasons, MOST_MARKS, bold(SMALL))).collect(), rights)
}

/// Sentences in lines, and, where these would be too many, how many sentences are left out.
fn some(sentences: &[String], most: usize, size: f64) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for (place, sentence) in sentences.iter().enumerate() {
        let more = sentences.len() - place;
        let mut lines = wrap(sentence, size, IDENTITY_TEXT);
        // The last line is kept for saying that there is more.
        let room = if more == 1 { most } else { most - 1 };
        if shown.is_empty() && lines.len() > room {
            // It is cut where it is drawn.
            let rest = lines.split_off(room - 1).join(" ");
            lines.push(rest);
        }
        if shown.len() + lines.len() > room {
            shown.push(format!("and {more} more"));
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
    fn as_many_lines_as_there_is_room_for(#[case] sentences: &[&str], #[case] expected: &[&str]) {
        let sentences: Vec<_> = sentences.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(some(&sentences, 3, SMALL), expected);
    }
}
