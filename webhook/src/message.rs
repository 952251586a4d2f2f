//! Quotes user input in messages.

/// Maximum number of names that a message lists.
const MAX_LISTED: usize = 10;

/// Quotes and escapes user input; at most 80 characters of it.
pub(crate) fn quote(name: &str) -> String {
    let (start, rest) = head(name, 80);
    format!("{start:?}{rest}")
}

/// Makes a message that may contain user input one line of at most 300 characters.
pub(crate) fn one_line(message: &str) -> String {
    let (start, rest) = head(message, 300);
    let start: String = start.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    start + rest
}

/// Names, separated by commas; at most ten of them.
pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let named = names.iter().take(MAX_LISTED).map(T::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The first `max` characters, and an ellipsis if there are more.
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
    fn user_input_becomes_one_short_line() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(one_line("a\nb"), "a b");
        assert_eq!(quote(&"ä".repeat(81)), format!("\"{}\"...", "ä".repeat(80)));
        assert_eq!(one_line(&"ä".repeat(301)), format!("{}...", "ä".repeat(300)));
        assert_eq!(one_line(&"ä".repeat(300)), "ä".repeat(300));
    }
}
