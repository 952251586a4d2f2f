//! Removes tokens from messages of API servers.

/// What replaces a token.
pub const REDACTED: &str = "[redacted]";

/// A Base64 value of this length may contain a whole token. Names of objects are shorter, or have no capital letters.
const BASE64_MIN: usize = 100;

/// The text without anything that looks like a token: a JWT, or a long Base64 value. An admission webhook that refuses
/// a Secret may quote it, and the values in a Secret are encoded.
pub fn redacted(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(is_of_a_token) {
        let (before, found) = rest.split_at(start);
        let (word, after) = found.split_at(found.find(|c| !is_of_a_token(c)).unwrap_or(found.len()));
        clean.push_str(before);
        match secret_part(word) {
            Some(start) => clean.extend([word.split_at(start).0, REDACTED]),
            None => clean.push_str(word),
        }
        rest = after;
    }
    clean + rest
}

/// Where the secret part of the word starts, if it has one.
fn secret_part(word: &str) -> Option<usize> {
    let parts = |jwt: &str| jwt.split('.').filter(|part| !part.is_empty()).count();
    let jwt = word.find("eyJ").filter(|start| parts(word.split_at(*start).1) >= 3);
    jwt.or_else(|| word.split('.').any(is_long_base64).then_some(0))
}

fn is_long_base64(part: &str) -> bool {
    let has = |of: fn(char) -> bool| part.contains(of);
    part.len() >= BASE64_MIN
        && has(|c| c.is_ascii_uppercase())
        && has(|c| c.is_ascii_lowercase())
        && has(|c| c.is_ascii_digit())
}

/// Whether the character is part of a JWT or of Base64. Of the latter's characters, `/` is missing: no text encodes to
/// it, and it would join the parts of a path.
fn is_of_a_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-bmF0_dXJl";

    /// A JWT, encoded as in a Secret.
    const ENCODED: &str = "ZXlKaGJHY2lPaUpTVXpJMU5pSjkuZXlKemRXSWlPaUpoSW4wLmMybG5ibUYwZFhKbGJtRjBkWEpsYm1GMGRYSmxibUYwZFhKbGJtRjBkWEpsYm1GMGRYSmw=";

    #[rstest]
    #[case::jwt(format!("<{JWT}> eyJ a.b.c"), "<[redacted]> eyJ a.b.c")]
    #[case::parameter(format!("token={JWT}&a=b"), "token=[redacted]&a=b")]
    #[case::admission_webhook(
        format!(r#"admission webhook "x" denied the request: {{"data":{{"token":"{ENCODED}"}}}}"#),
        r#"admission webhook "x" denied the request: {"data":{"token":"[redacted]"}}"#
    )]
    #[case::name(format!("secrets \"{}\" not found", "a1".repeat(120)), &format!("secrets \"{}\" not found", "a1".repeat(120)))]
    #[case::url("https://c2:6443/api/v1/namespaces/a/secrets/B1".into(), "https://c2:6443/api/v1/namespaces/a/secrets/B1")]
    #[case::other_letters("größer als 1 MiB".into(), "größer als 1 MiB")]
    fn tokens_are_redacted(#[case] message: String, #[case] expected: &str) {
        assert_eq!(redacted(&message), expected);
    }
}
