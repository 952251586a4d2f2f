//! The rules that apply to a service account, and what they allow.

use std::collections::BTreeMap;

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
    let applies = |binding: &&Binding| {
        members(binding).any(|members| match members {
            Members::One(of, account) => (of, account) == (namespace, name),
            Members::Namespace(of) => of == namespace,
            Members::All => true,
        })
    };
    roles.bindings.iter().filter(applies).flat_map(|binding| grants(roles, binding)).collect()
}

/// The service accounts that bindings include, by namespace and name, each with all rules that apply to it. Of the
/// namespaces whose service accounts are bound as a group, it has at least the service account `default`.
pub(crate) fn granted_to_each(roles: &Roles) -> BTreeMap<(&str, &str), Vec<Grant<'_>>> {
    let mut accounts: BTreeMap<(&str, &str), Vec<Grant<'_>>> = BTreeMap::new();
    let mut namespaces: BTreeMap<&str, Vec<Grant<'_>>> = BTreeMap::new();
    let mut all = Vec::new();
    for binding in &roles.bindings {
        for members in members(binding) {
            let granted = match members {
                Members::One(namespace, name) => accounts.entry((namespace, name)).or_default(),
                Members::Namespace(namespace) => namespaces.entry(namespace).or_default(),
                Members::All => &mut all,
            };
            granted.extend(grants(roles, binding));
        }
    }
    for &namespace in namespaces.keys() {
        accounts.entry((namespace, "default")).or_default();
    }
    for ((namespace, _), granted) in &mut accounts {
        granted.extend(namespaces.get(namespace).into_iter().flatten().chain(&all).cloned());
    }
    accounts
}

/// The service accounts that a subject includes.
enum Members<'a> {
    /// The one with this namespace and name.
    One(&'a str, &'a str),
    /// All of a namespace.
    Namespace(&'a str),
    All,
}

/// The service accounts that a binding includes, without the groups of Kubernetes' own bindings.
fn members(binding: &Binding) -> impl Iterator<Item = Members<'_>> {
    let subjects = binding.subjects.iter();
    let counted =
        subjects.filter(move |subject| subject.kind != "Group" || !binding.name.starts_with("system:"));
    counted.filter_map(move |subject| members_of(subject, binding.namespace.as_deref()))
}

fn members_of<'a>(subject: &'a Subject, binding_namespace: Option<&'a str>) -> Option<Members<'a>> {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().or(binding_namespace)?;
            Some(Members::One(namespace, &subject.name))
        }
        "User" => {
            let (namespace, name) = subject.name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
            Some(Members::One(namespace, name))
        }
        "Group" => match subject.name.as_str() {
            "system:serviceaccounts" | "system:authenticated" => Some(Members::All),
            group => group.strip_prefix("system:serviceaccounts:").map(Members::Namespace),
        },
        _ => None,
    }
}

/// The rules that a binding grants, and where.
fn grants<'a>(roles: &'a Roles, binding: &Binding) -> impl Iterator<Item = Grant<'a>> {
    let scope = binding.namespace.clone().map_or(Scope::Cluster, Scope::Namespace);
    rules_of(roles, binding).iter().map(move |rule| (scope.clone(), rule))
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

    pub(in super::super) fn binding(
        namespace: Option<&str>,
        role: (&str, &str),
        subject: (&str, &str, Option<&str>),
    ) -> Binding {
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

    #[test]
    fn each_account_has_the_rules_of_its_groups() {
        let lister = ("ClusterRole", "lister");
        let roles = Roles {
            cluster_roles: [("lister".into(), vec![rule("list pods")])].into(),
            bindings: vec![
                binding(Some("x"), lister, ("ServiceAccount", "a", None)),
                binding(Some("y"), lister, ("User", "system:serviceaccount:x:b", None)),
                binding(None, lister, ("Group", "system:serviceaccounts:x", None)),
                binding(Some("z"), lister, ("Group", "system:serviceaccounts", None)),
                binding(None, lister, ("User", "jane", None)),
            ],
            ..Default::default()
        };
        let of_x = |own: &[&str]| own.iter().copied().chain(["", "z"]).map(scope).collect::<Vec<_>>();
        let each: Vec<_> = granted_to_each(&roles)
            .into_iter()
            .map(|(account, grants)| {
                (account, grants.into_iter().map(|(scope, _)| scope).collect::<Vec<_>>())
            })
            .collect();
        let expected =
            [(("x", "a"), of_x(&["x"])), (("x", "b"), of_x(&["y"])), (("x", "default"), of_x(&[]))];
        assert_eq!(each, expected);
    }
}
