//! Measures text without knowing the reader's font, and shortens or wraps it.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub(crate) shown: String,
    pub(crate) is_cut: bool,
}

/// Bold text is wider by this factor.
const BOLD: f64 = 1.12;

/// The width of a text in the widest of the usual fonts (DejaVu Sans, Verdana).
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// Size to pass to [`width`] and [`fit`] for bold text.
pub(crate) fn bold(size: f64) -> f64 {
    size * BOLD
}

fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' => 0.29,
        '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '/' => 0.35,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '-' | '!' => 0.42,
        'c' | 's' | 'z' => 0.56,
        'w' => 0.83,
        'm' | 'M' | 'W' | '@' | '%' | '…' => 1.02,
        c if c.is_ascii_uppercase() => 0.78,
        c if c.is_ascii() => 0.64,
        // Ideographs and emojis are as wide as high; other characters are not wider.
        _ => 1.1,
    }
}

/// Shortens a text to the available width: a sentence at its end, and a name in the middle, because names often differ
/// only at their ends.
pub(crate) fn fit(text: &str, size: f64, room: f64) -> Fitted {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if width(&text, size) <= room {
        return Fitted { shown: text, is_cut: false };
    }
    let characters: Vec<_> = text.chars().collect();
    let is_word = !text.contains(' ');
    let shortened = |kept: usize| -> String {
        let end = if is_word { kept / 2 } else { 0 };
        let head: String = characters[..kept - end].iter().collect();
        let tail: String = characters[characters.len() - end..].iter().collect();
        format!("{}…{tail}", head.trim_end())
    };
    let shown = (0..characters.len()).rev().map(shortened).find(|text| width(text, size) <= room);
    Fitted { shown: shown.unwrap_or_else(|| "…".into()), is_cut: true }
}

/// Breaks a sentence into lines, at spaces. Leaves words that are too long to [`fit`].
pub(crate) fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line, size) + width(" ", size) + width(word, size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Escapes text for elements and attributes. Replaces characters that XML does not allow by spaces.
pub(crate) fn escape(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            c if allowed(c) => escaped.push(c),
            _ => escaped.push(' '),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("web", 100.0, "web", false)]
    #[case("aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb", 75.0, "aaaaa…bbbbb", true)]
    #[case("get pods and much more", 90.0, "get pods and…", true)]
    #[case("a\nb", 100.0, "a b", false)]
    #[case("web", 0.0, "…", true)]
    fn long_text_is_shortened(
        #[case] text: &str,
        #[case] room: f64,
        #[case] shown: &str,
        #[case] is_cut: bool,
    ) {
        let fitted = fit(text, 10.0, room);
        assert_eq!((fitted.shown.as_str(), fitted.is_cut), (shown, is_cut));
        assert!(room == 0.0 || width(&fitted.shown, 10.0) <= room);
    }

    #[rstest]
    #[case("get pods", 1000.0, &["get pods"])]
    #[case("cluster-wide: get, list pods", 80.0, &["cluster-wide:", "get, list pods"])]
    #[case("a verylongwordindeed b", 50.0, &["a", "verylongwordindeed", "b"])]
    #[case("", 50.0, &[])]
    fn sentences_are_wrapped_at_spaces(#[case] text: &str, #[case] room: f64, #[case] lines: &[&str]) {
        assert_eq!(wrap(text, 10.0, room), lines);
    }

    #[rstest]
    #[case("<a href=\"x\">&'", "&lt;a href=&quot;x&quot;&gt;&amp;&#39;")]
    #[case("a\u{0}\u{1b}[31m\u{ffff}b", "a  [31m b")]
    fn text_is_escaped(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(escape(text), expected);
    }
}
