//! Whether rules suffice to become cluster-admin, in the ways that the Kubernetes documentation lists:
//! <https://kubernetes.io/docs/concepts/security/rbac-good-practices/#privilege-escalation-risks>
//!
//! The result is a possibility. *Absent:* ways that need more than RBAC, such as a node that pods can break out of;
//! admission policies that prevent a way; and rights to a single named object, which may be harmless, unless it is a
//! service account that is powerful itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rules::{Action, Grant, Scope, allows};

/// Some service accounts in this namespace are cluster-admin, or can become it.
pub(crate) const SYSTEM: &str = "kube-system";

/// The service accounts that are cluster-admin or can become it, by namespace. Always has [`SYSTEM`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PowerfulAccounts(pub(crate) BTreeMap<String, BTreeSet<String>>);

impl Default for PowerfulAccounts {
    fn default() -> Self {
        Self([(SYSTEM.to_owned(), BTreeSet::new())].into())
    }
}

/// Group and resource of the kinds that create pods.
const WORKLOADS: [(&str, &str); 7] = [
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("", "replicationcontrollers"),
];

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

/// The ways to cluster-admin, each as the end of a sentence: "it can ...".
pub(crate) fn reasons(grants: &[Grant<'_>], powerful: &PowerfulAccounts) -> Vec<String> {
    let cluster_wide = Permissions { grants, namespace: None };
    if cluster_wide.include_everything() {
        return vec!["do everything".into()];
    }
    let mut reasons: Vec<_> = ways_in_cluster(&cluster_wide).into_iter().map(str::to_owned).collect();
    let in_all = ways_in_namespace(&cluster_wide);
    reasons.extend(in_all.iter().map(|reason| format!("{reason} in all namespaces")));
    for (namespace, accounts) in &powerful.0 {
        let can = Permissions { grants, namespace: Some(namespace.as_str()) };
        if !can.differ_from_cluster_wide() {
            continue;
        }
        let place = match accounts.first() {
            Some(account) if namespace != SYSTEM => {
                format!("{namespace}, where service account {account} could become cluster-admin")
            }
            _ => namespace.clone(),
        };
        if can.include_everything() {
            reasons.push(format!("do everything in {place}"));
            continue;
        }
        let others = ways_in_namespace(&can).into_iter().filter(|reason| !in_all.contains(reason));
        reasons.extend(others.map(|reason| format!("{reason} in {place}")));
        for account in accounts {
            let what = format!("service account {namespace}/{account}, which could become cluster-admin");
            reasons.extend(ways_to_account(&can, account).iter().map(|way| format!("{way} {what}")));
        }
    }
    reasons
}

/// Ways that need cluster-wide rights.
fn ways_in_cluster(can: &Permissions<'_>) -> Vec<&'static str> {
    let writes =
        |group, resource| ["create", "update", "patch"].iter().any(|verb| can.all(verb, group, resource));
    let changes = |group, resource| ["update", "patch"].iter().any(|verb| can.all(verb, group, resource));
    let approves = || {
        let signer = "signers";
        changes(CERTIFICATES, "certificatesigningrequests/approval")
            && can.all("create", CERTIFICATES, "certificatesigningrequests")
            && (can.all("approve", CERTIFICATES, signer)
                || ["kubernetes.io/kube-apiserver-client", "kubernetes.io/*"]
                    .iter()
                    .any(|name| can.one("approve", CERTIFICATES, signer, name)))
    };
    let mounts = || can.all("create", "", "persistentvolumes") && can.in_any_scope("create", "", "pods");
    let ways = [
        (
            can.all("escalate", RBAC, "clusterroles") && writes(RBAC, "clusterroles"),
            "add rights to cluster roles (escalate)",
        ),
        (can.bind_admin() && writes(RBAC, "clusterrolebindings"), "bind cluster roles to anyone (bind)"),
        (can.all("impersonate", "", "users"), "impersonate any user"),
        (
            can.all("impersonate", "", "groups") || can.one("impersonate", "", "groups", "system:masters"),
            "impersonate the group system:masters",
        ),
        (
            can.all("create", "", "nodes/proxy") || can.all("get", "", "nodes/proxy"),
            "run commands in any pod (nodes/proxy)",
        ),
        (approves(), "get client certificates of any user"),
        (
            writes(ADMISSION, "mutatingwebhookconfigurations"),
            "change objects while they are written (mutating webhooks)",
        ),
        (
            can.all("create", ADMISSION, "mutatingadmissionpolicies")
                && can.all("create", ADMISSION, "mutatingadmissionpolicybindings"),
            "change objects while they are written (mutating policies)",
        ),
        (mounts(), "mount the file systems of nodes (persistent volumes)"),
    ];
    ways.into_iter().filter_map(|(is_open, reason)| is_open.then_some(reason)).collect()
}

/// Ways that need rights in the namespace of a powerful service account.
fn ways_in_namespace(can: &Permissions<'_>) -> Vec<&'static str> {
    let any = |verbs: &[&str], group, resource| verbs.iter().any(|verb| can.all(verb, group, resource));
    let write = ["create", "update", "patch"];
    let runs = any(&["create"], "", "pods")
        || WORKLOADS.iter().any(|(group, resource)| any(&write, group, resource));
    let enters = any(&["create", "get"], "", "pods/exec")
        || any(&["create", "get"], "", "pods/attach")
        || any(&["update", "patch"], "", "pods/ephemeralcontainers");
    let ways = [
        (any(&["get", "list", "watch"], "", "secrets"), "read secrets"),
        (any(&["create"], "", "serviceaccounts/token"), "mint tokens of service accounts"),
        (any(&["impersonate"], "", "serviceaccounts"), "impersonate service accounts"),
        (runs, "run pods as any service account"),
        (enters, "run commands in pods"),
        (can.bind_admin() && any(&write, RBAC, "rolebindings"), "bind cluster roles to anyone"),
        (can.all("escalate", RBAC, "roles") && any(&write, RBAC, "roles"), "add rights to roles (escalate)"),
    ];
    ways.into_iter().filter_map(|(is_open, reason)| is_open.then_some(reason)).collect()
}

/// Ways that need rights to a powerful service account, by its name only.
fn ways_to_account(can: &Permissions<'_>, account: &str) -> Vec<&'static str> {
    let ways = [
        ("create", "serviceaccounts/token", "mint tokens of"),
        ("impersonate", "serviceaccounts", "impersonate"),
    ];
    let is_open =
        |verb: &str, resource: &str| can.one(verb, "", resource, account) && !can.all(verb, "", resource);
    let open = ways.into_iter().filter(|(verb, resource, _)| is_open(verb, resource));
    open.map(|(_, _, reason)| reason).collect()
}

/// What the rules allow: cluster-wide, or in a namespace.
struct Permissions<'a> {
    grants: &'a [Grant<'a>],
    namespace: Option<&'a str>,
}

impl Permissions<'_> {
    /// Whether the verb is allowed on all objects of a resource.
    fn all(&self, verb: &str, group: &str, resource: &str) -> bool {
        self.allow(&Action { verb, group, resource, name: None })
    }

    /// Whether the verb is allowed on the object with this name.
    fn one(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        self.allow(&Action { verb, group, resource, name: Some(name) })
    }

    fn bind_admin(&self) -> bool {
        self.all("bind", RBAC, "clusterroles") || self.one("bind", RBAC, "clusterroles", "cluster-admin")
    }

    fn in_any_scope(&self, verb: &str, group: &str, resource: &str) -> bool {
        let action = Action { verb, group, resource, name: None };
        self.grants.iter().any(|(_, rule)| allows(rule, &action))
    }

    /// Only wildcards allow verbs, groups and resources that don't exist.
    fn include_everything(&self) -> bool {
        self.all("any verb", "any group", "any resource")
    }

    /// Whether rights in the namespace may differ: a rule is bound there, or a cluster-wide rule names objects that may
    /// be there.
    fn differ_from_cluster_wide(&self) -> bool {
        let names = |rule: &PolicyRule| rule.resource_names.as_deref().is_some_and(|names| !names.is_empty());
        self.grants.iter().any(|(scope, rule)| match scope {
            Scope::Cluster => names(rule),
            Scope::Namespace(_) => self.applies(scope),
        })
    }

    fn allow(&self, action: &Action<'_>) -> bool {
        self.grants.iter().any(|(scope, rule)| self.applies(scope) && allows(rule, action))
    }

    fn applies(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Cluster => true,
            Scope::Namespace(namespace) => self.namespace == Some(namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{rule, scope};
    use super::*;
    use rstest::rstest;

    const ALL: &str = "";
    const IN_ARGOCD: &str = "argocd, where service account controller could become cluster-admin";
    const CONTROLLER: &str = "service account argocd/controller, which could become cluster-admin";

    #[rstest]
    #[case::nothing(&[], &[])]
    #[case::pod_lister(&[(ALL, "get,list,watch pods")], &[])]
    #[case::pods_of_a_team(&[("team", "* *.*")], &[])]
    #[case::secrets_of_a_team(&[("team", "get secrets")], &[])]
    #[case::everything(&[(ALL, "* *.*"), (ALL, "get secrets")], &["do everything"])]
    #[case::everything_in_kube_system(&[("kube-system", "* *.*")], &["do everything in kube-system"])]
    #[case::secrets(&[(ALL, "list secrets")], &["read secrets in all namespaces"])]
    #[case::core_resources(&[(ALL, "watch *")], &["read secrets in all namespaces"])]
    #[case::secrets_in_kube_system(&[("kube-system", "get secrets")], &["read secrets in kube-system"])]
    #[case::one_secret(&[(ALL, "get secrets=a")], &[])]
    #[case::tokens(&[(ALL, "create serviceaccounts/token")], &["mint tokens of service accounts in all namespaces"])]
    #[case::tokens_of_one(&[(ALL, "create serviceaccounts/token=a")], &[])]
    #[case::pods(&[(ALL, "create pods")], &["run pods as any service account in all namespaces"])]
    #[case::deployments(&[("kube-system", "patch deployments.apps")],
        &["run pods as any service account in kube-system"])]
    #[case::deployments_read(&[(ALL, "get deployments.apps")], &[])]
    #[case::exec(&[(ALL, "create pods/exec")], &["run commands in pods in all namespaces"])]
    #[case::escalate(&[(ALL, "escalate,update clusterroles.rbac.authorization.k8s.io")],
        &["add rights to cluster roles (escalate)"])]
    #[case::escalate_alone(&[(ALL, "escalate clusterroles.rbac.authorization.k8s.io")], &[])]
    #[case::bind(
        &[(ALL, "bind clusterroles.rbac.authorization.k8s.io"),
          (ALL, "create clusterrolebindings.rbac.authorization.k8s.io")],
        &["bind cluster roles to anyone (bind)"]
    )]
    #[case::bind_admin(
        &[(ALL, "bind clusterroles.rbac.authorization.k8s.io=cluster-admin"),
          (ALL, "create clusterrolebindings.rbac.authorization.k8s.io")],
        &["bind cluster roles to anyone (bind)"]
    )]
    #[case::bind_another(
        &[(ALL, "bind clusterroles.rbac.authorization.k8s.io=view"),
          (ALL, "create clusterrolebindings.rbac.authorization.k8s.io")],
        &[]
    )]
    #[case::bindings_alone(&[(ALL, "create clusterrolebindings.rbac.authorization.k8s.io")], &[])]
    #[case::bind_in_kube_system(
        &[("kube-system", "bind clusterroles.rbac.authorization.k8s.io"),
          ("kube-system", "create rolebindings.rbac.authorization.k8s.io")],
        &["bind cluster roles to anyone in kube-system"]
    )]
    #[case::users(&[(ALL, "impersonate users")], &["impersonate any user"])]
    #[case::one_user(&[(ALL, "impersonate users=a")], &[])]
    #[case::group_masters(&[(ALL, "impersonate groups=system:masters")], &["impersonate the group system:masters"])]
    #[case::accounts(&[("kube-system", "impersonate serviceaccounts")],
        &["impersonate service accounts in kube-system"])]
    #[case::nodes(&[(ALL, "get nodes/proxy")], &["run commands in any pod (nodes/proxy)"])]
    #[case::certificates(
        &[(ALL, "create certificatesigningrequests.certificates.k8s.io"),
          (ALL, "update certificatesigningrequests/approval.certificates.k8s.io"),
          (ALL, "approve signers.certificates.k8s.io=kubernetes.io/kube-apiserver-client")],
        &["get client certificates of any user"]
    )]
    #[case::certificates_of_kubelets(
        &[(ALL, "create certificatesigningrequests.certificates.k8s.io"),
          (ALL, "update certificatesigningrequests/approval.certificates.k8s.io"),
          (ALL, "approve signers.certificates.k8s.io=kubernetes.io/kubelet-serving")],
        &[]
    )]
    #[case::webhooks(&[(ALL, "patch mutatingwebhookconfigurations.admissionregistration.k8s.io")],
        &["change objects while they are written (mutating webhooks)"])]
    #[case::persistent_volumes(&[(ALL, "create persistentvolumes"), ("team", "create pods")],
        &["mount the file systems of nodes (persistent volumes)"])]
    #[case::persistent_volumes_alone(&[(ALL, "create persistentvolumes")], &[])]
    fn ways_to_cluster_admin_are_found(#[case] grants: &[(&str, &str)], #[case] expected: &[&str]) {
        let rules: Vec<_> = grants.iter().map(|(scope, text)| (*scope, rule(text))).collect();
        let grants: Vec<_> = rules.iter().map(|(name, rule)| (scope(name), rule)).collect();
        assert_eq!(reasons(&grants, &PowerfulAccounts::default()), expected);
    }

    #[rstest]
    #[case::secrets(&[("argocd", "get secrets")], &[("read secrets in", IN_ARGOCD)])]
    #[case::tokens(&[("argocd", "create serviceaccounts/token")],
        &[("mint tokens of service accounts in", IN_ARGOCD)])]
    #[case::pods(&[("argocd", "create pods")], &[("run pods as any service account in", IN_ARGOCD)])]
    #[case::workloads(&[("argocd", "patch cronjobs.batch")],
        &[("run pods as any service account in", IN_ARGOCD)])]
    #[case::exec(&[("argocd", "create pods/exec")], &[("run commands in pods in", IN_ARGOCD)])]
    #[case::everything(&[("argocd", "* *.*")], &[("do everything in", IN_ARGOCD)])]
    #[case::bind(
        &[(ALL, "bind clusterroles.rbac.authorization.k8s.io"),
          ("argocd", "create rolebindings.rbac.authorization.k8s.io")],
        &[("bind cluster roles to anyone in", IN_ARGOCD)]
    )]
    #[case::tokens_of_one(&[("argocd", "create serviceaccounts/token=controller")],
        &[("mint tokens of", CONTROLLER)])]
    #[case::tokens_of_one_in_the_cluster(&[(ALL, "create serviceaccounts/token=controller")],
        &[("mint tokens of", CONTROLLER)])]
    #[case::impersonate_one(&[("argocd", "impersonate serviceaccounts=controller")],
        &[("impersonate", CONTROLLER)])]
    #[case::tokens_of_another(&[("argocd", "create serviceaccounts/token=server")], &[])]
    #[case::read(&[("argocd", "get,list pods")], &[])]
    #[case::another_namespace(&[("team", "* *.*")], &[])]
    #[case::in_all_namespaces(&[(ALL, "get secrets"), ("argocd", "get secrets")],
        &[("read secrets in", "all namespaces")])]
    fn powerful_service_account_can_be_reached(
        #[case] grants: &[(&str, &str)],
        #[case] expected: &[(&str, &str)],
    ) {
        let mut powerful = PowerfulAccounts::default();
        powerful.0.insert("argocd".into(), ["controller".to_owned()].into());
        let rules: Vec<_> = grants.iter().map(|(scope, text)| (*scope, rule(text))).collect();
        let grants: Vec<_> = rules.iter().map(|(name, rule)| (scope(name), rule)).collect();
        let expected: Vec<_> = expected.iter().map(|(way, place)| format!("{way} {place}")).collect();
        assert_eq!(reasons(&grants, &powerful), expected);
    }
}
