//! The rules that hold for one service account, and what they allow.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};

use super::roles::{Binding, Roles};

/// Where a rule holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In all namespaces, and for what is in none.
    Everywhere,
    /// In one namespace.
    Namespace(String),
}

/// A rule, and where it holds.
pub type Grant<'a> = (Place, &'a PolicyRule);

/// All rules that hold for a service account, by any of its names: its own, its user's, its groups'.
///
/// What each authenticated user may do anyway, by bindings of Kubernetes' own, says nothing about an
/// import, and is left out.
pub fn granted<'a>(roles: &'a Roles, namespace: &str, name: &str) -> Vec<Grant<'a>> {
    let bindings = roles.bindings.iter().filter(|binding| {
        let means = |subject: &&Subject| means(subject, binding.namespace.as_deref(), namespace, name);
        binding
            .subjects
            .iter()
            .filter(means)
            .any(|it| it.kind != "Group" || !binding.name.starts_with("system:"))
    });
    let rules = bindings.flat_map(|binding| {
        let place = binding.namespace.clone().map_or(Place::Everywhere, Place::Namespace);
        rules_of(roles, binding).iter().map(move |rule| (place.clone(), rule))
    });
    rules.collect()
}

/// Whether the service account is meant.
fn means(subject: &Subject, bound_in: Option<&str>, namespace: &str, name: &str) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            subject.name == name && subject.namespace.as_deref().or(bound_in) == Some(namespace)
        }
        "User" => subject.name == format!("system:serviceaccount:{namespace}:{name}"),
        "Group" => {
            subject.name == format!("system:serviceaccounts:{namespace}")
                || ["system:serviceaccounts", "system:authenticated"].contains(&subject.name.as_str())
        }
        _ => false,
    }
}

/// The rules that a binding grants; none where there is no such role.
fn rules_of<'a>(roles: &'a Roles, binding: &Binding) -> &'a [PolicyRule] {
    let RoleRef { kind, name, .. } = &binding.role;
    let rules = match (kind.as_str(), &binding.namespace) {
        ("ClusterRole", _) => roles.cluster_roles.get(name),
        ("Role", Some(namespace)) => roles.roles.get(&(namespace.clone(), name.clone())),
        _ => None,
    };
    rules.map(Vec::as_slice).unwrap_or_default()
}

/// What somebody asks to do. A resource may have a subresource, after a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Such as `get`.
    pub verb: &'a str,
    /// The API group; empty for the core.
    pub group: &'a str,
    /// Such as `pods` or `pods/exec`.
    pub resource: &'a str,
    /// The one object that it is about; none for all of them.
    pub name: Option<&'a str>,
}

/// Whether a rule allows it.
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>
pub fn allows(rule: &PolicyRule, ask: &Ask<'_>) -> bool {
    let has = |values: &Option<Vec<String>>, asked: &str| {
        values.iter().flatten().any(|value| value == "*" || value == asked)
    };
    let subresource = || {
        let (_, subresource) = ask.resource.split_once('/')?;
        Some(rule.resources.iter().flatten().any(|it| it.strip_prefix("*/") == Some(subresource)))
    };
    let named = match rule.resource_names.as_deref() {
        None | Some([]) => true,
        Some(names) => ask.name.is_some_and(|asked| names.iter().any(|name| name == asked)),
    };
    rule.verbs.iter().any(|verb| verb == "*" || verb == ask.verb)
        && has(&rule.api_groups, ask.group)
        && (has(&rule.resources, ask.resource) || subresource() == Some(true))
        && named
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rstest::rstest;

    /// A rule from `verbs resources.group`, each separated by commas; a name may follow after `=`.
    pub(in super::super) fn rule(text: &str) -> PolicyRule {
        let (text, names) = text.split_once('=').map_or((text, None), |(text, names)| (text, Some(names)));
        let (verbs, resources) = text.split_once(' ').unwrap();
        let (resources, group) = resources.split_once('.').unwrap_or((resources, ""));
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        PolicyRule {
            verbs: list(verbs),
            resources: Some(list(resources)),
            api_groups: Some(vec![group.to_owned()]),
            resource_names: names.map(list),
            ..Default::default()
        }
    }

    #[rstest]
    #[case("get pods", "get", "", "pods", true)]
    #[case("get pods", "list", "", "pods", false)]
    #[case("get pods", "get", "", "pods/exec", false)]
    #[case("get pods.apps", "get", "", "pods", false)]
    #[case("* *.*", "create", "", "pods/exec", true)]
    #[case("create */token", "create", "", "serviceaccounts/token", true)]
    #[case("create */token", "create", "", "serviceaccounts", false)]
    #[case("get pods=a", "get", "", "pods", false)]
    fn what_a_rule_allows(
        #[case] text: &str,
        #[case] verb: &str,
        #[case] group: &str,
        #[case] resource: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(allows(&rule(text), &Ask { verb, group, resource, name: None }), expected);
    }

    fn binding(namespace: Option<&str>, role: (&str, &str), subject: (&str, &str, Option<&str>)) -> Binding {
        Binding {
            name: "b".into(),
            namespace: namespace.map(str::to_owned),
            role: RoleRef { kind: role.0.into(), name: role.1.into(), ..Default::default() },
            subjects: vec![Subject {
                kind: subject.0.into(),
                name: subject.1.into(),
                namespace: subject.2.map(str::to_owned),
                ..Default::default()
            }],
        }
    }

    #[rstest]
    #[case(binding(None, ("ClusterRole", "lister"), ("ServiceAccount", "a", Some("default"))), &[Place::Everywhere])]
    #[case(binding(None, ("ClusterRole", "lister"), ("ServiceAccount", "a", Some("other"))), &[])]
    #[case(binding(None, ("ClusterRole", "none"), ("ServiceAccount", "a", Some("default"))), &[])]
    #[case(binding(Some("x"), ("ClusterRole", "lister"), ("User", "system:serviceaccount:default:a", None)),
        &[Place::Namespace("x".into())])]
    #[case(binding(Some("x"), ("Role", "local"), ("Group", "system:serviceaccounts", None)),
        &[Place::Namespace("x".into())])]
    #[case(binding(Some("y"), ("Role", "local"), ("Group", "system:serviceaccounts", None)), &[])]
    #[case(binding(None, ("ClusterRole", "lister"), ("Group", "system:serviceaccounts:default", None)),
        &[Place::Everywhere])]
    #[case(binding(None, ("ClusterRole", "lister"), ("Group", "system:serviceaccounts:other", None)), &[])]
    #[case(binding(None, ("ClusterRole", "lister"), ("Group", "system:authenticated", None)), &[Place::Everywhere])]
    #[case(Binding { name: "system:discovery".into(),
        ..binding(None, ("ClusterRole", "lister"), ("Group", "system:authenticated", None)) }, &[])]
    fn who_is_meant(#[case] binding: Binding, #[case] expected: &[Place]) {
        let roles = Roles {
            cluster_roles: [("lister".into(), vec![rule("list pods")])].into(),
            roles: [(("x".into(), "local".into()), vec![rule("list pods")])].into(),
            bindings: vec![binding],
        };
        let places: Vec<_> = granted(&roles, "default", "a").into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, expected);
    }
}
