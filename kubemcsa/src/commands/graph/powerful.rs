//! Finds the service accounts of a source that are cluster-admin, or can become it: whoever may use one has its rights.

use super::admin::{self, PowerfulAccounts, SYSTEM};
use super::roles::Roles;
use super::rules;

/// Repeats until it finds no more, because a service account that may use a powerful one is powerful, too.
pub(crate) fn find(roles: &Roles) -> PowerfulAccounts {
    let mut powerful = PowerfulAccounts::default();
    let mut others: Vec<_> = rules::granted_to_each(roles).into_iter().collect();
    loop {
        let (found, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(_, grants)| !admin::reasons(grants, &powerful).is_empty());
        if found.is_empty() {
            return powerful;
        }
        for ((namespace, name), _) in found {
            powerful.0.entry(namespace.to_owned()).or_default().insert(name.to_owned());
        }
        others = rest;
    }
}

/// The accounts without this one, whose rights to itself are no further way.
pub(crate) fn without(powerful: &PowerfulAccounts, namespace: &str, name: &str) -> PowerfulAccounts {
    let mut others = powerful.clone();
    if let Some(names) = others.0.get_mut(namespace) {
        names.remove(name);
    }
    others.0.retain(|namespace, names| namespace == SYSTEM || !names.is_empty());
    others
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{binding, rule};
    use super::*;
    use rstest::rstest;

    /// Bindings of the form `subject -> rule in namespace`: the subject is a service account or, without a name, all of
    /// a namespace. Without a namespace, the rule is cluster-wide.
    fn roles(bindings: &[(&str, &str, &str)]) -> Roles {
        let mut roles = Roles::default();
        for &(subject, text, scope) in bindings {
            let scope = Some(scope).filter(|scope| !scope.is_empty());
            let subject = match subject.split_once('/') {
                Some((namespace, name)) => {
                    binding(scope, ("ClusterRole", text), ("ServiceAccount", name, Some(namespace)))
                }
                None => {
                    let group = format!("system:serviceaccounts:{subject}");
                    binding(scope, ("ClusterRole", text), ("Group", group.as_str(), None))
                }
            };
            roles.bindings.push(subject);
            roles.cluster_roles.insert(text.to_owned(), vec![rule(text)]);
        }
        roles
    }

    fn names(powerful: &PowerfulAccounts) -> Vec<String> {
        let all = powerful.0.iter();
        all.flat_map(|(namespace, names)| names.iter().map(move |name| format!("{namespace}/{name}")))
            .collect()
    }

    #[rstest]
    #[case::none(&[("a/x", "get pods", ""), ("a/y", "* *.*", "a")], &[])]
    #[case::cluster_admin(&[("argocd/controller", "* *.*", "")], &["argocd/controller"])]
    #[case::all_of_a_namespace(&[("argocd", "* *.*", "")], &["argocd/default"])]
    #[case::another_way(&[("vault/vault", "get secrets", "")], &["vault/vault"])]
    #[case::kube_system(&[("ci/ci", "create pods", "kube-system")], &["ci/ci"])]
    #[case::may_use_another(
        &[("argocd/controller", "* *.*", ""), ("ci/ci", "create serviceaccounts/token", "argocd"),
          ("ci/other", "get secrets", "team")],
        &["argocd/controller", "ci/ci"]
    )]
    #[case::chain(
        &[("c/c", "create serviceaccounts/token", "b"), ("b/b", "create pods/exec", "a"), ("a/a", "* *.*", ""),
          ("d/d", "create serviceaccounts/token=c", "c"), ("e/e", "create serviceaccounts/token=other", "c")],
        &["a/a", "b/b", "c/c", "d/d"]
    )]
    #[case::circle(
        &[("a/a", "create serviceaccounts/token", "b"), ("b/b", "create serviceaccounts/token", "a")],
        &[]
    )]
    fn accounts_that_can_become_cluster_admin_are_found(
        #[case] bindings: &[(&str, &str, &str)],
        #[case] expected: &[&str],
    ) {
        assert_eq!(names(&find(&roles(bindings))), expected);
    }

    #[test]
    fn account_is_no_way_to_itself() {
        let powerful = find(&roles(&[("a/a", "* *.*", ""), ("b/b", "* *.*", ""), ("b/c", "* *.*", "")]));
        assert_eq!(names(&without(&powerful, "a", "a")), ["b/b", "b/c"]);
        assert_eq!(without(&powerful, "a", "a").0.keys().collect::<Vec<_>>(), ["b", SYSTEM]);
        assert_eq!(names(&without(&powerful, "b", "b")), ["a/a", "b/c"]);
    }
}
