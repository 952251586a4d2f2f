//! Describes rules in short sentences: `default: list pods`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rules::{Grant, Scope};

/// Verbs are sorted like this; others follow by name.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Resources of a rule for all resources of all groups.
const ALL_RESOURCES: &str = "all resources";

/// One sentence for each scope and set of verbs.
pub(crate) fn sentences(grants: &[Grant<'_>]) -> Vec<String> {
    let mut objects: BTreeMap<(&Scope, Vec<&str>), BTreeSet<String>> = BTreeMap::new();
    for (scope, rule) in grants {
        objects.entry((scope, verbs(rule))).or_default().extend(resources(rule));
    }
    let mut all: Vec<_> =
        objects.into_iter().map(|((scope, verbs), resources)| sentence(scope, &verbs, &resources)).collect();
    // "everything" includes all other rights in its scope.
    for scope in grants.iter().map(|(scope, _)| name(scope)).collect::<BTreeSet<_>>() {
        let everything = format!("{scope}: everything");
        if all.contains(&everything) {
            all.retain(|sentence| *sentence == everything || !sentence.starts_with(&format!("{scope}: ")));
        }
    }
    all
}

fn sentence(scope: &Scope, verbs: &[&str], resources: &BTreeSet<String>) -> String {
    let scope = name(scope);
    let resources: Vec<_> = resources.iter().map(String::as_str).collect();
    match (verbs, &resources[..]) {
        (["*"], resources) if resources.contains(&ALL_RESOURCES) => format!("{scope}: everything"),
        (["*"], _) => format!("{scope}: all verbs on {}", resources.join(", ")),
        _ => format!("{scope}: {} {}", verbs.join(", "), resources.join(", ")),
    }
}

fn name(scope: &Scope) -> &str {
    match scope {
        Scope::Cluster => "cluster-wide",
        Scope::Namespace(namespace) => namespace,
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

/// Resources with their groups and the names of objects, or non-resource URLs.
fn resources(rule: &PolicyRule) -> Vec<String> {
    let names = rule.resource_names.as_deref().filter(|names| !names.is_empty());
    let names = names.map(|names| format!(" ({})", names.join(", "))).unwrap_or_default();
    let mut resources = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            resources.push(match (resource.as_str(), group.as_str()) {
                ("*", "*") => format!("{ALL_RESOURCES}{names}"),
                ("*", "") => format!("all core resources{names}"),
                ("*", group) => format!("all resources in {group}{names}"),
                (resource, "" | "*") => format!("{resource}{names}"),
                (resource, group) => format!("{resource}.{group}{names}"),
            });
        }
    }
    resources.extend(rule.non_resource_urls.iter().flatten().cloned());
    resources
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{rule, scope};
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], &[])]
    #[case(&[("default", "list,get pods")], &["default: get, list pods"])]
    #[case(&[("", "get pods"), ("", "get nodes"), ("", "get deployments.apps")],
        &["cluster-wide: get deployments.apps, nodes, pods"])]
    #[case(&[("a", "get pods"), ("", "get pods")], &["cluster-wide: get pods", "a: get pods"])]
    #[case(&[("", "* *.*"), ("", "get pods"), ("a", "get pods")], &["cluster-wide: everything", "a: get pods"])]
    #[case(&[("", "* *.apps")], &["cluster-wide: all verbs on all resources in apps"])]
    #[case(&[("a", "get secrets=x,y")], &["a: get secrets (x, y)"])]
    #[case(&[("", "create serviceaccounts/token")], &["cluster-wide: create serviceaccounts/token"])]
    #[case(&[("", "use,get a.b")], &["cluster-wide: get, use a.b"])]
    fn rules_are_described_by_scope_and_verbs(#[case] grants: &[(&str, &str)], #[case] expected: &[&str]) {
        let rules: Vec<_> = grants.iter().map(|(scope, text)| (*scope, rule(text))).collect();
        let grants: Vec<_> = rules.iter().map(|(name, rule)| (scope(name), rule)).collect();
        assert_eq!(sentences(&grants), expected);
    }

    #[test]
    fn non_resource_urls_are_described() {
        let rule = PolicyRule {
            verbs: vec!["get".into()],
            non_resource_urls: Some(vec!["/metrics".into()]),
            ..Default::default()
        };
        assert_eq!(sentences(&[(Scope::Cluster, &rule)]), ["cluster-wide: get /metrics"]);
    }
}
