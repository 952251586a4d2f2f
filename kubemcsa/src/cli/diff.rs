//! What would change in an object, as `diff -u` shows it.

use anstyle::{AnsiColor, Style};
use kube::api::DynamicObject;
use similar::{ChangeTag, TextDiff};

use crate::cluster::apply;

/// Lines of what stays the same around what does not.
const AROUND: usize = 3;

/// The difference between an object and what it would be; none of it where it would be the same. An
/// object that would come, or go, is shown whole.
///
/// # Errors
/// When an object can't be written as YAML.
pub fn diff(
    title: &str,
    before: Option<&DynamicObject>,
    after: Option<&DynamicObject>,
) -> anyhow::Result<String> {
    let (before, after) = (yaml(before)?, yaml(after)?);
    let diff = TextDiff::from_lines(&before, &after);
    let mut text = String::new();
    for group in diff.grouped_ops(AROUND) {
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", AnsiColor::Red.on_default()),
                ChangeTag::Insert => ("+", AnsiColor::Green.on_default()),
                ChangeTag::Equal => (" ", Style::new()),
            };
            let line = change.value().trim_end_matches('\n');
            text.push_str(&format!("{style}{sign}{line}{style:#}\n"));
        }
    }
    if text.is_empty() {
        return Ok(text);
    }
    let bold = Style::new().bold();
    let (from, to) = (side("before", &before), side("after", &after));
    Ok(format!("{bold}--- {title} ({from})\n+++ {title} ({to}){bold:#}\n{text}"))
}

fn side(name: &str, text: &str) -> &'static str {
    match (name, text.is_empty()) {
        ("before", true) => "not there yet",
        ("before", false) => "as it is",
        (_, true) => "gone",
        (_, false) => "as it would be",
    }
}

/// What people wrote of it, and never what a Secret holds.
fn yaml(object: Option<&DynamicObject>) -> anyhow::Result<String> {
    let Some(object) = object else { return Ok(String::new()) };
    let mut object = apply::essence(object);
    object.metadata.uid = None;
    object.metadata.creation_timestamp = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("data");
        fields.remove("stringData");
    }
    Ok(serde_saphyr::to_string(&object)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object;

    fn role(verb: &str) -> DynamicObject {
        let text = format!(
            "{{apiVersion: v1, kind: Role, metadata: {{name: a, uid: u, resourceVersion: '7'}}, rules: [{{verbs: [{verb}]}}]}}"
        );
        object::parse(&text).unwrap().remove(0)
    }

    fn shown(before: Option<&DynamicObject>, after: Option<&DynamicObject>) -> String {
        anstream::adapter::strip_str(&diff("c2: role a", before, after).unwrap()).to_string()
    }

    #[test]
    fn only_what_people_wrote_is_compared() {
        assert_eq!(shown(Some(&role("get")), Some(&role("get"))), "");
        let said = shown(Some(&role("get")), Some(&role("list")));
        assert!(said.starts_with("--- c2: role a (as it is)\n+++ c2: role a (as it would be)\n"), "{said}");
        assert!(
            said.contains("- get\n") && said.contains("- list\n") && !said.contains("resourceVersion"),
            "{said}"
        );
    }

    #[test]
    fn what_comes_or_goes_is_shown_whole() {
        assert!(shown(None, Some(&role("get"))).lines().skip(2).all(|line| line.starts_with('+')));
        assert!(shown(Some(&role("get")), None).contains("(gone)"));
    }

    #[test]
    fn no_secret_is_shown() {
        let text = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {token: c2VjcmV0}}";
        let secret = object::parse(text).unwrap().remove(0);
        assert!(!shown(None, Some(&secret)).contains("c2VjcmV0"));
    }
}
