//! Whether rules are enough to become cluster-admin, by the ways that Kubernetes itself warns of.
//! <https://kubernetes.io/docs/concepts/security/rbac-good-practices/#privilege-escalation-risks>
//!
//! *Absent:* what takes more than rights, such as a node that lets pods out, or an admission policy
//! that would stop it, and rights to a single named object, which may be a harmless one. What is said is
//! that somebody could, not that somebody can.

use super::rules::{Ask, Grant, Place, allows};

/// The namespace whose service accounts may do everything.
const SYSTEM: &str = "kube-system";

/// What runs pods: its group, and its resource.
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

/// The ways to cluster-admin that rules leave open, each as what comes after "because it may"; none if
/// there is none.
pub fn reasons(grants: &[Grant<'_>]) -> Vec<String> {
    let everywhere = May { grants, place: None };
    if everywhere.do_everything() {
        return vec!["do everything".into()];
    }
    let mut reasons: Vec<_> = for_the_cluster(&everywhere).into_iter().map(str::to_owned).collect();
    let there = in_the_system(&everywhere);
    reasons.extend(there.iter().map(|reason| format!("{reason} in all namespaces")));
    let system = May { grants, place: Some(SYSTEM) };
    if system.do_everything() {
        reasons.push(format!("do everything in {SYSTEM}"));
    } else {
        let only = in_the_system(&system).into_iter().filter(|reason| !there.contains(reason));
        reasons.extend(only.map(|reason| format!("{reason} in {SYSTEM}")));
    }
    reasons
}

/// What is done to the cluster as a whole.
fn for_the_cluster(may: &May<'_>) -> Vec<&'static str> {
    let writes =
        |group, resource| ["create", "update", "patch"].iter().any(|verb| may.all(verb, group, resource));
    let changes = |group, resource| ["update", "patch"].iter().any(|verb| may.all(verb, group, resource));
    let binds =
        || may.all("bind", RBAC, "clusterroles") || may.one("bind", RBAC, "clusterroles", "cluster-admin");
    let approves = || {
        let signer = "signers";
        changes(CERTIFICATES, "certificatesigningrequests/approval")
            && may.all("create", CERTIFICATES, "certificatesigningrequests")
            && (may.all("approve", CERTIFICATES, signer)
                || ["kubernetes.io/kube-apiserver-client", "kubernetes.io/*"]
                    .iter()
                    .any(|name| may.one("approve", CERTIFICATES, signer, name)))
    };
    let mounts = || may.all("create", "", "persistentvolumes") && may.somewhere("create", "", "pods");
    let ways = [
        (
            may.all("escalate", RBAC, "clusterroles") && writes(RBAC, "clusterroles"),
            "widen cluster roles (escalate)",
        ),
        (binds() && writes(RBAC, "clusterrolebindings"), "bind cluster roles to anyone (bind)"),
        (may.all("impersonate", "", "users"), "impersonate any user"),
        (
            may.all("impersonate", "", "groups") || may.one("impersonate", "", "groups", "system:masters"),
            "impersonate the group system:masters",
        ),
        (
            may.all("create", "", "nodes/proxy") || may.all("get", "", "nodes/proxy"),
            "run commands in any pod (nodes/proxy)",
        ),
        (approves(), "sign client certificates of anyone"),
        (
            writes(ADMISSION, "mutatingwebhookconfigurations"),
            "have all that is written changed (mutating webhooks)",
        ),
        (
            may.all("create", ADMISSION, "mutatingadmissionpolicies")
                && may.all("create", ADMISSION, "mutatingadmissionpolicybindings"),
            "have all that is written changed (mutating policies)",
        ),
        (mounts(), "mount the disks of nodes (persistent volumes)"),
    ];
    ways.into_iter().filter_map(|(is_open, reason)| is_open.then_some(reason)).collect()
}

/// What is done in the namespace of the cluster's own service accounts.
fn in_the_system(may: &May<'_>) -> Vec<&'static str> {
    let any = |verbs: &[&str], group, resource| verbs.iter().any(|verb| may.all(verb, group, resource));
    let write = ["create", "update", "patch"];
    let runs = any(&["create"], "", "pods")
        || WORKLOADS.iter().any(|(group, resource)| any(&write, group, resource));
    let enters = any(&["create", "get"], "", "pods/exec")
        || any(&["create", "get"], "", "pods/attach")
        || any(&["update", "patch"], "", "pods/ephemeralcontainers");
    let binds =
        may.all("bind", RBAC, "clusterroles") || may.one("bind", RBAC, "clusterroles", "cluster-admin");
    let ways = [
        (any(&["get", "list", "watch"], "", "secrets"), "read secrets"),
        (any(&["create"], "", "serviceaccounts/token"), "mint tokens of service accounts"),
        (any(&["impersonate"], "", "serviceaccounts"), "impersonate service accounts"),
        (runs, "run pods as any service account"),
        (enters, "run commands in pods"),
        (binds && any(&write, RBAC, "rolebindings"), "bind cluster roles to anyone"),
        (may.all("escalate", RBAC, "roles") && any(&write, RBAC, "roles"), "widen roles (escalate)"),
    ];
    ways.into_iter().filter_map(|(is_open, reason)| is_open.then_some(reason)).collect()
}

/// What rules allow in a place: what holds everywhere, and, of a namespace, what holds there.
struct May<'a> {
    grants: &'a [Grant<'a>],
    place: Option<&'a str>,
}

impl May<'_> {
    fn all(&self, verb: &str, group: &str, resource: &str) -> bool {
        self.any(&Ask { verb, group, resource, name: None })
    }

    fn one(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        self.any(&Ask { verb, group, resource, name: Some(name) })
    }

    fn any(&self, ask: &Ask<'_>) -> bool {
        self.grants.iter().any(|(place, rule)| self.is_here(place) && allows(rule, ask))
    }

    fn somewhere(&self, verb: &str, group: &str, resource: &str) -> bool {
        let ask = Ask { verb, group, resource, name: None };
        self.grants.iter().any(|(_, rule)| allows(rule, &ask))
    }

    /// A verb, a group and a resource that nobody has heard of: only wildcards allow them.
    fn do_everything(&self) -> bool {
        self.all("any verb", "any group", "any resource")
    }

    fn is_here(&self, place: &Place) -> bool {
        match place {
            Place::Everywhere => true,
            Place::Namespace(namespace) => self.place == Some(namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rule;
    use super::*;
    use rstest::rstest;

    const ALL: &str = "";

    #[rstest]
    #[case::nothing(&[], &[])]
    #[case::pod_lister(&[(ALL, "get,list,watch pods")], &[])]
    #[case::pods_of_a_team(&[("team", "* *.*")], &[])]
    #[case::secrets_of_a_team(&[("team", "get secrets")], &[])]
    #[case::everything(&[(ALL, "* *.*"), (ALL, "get secrets")], &["do everything"])]
    #[case::everything_there(&[("kube-system", "* *.*")], &["do everything in kube-system"])]
    #[case::secrets(&[(ALL, "list secrets")], &["read secrets in all namespaces"])]
    #[case::secrets_of_the_core(&[(ALL, "watch *")], &["read secrets in all namespaces"])]
    #[case::secrets_there(&[("kube-system", "get secrets")], &["read secrets in kube-system"])]
    #[case::one_secret(&[(ALL, "get secrets=a")], &[])]
    #[case::tokens(&[(ALL, "create serviceaccounts/token")], &["mint tokens of service accounts in all namespaces"])]
    #[case::tokens_of_one(&[(ALL, "create serviceaccounts/token=a")], &[])]
    #[case::pods(&[(ALL, "create pods")], &["run pods as any service account in all namespaces"])]
    #[case::deployments(&[("kube-system", "patch deployments.apps")],
        &["run pods as any service account in kube-system"])]
    #[case::deployments_read(&[(ALL, "get deployments.apps")], &[])]
    #[case::exec(&[(ALL, "create pods/exec")], &["run commands in pods in all namespaces"])]
    #[case::escalate(&[(ALL, "escalate,update clusterroles.rbac.authorization.k8s.io")],
        &["widen cluster roles (escalate)"])]
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
    #[case::bind_there(
        &[("kube-system", "bind clusterroles.rbac.authorization.k8s.io"),
          ("kube-system", "create rolebindings.rbac.authorization.k8s.io")],
        &["bind cluster roles to anyone in kube-system"]
    )]
    #[case::users(&[(ALL, "impersonate users")], &["impersonate any user"])]
    #[case::one_user(&[(ALL, "impersonate users=a")], &[])]
    #[case::masters(&[(ALL, "impersonate groups=system:masters")], &["impersonate the group system:masters"])]
    #[case::accounts(&[("kube-system", "impersonate serviceaccounts")],
        &["impersonate service accounts in kube-system"])]
    #[case::nodes(&[(ALL, "get nodes/proxy")], &["run commands in any pod (nodes/proxy)"])]
    #[case::certificates(
        &[(ALL, "create certificatesigningrequests.certificates.k8s.io"),
          (ALL, "update certificatesigningrequests/approval.certificates.k8s.io"),
          (ALL, "approve signers.certificates.k8s.io=kubernetes.io/kube-apiserver-client")],
        &["sign client certificates of anyone"]
    )]
    #[case::certificates_of_kubelets(
        &[(ALL, "create certificatesigningrequests.certificates.k8s.io"),
          (ALL, "update certificatesigningrequests/approval.certificates.k8s.io"),
          (ALL, "approve signers.certificates.k8s.io=kubernetes.io/kubelet-serving")],
        &[]
    )]
    #[case::webhooks(&[(ALL, "patch mutatingwebhookconfigurations.admissionregistration.k8s.io")],
        &["have all that is written changed (mutating webhooks)"])]
    #[case::disks(&[(ALL, "create persistentvolumes"), ("team", "create pods")],
        &["mount the disks of nodes (persistent volumes)"])]
    #[case::disks_alone(&[(ALL, "create persistentvolumes")], &[])]
    fn ways(#[case] grants: &[(&str, &str)], #[case] expected: &[&str]) {
        let rules: Vec<_> = grants.iter().map(|(place, text)| (*place, rule(text))).collect();
        let place = |name: &str| match name {
            "" => Place::Everywhere,
            name => Place::Namespace(name.into()),
        };
        let grants: Vec<_> = rules.iter().map(|(name, rule)| (place(name), rule)).collect();
        assert_eq!(reasons(&grants), expected);
    }
}
