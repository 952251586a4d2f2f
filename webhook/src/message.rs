//! Text for messages.

/// What a user wrote, for a message or the log: escaped, as it comes from anyone; and short, as it
/// may be of any length.
pub(crate) fn quote(name: &str) -> String {
    let (start, rest) = head(name, 80);
    format!("{start:?}{rest}")
}

/// A message that may quote what anyone wrote: one line, and short.
pub(crate) fn line(message: &str) -> String {
    let (start, rest) = head(message, 300);
    let start: String = start.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    start + rest
}

/// The first characters, and dots if there are more.
fn head(text: &str, max: usize) -> (&str, &'static str) {
    match text.char_indices().nth(max) {
        Some((end, _)) => (&text[..end], "..."),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anyone_wrote_is_one_short_line() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(line("a\nb"), "a b");
        assert_eq!(quote(&"ä".repeat(81)), format!("\"{}\"...", "ä".repeat(80)));
        assert_eq!(line(&"ä".repeat(301)), format!("{}...", "ä".repeat(300)));
        assert_eq!(line(&"ä".repeat(300)), "ä".repeat(300));
    }
}
