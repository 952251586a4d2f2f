//! Text for messages.

/// What a user wrote, for a message or the log: escaped, as it comes from anyone; and short, as it
/// may be of any length.
pub fn quote(name: &str) -> String {
    let start: String = name.chars().take(80).collect();
    let rest = if start.len() < name.len() { "..." } else { "" };
    format!("{start:?}{rest}")
}
