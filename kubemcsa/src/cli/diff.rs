//! What a dry run would change in an object, in the format of `diff -u`.

use anstyle::{AnsiColor, Style};
use kube::api::DynamicObject;
use similar::{ChangeTag, TextDiff};

use crate::cluster::apply;

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The difference between two versions of an object; empty if there is none. `None`: the object doesn't exist.
pub(crate) fn diff(
    name: &str,
    before: Option<&DynamicObject>,
    after: Option<&DynamicObject>,
) -> anyhow::Result<String> {
    let (before, after) = (yaml(before)?, yaml(after)?);
    let diff = TextDiff::from_lines(&before, &after);
    let mut text = String::new();
    for group in diff.grouped_ops(CONTEXT) {
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
    let from = if before.is_empty() { "does not exist" } else { "live" };
    let to = if after.is_empty() { "deleted" } else { "dry run" };
    Ok(format!("{bold}--- {name} ({from})\n+++ {name} ({to}){bold:#}\n{text}"))
}

/// The fields that users write, without the data of a Secret.
fn yaml(object: Option<&DynamicObject>) -> anyhow::Result<String> {
    let Some(object) = object else { return Ok(String::new()) };
    let mut object = apply::user_fields(object);
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
        anstream::adapter::strip_str(&diff("c2: role/a", before, after).unwrap()).to_string()
    }

    #[test]
    fn fields_of_the_api_server_are_not_compared() {
        assert_eq!(shown(Some(&role("get")), Some(&role("get"))), "");
        let text = shown(Some(&role("get")), Some(&role("list")));
        assert!(text.starts_with("--- c2: role/a (live)\n+++ c2: role/a (dry run)\n"), "{text}");
        assert!(
            text.contains("- get\n") && text.contains("- list\n") && !text.contains("resourceVersion"),
            "{text}"
        );
    }

    #[test]
    fn created_and_deleted_objects_are_shown_in_full() {
        assert!(shown(None, Some(&role("get"))).lines().skip(2).all(|line| line.starts_with('+')));
        assert!(shown(Some(&role("get")), None).contains("(deleted)"));
    }

    #[test]
    fn secret_data_is_not_shown() {
        let text = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {token: c2VjcmV0}}";
        let secret = object::parse(text).unwrap().remove(0);
        assert!(!shown(None, Some(&secret)).contains("c2VjcmV0"));
    }
}
