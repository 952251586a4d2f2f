//! Rules as short sentences: `default: list pods`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rules::{Grant, Place};

/// The order of verbs: what reads, then what writes, then the others by name.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// One sentence for each place and set of verbs; none says that nothing is granted.
pub fn sentences(grants: &[Grant<'_>]) -> Vec<String> {
    let mut objects: BTreeMap<(&Place, Vec<&str>), BTreeSet<String>> = BTreeMap::new();
    for (place, rule) in grants {
        objects.entry((place, verbs(rule))).or_default().extend(things(rule));
    }
    let mut all: Vec<_> =
        objects.into_iter().map(|((place, verbs), things)| sentence(place, &verbs, &things)).collect();
    // Whoever may do everything in a place is told no more about it.
    for place in grants.iter().map(|(place, _)| name(place)).collect::<BTreeSet<_>>() {
        let everything = format!("{place}: everything");
        if all.contains(&everything) {
            all.retain(|sentence| *sentence == everything || !sentence.starts_with(&format!("{place}: ")));
        }
    }
    all
}

fn sentence(place: &Place, verbs: &[&str], things: &BTreeSet<String>) -> String {
    let place = name(place);
    let things: Vec<_> = things.iter().map(String::as_str).collect();
    match (verbs, &things[..]) {
        (["*"], things) if things.contains(&"everything") => format!("{place}: everything"),
        (["*"], _) => format!("{place}: do anything with {}", things.join(", ")),
        _ => format!("{place}: {} {}", verbs.join(", "), things.join(", ")),
    }
}

fn name(place: &Place) -> &str {
    match place {
        Place::Everywhere => "everywhere",
        Place::Namespace(namespace) => namespace,
    }
}

fn verbs(rule: &PolicyRule) -> Vec<&str> {
    if rule.verbs.iter().any(|verb| verb == "*") {
        return vec!["*"];
    }
    let rank = |verb: &str| VERBS.iter().position(|known| *known == verb).unwrap_or(VERBS.len());
    let mut verbs: Vec<_> = rule.verbs.iter().map(String::as_str).collect();
    verbs.sort_by_key(|verb| (rank(verb), *verb));
    verbs.dedup();
    verbs
}

/// What a rule is about: resources with their groups, or paths.
fn things(rule: &PolicyRule) -> Vec<String> {
    let names = rule.resource_names.as_deref().filter(|names| !names.is_empty());
    let names = names.map(|names| format!(" ({})", names.join(", "))).unwrap_or_default();
    let mut things = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            things.push(match (resource.as_str(), group.as_str()) {
                ("*", "*") => format!("everything{names}"),
                ("*", "") => format!("everything of the core{names}"),
                ("*", group) => format!("everything of {group}{names}"),
                (resource, "" | "*") => format!("{resource}{names}"),
                (resource, group) => format!("{resource}.{group}{names}"),
            });
        }
    }
    things.extend(rule.non_resource_urls.iter().flatten().cloned());
    things
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rule;
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], &[])]
    #[case(&[("default", "list,get pods")], &["default: get, list pods"])]
    #[case(&[("", "get pods"), ("", "get nodes"), ("", "get deployments.apps")],
        &["everywhere: get deployments.apps, nodes, pods"])]
    #[case(&[("a", "get pods"), ("", "get pods")], &["everywhere: get pods", "a: get pods"])]
    #[case(&[("", "* *.*"), ("", "get pods"), ("a", "get pods")], &["everywhere: everything", "a: get pods"])]
    #[case(&[("", "* *.apps")], &["everywhere: do anything with everything of apps"])]
    #[case(&[("a", "get secrets=x,y")], &["a: get secrets (x, y)"])]
    #[case(&[("", "create serviceaccounts/token")], &["everywhere: create serviceaccounts/token"])]
    #[case(&[("", "use,get a.b")], &["everywhere: get, use a.b"])]
    fn what_is_said(#[case] grants: &[(&str, &str)], #[case] expected: &[&str]) {
        let rules: Vec<_> = grants.iter().map(|(place, text)| (*place, rule(text))).collect();
        let place = |name: &str| match name {
            "" => Place::Everywhere,
            name => Place::Namespace(name.into()),
        };
        let grants: Vec<_> = rules.iter().map(|(name, rule)| (place(name), rule)).collect();
        assert_eq!(sentences(&grants), expected);
    }

    #[test]
    fn paths_are_things_too() {
        let rule = PolicyRule {
            verbs: vec!["get".into()],
            non_resource_urls: Some(vec!["/metrics".into()]),
            ..Default::default()
        };
        assert_eq!(sentences(&[(Place::Everywhere, &rule)]), ["everywhere: get /metrics"]);
    }
}
