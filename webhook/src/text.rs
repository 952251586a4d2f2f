//! Text for messages.

use mcsa_runtime::exit;

/// An error of kube's and its causes on one line, without the fields of an API error beside its
/// message.
pub fn why(error: impl std::error::Error + Send + Sync + 'static) -> String {
    let error = anyhow::Error::new(error);
    match error.chain().find_map(api_message) {
        Some(message) => message.to_owned(),
        None => exit::line(&error),
    }
}

fn api_message<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a str> {
    match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => {
            Some(&status.message).filter(|message| !message.is_empty()).map(String::as_str)
        }
        _ => None,
    }
}

/// What a user wrote, for a message or the log: escaped, as it comes from anyone; and short, as it
/// may be of any length.
pub fn quote(name: &str) -> String {
    let start: String = name.chars().take(80).collect();
    let rest = if start.len() < name.len() { "..." } else { "" };
    format!("{start:?}{rest}")
}
