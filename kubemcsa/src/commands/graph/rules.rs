//! The rules that apply to a service account, and what they allow.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};

use super::roles::{Binding, Roles};

/// Where a rule applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// In all namespaces, and to cluster-scoped objects.
    Cluster,
    Namespace(String),
}

/// A rule, and where it applies.
pub(crate) type Grant<'a> = (Scope, &'a PolicyRule);

/// All rules that apply to a service account, directly or as a user or a member of a group.
///
/// Omits what Kubernetes' own bindings grant to groups: it is the same for all service accounts.
pub(crate) fn granted<'a>(roles: &'a Roles, namespace: &str, name: &str) -> Vec<Grant<'a>> {
    let bindings = roles.bindings.iter().filter(|binding| {
        let matches = |subject: &&Subject| matches(subject, binding.namespace.as_deref(), namespace, name);
        binding
            .subjects
            .iter()
            .filter(matches)
            .any(|it| it.kind != "Group" || !binding.name.starts_with("system:"))
    });
    let rules = bindings.flat_map(|binding| {
        let scope = binding.namespace.clone().map_or(Scope::Cluster, Scope::Namespace);
        rules_of(roles, binding).iter().map(move |rule| (scope.clone(), rule))
    });
    rules.collect()
}

/// Whether a subject of a binding in `binding_namespace` includes the service account.
fn matches(subject: &Subject, binding_namespace: Option<&str>, namespace: &str, name: &str) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            subject.name == name && subject.namespace.as_deref().or(binding_namespace) == Some(namespace)
        }
        "User" => subject.name == format!("system:serviceaccount:{namespace}:{name}"),
        "Group" => {
            subject.name == format!("system:serviceaccounts:{namespace}")
                || ["system:serviceaccounts", "system:authenticated"].contains(&subject.name.as_str())
        }
        _ => false,
    }
}

/// The rules that a binding grants; empty if its role does not exist.
fn rules_of<'a>(roles: &'a Roles, binding: &Binding) -> &'a [PolicyRule] {
    let RoleRef { kind, name, .. } = &binding.role;
    let rules = match (kind.as_str(), &binding.namespace) {
        ("ClusterRole", _) => roles.cluster_roles.get(name),
        ("Role", Some(namespace)) => roles.roles.get(&(namespace.clone(), name.clone())),
        _ => None,
    };
    rules.map(Vec::as_slice).unwrap_or_default()
}

/// A request to authorize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'a str,
    /// Empty for the core group.
    pub(crate) group: &'a str,
    /// Such as `pods` or `pods/exec`.
    pub(crate) resource: &'a str,
    /// Name of the object; `None` for any object.
    pub(crate) name: Option<&'a str>,
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>
pub(crate) fn allows(rule: &PolicyRule, action: &Action<'_>) -> bool {
    let has = |values: &Option<Vec<String>>, requested: &str| {
        values.iter().flatten().any(|value| value == "*" || value == requested)
    };
    let has_subresource = || {
        let (_, subresource) = action.resource.split_once('/')?;
        Some(rule.resources.iter().flatten().any(|it| it.strip_prefix("*/") == Some(subresource)))
    };
    let has_name = match rule.resource_names.as_deref() {
        None | Some([]) => true,
        Some(names) => action.name.is_some_and(|requested| names.iter().any(|name| name == requested)),
    };
    rule.verbs.iter().any(|verb| verb == "*" || verb == action.verb)
        && has(&rule.api_groups, action.group)
        && (has(&rule.resources, action.resource) || has_subresource() == Some(true))
        && has_name
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rstest::rstest;

    /// Parses a rule: `verbs resources.group=names`, with commas between verbs, resources and names. The group and the
    /// names are optional.
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

    /// Parses the scope of a rule: a namespace, or empty for the whole cluster.
    pub(in super::super) fn scope(namespace: &str) -> Scope {
        match namespace {
            "" => Scope::Cluster,
            namespace => Scope::Namespace(namespace.into()),
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
    fn rules_allow_actions(
        #[case] text: &str,
        #[case] verb: &str,
        #[case] group: &str,
        #[case] resource: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(allows(&rule(text), &Action { verb, group, resource, name: None }), expected);
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
    #[case(binding(None, ("ClusterRole", "lister"), ("ServiceAccount", "a", Some("default"))), &[Scope::Cluster])]
    #[case(binding(None, ("ClusterRole", "lister"), ("ServiceAccount", "a", Some("other"))), &[])]
    #[case(binding(None, ("ClusterRole", "none"), ("ServiceAccount", "a", Some("default"))), &[])]
    #[case(binding(Some("x"), ("ClusterRole", "lister"), ("User", "system:serviceaccount:default:a", None)),
        &[Scope::Namespace("x".into())])]
    #[case(binding(Some("x"), ("Role", "local"), ("Group", "system:serviceaccounts", None)),
        &[Scope::Namespace("x".into())])]
    #[case(binding(Some("y"), ("Role", "local"), ("Group", "system:serviceaccounts", None)), &[])]
    #[case(binding(None, ("ClusterRole", "lister"), ("Group", "system:serviceaccounts:default", None)),
        &[Scope::Cluster])]
    #[case(binding(None, ("ClusterRole", "lister"), ("Group", "system:serviceaccounts:other", None)), &[])]
    #[case(binding(None, ("ClusterRole", "lister"), ("Group", "system:authenticated", None)), &[Scope::Cluster])]
    #[case(Binding { name: "system:discovery".into(),
        ..binding(None, ("ClusterRole", "lister"), ("Group", "system:authenticated", None)) }, &[])]
    fn bindings_apply_to_the_service_account(#[case] binding: Binding, #[case] expected: &[Scope]) {
        let roles = Roles {
            cluster_roles: [("lister".into(), vec![rule("list pods")])].into(),
            roles: [(("x".into(), "local".into()), vec![rule("list pods")])].into(),
            bindings: vec![binding],
        };
        let scopes: Vec<_> = granted(&roles, "default", "a").into_iter().map(|(scope, _)| scope).collect();
        assert_eq!(scopes, expected);
    }
}
