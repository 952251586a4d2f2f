//! The log line of the workflow controller for a cluster.

use std::fmt;

/// The line that the workflow controller logged for each cluster, which its documentation refers to:
/// `msg=cluster cluster=cluster-1 managedNamespace=remote`.
///
/// Values are formatted as in the text format of
/// [logrus](https://github.com/sirupsen/logrus/blob/v1.9.3/text_formatter.go): quoted only if they have special
/// characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLine<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The only managed namespace of the cluster. Empty: all namespaces.
    pub managed_namespace: &'a str,
}

impl fmt::Display for ClusterLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cluster, namespace) = (Value(self.cluster), Value(self.managed_namespace));
        write!(formatter, "msg=cluster cluster={cluster} managedNamespace={namespace}")
    }
}

struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.chars().all(|c| c.is_ascii_alphanumeric() || "-._/@^+".contains(c)) {
            return formatter.write_str(self.0);
        }
        formatter.write_str("\"")?;
        self.0.chars().try_for_each(|c| quoted(c, formatter))?;
        formatter.write_str("\"")
    }
}

/// Escapes like Go's `%q`. <https://pkg.go.dev/strconv#Quote>
fn quoted(c: char, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let code = u32::from(c);
    match c {
        '"' | '\\' => write!(formatter, "\\{c}"),
        '\n' => formatter.write_str("\\n"),
        '\r' => formatter.write_str("\\r"),
        '\t' => formatter.write_str("\\t"),
        '\x07' => formatter.write_str("\\a"),
        '\x08' => formatter.write_str("\\b"),
        '\x0b' => formatter.write_str("\\v"),
        '\x0c' => formatter.write_str("\\f"),
        '\0'..'\x20' | '\x7f' => write!(formatter, "\\x{code:02x}"),
        // Rust escapes the characters that Go considers not printable.
        _ if c.is_ascii() || c.escape_debug().len() == 1 => write!(formatter, "{c}"),
        _ if code > 0xffff => write!(formatter, "\\U{code:08x}"),
        _ => write!(formatter, "\\u{code:04x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("cluster-1", "remote", "msg=cluster cluster=cluster-1 managedNamespace=remote")]
    #[case("@in-cluster", "", "msg=cluster cluster=@in-cluster managedNamespace=")]
    #[case("arn:aws:eks:1/c", "a", r#"msg=cluster cluster="arn:aws:eks:1/c" managedNamespace=a"#)]
    #[case("a b", "x=y", r#"msg=cluster cluster="a b" managedNamespace="x=y""#)]
    #[case("\"\\\n\x1b", "é\u{a0}", r#"msg=cluster cluster="\"\\\n\x1b" managedNamespace="é\u00a0""#)]
    fn lines(#[case] cluster: &str, #[case] managed_namespace: &str, #[case] expected: &str) {
        assert_eq!(ClusterLine { cluster, managed_namespace }.to_string(), expected);
    }
}
