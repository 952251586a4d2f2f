//! What ImportPolicies permit: which imports, and which namespaces from a source.

use mcsa_client::ImportPolicySpec;
use mcsa_client::policy::{ALL_NAMESPACES, AccountRule, ImportRequest, Permission};

use super::view::ImportInfo;
use crate::cluster::policies::{Policies, Policy};

/// Longer lists are cut.
const MAX_NAMES: usize = 5;

/// Adds what the policies permit to imports and links.
pub(crate) fn mark(imports: &mut [ImportInfo], policies: &Policies) {
    for import in imports {
        if import.is_link {
            import.may_import = Some(may_import(policies, &import.cluster_name));
            continue;
        }
        let (account_namespace, account_name) = (&import.account.0, &import.account.1);
        let (namespace, cluster) = (&import.namespace, &import.cluster_name);
        let request = ImportRequest { namespace, cluster, account_namespace, account_name };
        import.not_permitted = matches!(policies.permission(request), Permission::NotPermitted(_));
    }
}

/// Who may import what from a source, in sentences.
fn may_import(policies: &Policies, source: &str) -> Vec<String> {
    let sentences: Vec<_> = policies.of_source(source).map(sentence).collect();
    if sentences.is_empty() {
        vec!["all namespaces may import what the link allows".into()]
    } else {
        sentences
    }
}

fn sentence(policy: &Policy) -> String {
    let ImportPolicySpec { namespaces, namespace_selector, service_accounts, .. } = &policy.spec;
    let who = match (namespaces.as_slice(), namespace_selector) {
        _ if policy.permits_nothing() => "no namespace".to_owned(),
        ([], _) => "namespaces with certain labels".to_owned(),
        ([one], None) => format!("namespace {one}"),
        (names, None) => format!("namespaces {}", short(names)),
        (names, Some(_)) => format!("namespaces {}, and those with certain labels,", short(names)),
    };
    let what = if policy.permits_nothing() {
        "anything".to_owned()
    } else {
        short(&service_accounts.iter().map(account).collect::<Vec<_>>())
    };
    format!("{who} may import {what} (policy {})", policy.name)
}

fn account(rule: &AccountRule) -> String {
    match (&*rule.namespace, &rule.name) {
        (ALL_NAMESPACES, None) => "everything".into(),
        (ALL_NAMESPACES, Some(name)) => format!("*/{name}"),
        (namespace, None) => namespace.to_owned(),
        (namespace, Some(name)) => format!("{namespace}/{name}"),
    }
}

fn short(names: &[String]) -> String {
    let listed = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn policies(specs: &[Value]) -> Policies {
        let policy = |spec: &Value| Policy {
            name: "p".into(),
            spec: serde_json::from_value(spec.clone()).unwrap(),
            error: None,
        };
        Policies { all: specs.iter().map(policy).collect(), ..Default::default() }
    }

    #[rstest]
    #[case::no_policy(&[], "all namespaces may import what the link allows")]
    #[case::of_another_source(&[json!({ "clusterName": "c3" })], "all namespaces may import what the link allows")]
    #[case::nothing(&[json!({})], "no namespace may import anything (policy p)")]
    #[case::accounts(
        &[json!({ "namespaces": ["a", "b"], "serviceAccounts": [{ "namespace": "x" }, { "namespace": "y", "name": "z" }] })],
        "namespaces a, b may import x, y/z (policy p)"
    )]
    #[case::selector(
        &[json!({ "namespaceSelector": {}, "serviceAccounts": [{ "namespace": "*" }] })],
        "namespaces with certain labels may import everything (policy p)"
    )]
    fn link_shows_who_may_import(#[case] specs: &[Value], #[case] expected: &str) {
        assert_eq!(may_import(&policies(specs), "c2"), [expected]);
    }

    #[test]
    fn imports_that_no_policy_permits_are_marked() {
        let import = |namespace: &str, is_link| ImportInfo {
            namespace: namespace.into(),
            is_link,
            cluster_name: "c2".into(),
            account: ("x".into(), "y".into()),
            ..Default::default()
        };
        let mut imports = [import("a", false), import("b", false), import("b", true)];
        let policy = json!({ "namespaces": ["a"], "serviceAccounts": [{ "namespace": "x" }] });
        mark(&mut imports, &policies(&[policy]));
        assert_eq!(imports.each_ref().map(|import| import.not_permitted), [false, true, false]);
        assert_eq!(imports.each_ref().map(|import| import.may_import.is_some()), [false, false, true]);
    }
}
