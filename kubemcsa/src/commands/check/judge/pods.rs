//! Pods that reference imports: do they mount them? Pods of a controller with the same problem share a finding.

use std::collections::BTreeMap;

use mcsa_client::api::READY;
use mcsa_client::contract::{MOUNT_ROOT, NAMESPACE_LABEL, SYSTEM_NAMESPACE};

use crate::cluster::kubeconfig::shell_quote;
use crate::commands::check::facts::{Facts, Pod, RefusedDeployment};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

/// Kind of the object of a finding about a pod without a controller.
const POD: &str = "Pod";

/// The webhook never changes pods in these namespaces, whatever their labels.
const EXCLUDED_NAMESPACES: [&str; 2] = ["kube-system", SYSTEM_NAMESPACE];

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let mut groups: BTreeMap<Group, Vec<&Pod>> = BTreeMap::new();
    for pod in facts.pods.iter().flatten() {
        for problem in problems(facts, pod) {
            let object = if problem.is_of_namespace() {
                Subject::cluster_scoped("Namespace", &pod.namespace)
            } else {
                controller(pod)
            };
            groups.entry(Group { object, problem }).or_default().push(pod);
        }
    }
    let refused = facts.refused.iter().flatten().map(|refused| self::refused(facts, refused, commands));
    groups.into_iter().map(|(group, pods)| group.finding(&pods, commands)).chain(refused).collect()
}

/// Refused pods don't exist, so the finding is about their Deployment.
fn refused(facts: &Facts, refused: &RefusedDeployment, commands: &FixCommands) -> Finding {
    let RefusedDeployment { namespace, name, imports, message } = refused;
    let is_missing = |name: &String| facts.imports.is_some() && facts.import(namespace, name).is_none();
    let fix = if imports.iter().any(is_missing) {
        commands.in_namespace(namespace, &["get", "serviceaccountimports"])
    } else {
        commands.in_system(&["describe", "pods", "-l", "app.kubernetes.io/name=webhook"])
    };
    let object = Subject::namespaced("Deployment", namespace, name);
    Finding::problem(object, "PodsRefused", format!("pods of this Deployment are refused: {message}"), fix)
}

/// Whether a finding about this pod names its controller.
pub(crate) fn is_reported_by_controller(facts: &Facts, pod: &Pod) -> bool {
    problems(facts, pod).iter().any(|problem| !problem.is_of_namespace())
}

/// A problem of a pod with its imports, or with the import of this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Problem {
    /// The webhook is not enabled in the namespace.
    NotEnabled,
    /// The webhook can't be enabled in the namespace.
    Excluded,
    NoImport(String),
    NoMount(String),
    WaitsForSecret(String),
}

impl Problem {
    fn is_of_namespace(&self) -> bool {
        matches!(self, Self::NotEnabled | Self::Excluded)
    }
}

/// Pods with the same problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    object: Subject,
    problem: Problem,
}

fn problems(facts: &Facts, pod: &Pod) -> Vec<Problem> {
    let enabled = facts.namespaces.as_ref().and_then(|namespaces| namespaces.get(&pod.namespace)).copied();
    let mounts_all = pod.imports.iter().all(|name| mounts(facts, pod, name));
    if EXCLUDED_NAMESPACES.contains(&&*pod.namespace) {
        return if mounts_all { Vec::new() } else { vec![Problem::Excluded] };
    }
    if enabled == Some(false) && !mounts_all {
        return vec![Problem::NotEnabled];
    }
    pod.imports.iter().filter_map(|name| problem(facts, pod, name)).collect()
}

fn problem(facts: &Facts, pod: &Pod, name: &str) -> Option<Problem> {
    // If imports could not be listed, this one may exist.
    facts.imports.as_ref()?;
    let Some(import) = facts.import(&pod.namespace, name) else {
        return Some(Problem::NoImport(name.to_owned()));
    };
    if !mounts(facts, pod, name) {
        return Some(Problem::NoMount(name.to_owned()));
    }
    let is_ready = import.condition(READY).is_some_and(|ready| ready.status == "True");
    (pod.is_pending && !is_ready).then(|| Problem::WaitsForSecret(name.to_owned()))
}

/// Whether the pod mounts the import, by the webhook or by hand: a volume has its Secret, or a container mounts
/// something at its path.
fn mounts(facts: &Facts, pod: &Pod, name: &str) -> bool {
    let secret = facts
        .import(&pod.namespace, name)
        .map_or_else(|| format!("{name}-token"), mcsa_client::ServiceAccountImport::secret_name);
    pod.secrets.contains(&secret) || pod.mount_paths.contains(&format!("{MOUNT_ROOT}/{name}"))
}

/// The pod itself if it has no controller.
fn controller(pod: &Pod) -> Subject {
    let (kind, name) = pod.controller.as_ref().map_or((POD, &pod.name), |(kind, name)| (kind, name));
    Subject::namespaced(kind, &pod.namespace, name)
}

impl Group {
    fn finding(self, pods: &[&Pod], commands: &FixCommands) -> Finding {
        let Self { object, problem } = self;
        let namespace = pods.first().map_or("", |pod| &*pod.namespace);
        let is_one = pods.len() == 1;
        let count = if is_one { "1 pod".to_owned() } else { format!("{} pods", pods.len()) };
        let agree = |singular: &'static str, plural: &'static str| if is_one { singular } else { plural };
        let references = agree("references", "reference");
        let the_pods = agree("the pod", "the pods");
        match problem {
            Problem::NotEnabled => {
                let message = format!(
                    "{count} {references} imports, but the webhook is not enabled in this namespace: label it, \
                     then recreate {the_pods}"
                );
                Finding::problem(object, "NamespaceNotEnabled", message, commands.enable_webhook(namespace))
            }
            Problem::Excluded => {
                let message = format!(
                    "{count} {references} imports, but the webhook never changes pods in {namespace}, even with label \
                     {NAMESPACE_LABEL}: run {the_pods} in another namespace, or mount the Secrets by hand"
                );
                let fix = commands.in_namespace(namespace, &["get", "pods"]);
                Finding::problem(object, "NamespaceNotEnabled", message, fix)
            }
            Problem::NoImport(name) => {
                let message = format!(
                    "{count} {references} import {name}, which does not exist in namespace {namespace}"
                );
                let fix = commands.in_namespace(namespace, &["get", "serviceaccountimports"]);
                Finding::problem(object, "ImportNotFound", message, fix)
            }
            Problem::NoMount(name) => {
                let does = agree("does", "do");
                let they_were = agree("it was", "they were");
                let how = match object.kind.as_str() {
                    POD => {
                        "nothing creates this pod again, so delete it and create it from its manifest, or copy it"
                            .to_owned()
                    }
                    _ => format!("recreate {the_pods}"),
                };
                let message = format!(
                    "{count} {references} import {name} but {does} not mount it, because {they_were} created before \
                     the import, the webhook or the namespace's label: {how}"
                );
                let fix = recreate(&object, pods, commands);
                Finding::problem(object, "PodWithoutMount", message, fix)
            }
            Problem::WaitsForSecret(name) => {
                let wait = agree("is waiting", "are waiting");
                let message = format!("{count} {wait} for the Secret of import {name}, which is not ready");
                let describe = ["describe", "serviceaccountimport", &name];
                let fix = commands.in_namespace(namespace, &describe);
                Finding::warning(object, "PodWaitsForSecret", message, fix)
            }
        }
    }
}

/// Restarts the controller if it can roll out, or else deletes the pods. Replaces a pod without a controller by a copy,
/// which it keeps in a file, in case it can't be created.
fn recreate(object: &Subject, pods: &[&Pod], commands: &FixCommands) -> String {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    if object.kind == POD {
        let (name, file) = (object.name.as_str(), format!("{}.yaml", object.name));
        let get = commands.in_namespace(namespace, &["get", "pod", name, "-o", "yaml"]);
        let replace = commands.in_namespace(namespace, &["replace", "--force", "-f", &file]);
        return format!("{get} > {} && {replace}", shell_quote(&file));
    }
    let kind = match object.kind.as_str() {
        "Deployment" => Some("deployment"),
        "StatefulSet" => Some("statefulset"),
        "DaemonSet" => Some("daemonset"),
        _ => None,
    };
    if let Some(kind) = kind {
        return commands.in_namespace(namespace, &["rollout", "restart", kind, &object.name]);
    }
    let names = pods.iter().take(10).map(|pod| pod.name.as_str());
    commands.in_namespace(namespace, &["delete", "pod"].into_iter().chain(names).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{self, facts, import, import_status};
    use rstest::rstest;

    /// A pod of a Deployment that references import `a`.
    fn pod(namespace: &str, secrets: &[&str], mount_paths: &[&str]) -> Pod {
        let set = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Pod {
            namespace: namespace.into(),
            name: "lister-x".into(),
            imports: vec!["a".into()],
            secrets: set(secrets),
            mount_paths: set(mount_paths),
            is_pending: true,
            controller: Some(("Deployment".into(), "lister".into())),
        }
    }

    fn target(pods: Vec<Pod>) -> Facts {
        let namespaces = [
            ("enabled", true),
            ("disabled", false),
            ("kube-system", true),
            ("waiting", true),
            ("empty", true),
        ];
        let ready = |namespace, is_ready| import(namespace, "a", "c2", import_status(is_ready, None));
        Facts {
            namespaces: Some(namespaces.map(|(name, is_enabled)| (name.to_owned(), is_enabled)).into()),
            imports: samples::imports([
                ready("enabled", true),
                ready("disabled", true),
                ready("waiting", false),
            ]),
            pods: Some(pods),
            ..facts()
        }
    }

    const MOUNT: &str = "/var/run/secrets/admiralty.io/serviceaccountimports/a";

    #[rstest]
    #[case::mounted_by_volume(pod("enabled", &["a-token"], &[]), None)]
    #[case::mounted_by_path(pod("enabled", &[], &[MOUNT]), None)]
    #[case::mounted_without_the_webhook(pod("disabled", &["a-token"], &[]), None)]
    #[case::created_too_early(pod("enabled", &["other"], &["/other"]), Some(("PodWithoutMount", "lister")))]
    #[case::webhook_not_enabled(pod("disabled", &[], &[]), Some(("NamespaceNotEnabled", "disabled")))]
    #[case::excluded_namespace(pod("kube-system", &[], &[]), Some(("NamespaceNotEnabled", "kube-system")))]
    #[case::waits_for_secret(pod("waiting", &["a-token"], &[]), Some(("PodWaitsForSecret", "lister")))]
    #[case::already_running(Pod { is_pending: false, ..pod("waiting", &["a-token"], &[]) }, None)]
    #[case::no_import(pod("empty", &[], &[]), Some(("ImportNotFound", "lister")))]
    fn pod_must_mount_the_secrets_of_its_imports(#[case] pod: Pod, #[case] expected: Option<(&str, &str)>) {
        let findings = judge(&target(vec![pod]), &commands());
        let found = findings.first().map(|finding| (finding.reason.as_str(), finding.object.name.as_str()));
        assert_eq!((found, findings.len()), (expected, usize::from(expected.is_some())));
    }

    #[test]
    fn unreadable_imports_are_not_missing() {
        let facts = Facts { imports: None, namespaces: None, ..target(vec![pod("disabled", &[], &[])]) };
        assert_eq!(judge(&facts, &commands()), []);
    }

    #[rstest]
    #[case("Deployment", "rollout restart deployment lister")]
    #[case("StatefulSet", "rollout restart statefulset lister")]
    #[case("ReplicaSet", "delete pod lister-x")]
    #[case("Job", "delete pod lister-x")]
    fn pods_are_recreated_by_their_controller(#[case] kind: &str, #[case] expected: &str) {
        let pod = Pod { controller: Some((kind.into(), "lister".into())), ..pod("enabled", &[], &[]) };
        let findings = judge(&target(vec![pod]), &commands());
        assert_eq!(findings[0].fix, format!("kubectl --context c1 -n enabled {expected}"));
    }

    #[test]
    fn pod_without_controller_is_not_only_deleted() {
        let pod = Pod { controller: None, ..pod("enabled", &[], &[]) };
        let findings = judge(&target(vec![pod]), &commands());
        assert_eq!(
            findings[0].fix,
            "kubectl --context c1 -n enabled get pod lister-x -o yaml > lister-x.yaml && kubectl --context c1 -n enabled \
             replace --force -f lister-x.yaml"
        );
        assert!(findings[0].message.contains("nothing creates this pod again"), "{}", findings[0].message);
    }

    #[rstest]
    #[case::missing_import("b", "-n enabled get serviceaccountimports")]
    #[case::other_reason(
        "a",
        "-n multicluster-service-account describe pods -l app.kubernetes.io/name=webhook"
    )]
    fn refused_pods_are_reported_with_their_deployment(#[case] import: &str, #[case] expected: &str) {
        let refused = RefusedDeployment {
            namespace: "enabled".into(),
            name: "lister".into(),
            imports: vec!["a".into(), import.into()],
            message: "no".into(),
        };
        let findings = judge(&Facts { refused: Some(vec![refused]), ..target(Vec::new()) }, &commands());
        assert_eq!(findings[0].reason, "PodsRefused");
        assert_eq!(findings[0].fix, format!("kubectl --context c1 {expected}"));
    }

    #[rstest]
    #[case("disabled", "1 pod references imports", "2 pods reference imports")]
    #[case("kube-system", "1 pod references imports", "2 pods reference imports")]
    #[case("empty", "1 pod references import a", "2 pods reference import a")]
    #[case("enabled", "1 pod references import a but does not", "2 pods reference import a but do not")]
    #[case("waiting", "1 pod is waiting for", "2 pods are waiting for")]
    fn messages_have_singular_and_plural(#[case] namespace: &str, #[case] one: &str, #[case] many: &str) {
        let secrets: &[&str] = if namespace == "waiting" { &["a-token"] } else { &[] };
        let pod = || pod(namespace, secrets, &[]);
        for (pods, expected) in [(vec![pod()], one), (vec![pod(), pod()], many)] {
            let findings = judge(&target(pods), &commands());
            assert!(findings[0].message.starts_with(expected), "{findings:?}");
        }
    }

    #[test]
    fn pods_of_a_controller_share_a_finding() {
        let pods = |namespace: &'static str| {
            (0..1000).map(move |i| Pod { name: format!("lister-{i}"), ..pod(namespace, &[], &[]) })
        };
        let findings = judge(&target(pods("enabled").chain(pods("disabled")).collect()), &commands());
        let found = Vec::from_iter(findings.iter().map(|it| (it.reason.as_str(), &it.message[..9])));
        assert_eq!(found, [("PodWithoutMount", "1000 pods"), ("NamespaceNotEnabled", "1000 pods")]);
    }
}
