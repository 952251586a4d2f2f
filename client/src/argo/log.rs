//! The line by which people see that a cluster was read.

use std::fmt;

/// What the workflow controller logged of each cluster, and its documents told people to look for:
/// `msg=cluster cluster=cluster-1 managedNamespace=remote`.
///
/// Values are as [logrus](https://github.com/sirupsen/logrus/blob/v1.9.3/text_formatter.go) has them in
/// its text format: in quotes only where they are more than a word, and nothing at all if they are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLine<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The only namespace of it that is managed. Empty: all of them.
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

/// As Go's `%q` has it. <https://pkg.go.dev/strconv#Quote>
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
        // What Rust would escape is what Go says can't be printed.
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
