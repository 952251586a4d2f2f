//! Pods that name imports: do they have them? What holds for all pods of a controller is told once.

use std::collections::BTreeMap;

use mcsa_client::api::READY;
use mcsa_client::contract::{MOUNT_ROOT, NAMESPACE_LABEL, SYSTEM_NAMESPACE};

use crate::commands::check::facts::{Facts, Pod, Refused};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::Mend;

/// The namespaces whose pods the webhook never changes, whatever labels they have.
const NEVER: [&str; 2] = ["kube-system", SYSTEM_NAMESPACE];

/// The rules.
pub fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
    let mut alike: BTreeMap<Alike, Vec<&Pod>> = BTreeMap::new();
    for pod in facts.pods.iter().flatten() {
        for wrong in wrongs(facts, pod) {
            let object = if wrong.is_of_the_namespace() {
                Subject::global("Namespace", &pod.namespace)
            } else {
                owner(pod)
            };
            alike.entry(Alike { object, wrong }).or_default().push(pod);
        }
    }
    let refused = facts.refused.iter().flatten().map(|refused| self::refused(facts, refused, mend));
    alike.into_iter().map(|(alike, pods)| alike.finding(&pods, mend)).chain(refused).collect()
}

/// Of pods that were never made, their Deployment tells.
fn refused(facts: &Facts, refused: &Refused, mend: &Mend) -> Finding {
    let Refused { namespace, deployment, imports, message } = refused;
    let is_missing = |name: &String| facts.imports.is_some() && facts.import(namespace, name).is_none();
    let command = if imports.iter().any(is_missing) {
        mend.in_namespace(namespace, &["get", "serviceaccountimports"])
    } else {
        mend.in_system(&["describe", "pods", "-l", "app.kubernetes.io/name=webhook"])
    };
    let object = Subject::namespaced("Deployment", namespace, deployment);
    Finding::problem(object, "PodsRefused", format!("its pods are refused: {message}"), command)
}

/// Whether something is wrong with the pod that is told of its controller.
pub fn is_told_of(facts: &Facts, pod: &Pod) -> bool {
    wrongs(facts, pod).iter().any(|wrong| !wrong.is_of_the_namespace())
}

/// What can be wrong with a pod and one of its imports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    NotEnabled,
    NeverEnabled,
    NoImport(String),
    NoMount(String),
    Waits(String),
}

impl Wrong {
    fn is_of_the_namespace(&self) -> bool {
        matches!(self, Self::NotEnabled | Self::NeverEnabled)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    object: Subject,
    wrong: Wrong,
}

fn wrongs(facts: &Facts, pod: &Pod) -> Vec<Wrong> {
    let enabled = facts.namespaces.as_ref().and_then(|namespaces| namespaces.get(&pod.namespace)).copied();
    let lacking = |name: &&String| !has(facts, pod, name);
    if NEVER.contains(&&*pod.namespace) {
        return pod.imports.iter().find(lacking).map(|_| Wrong::NeverEnabled).into_iter().collect();
    }
    if enabled == Some(false) && pod.imports.iter().any(|name| !has(facts, pod, name)) {
        return vec![Wrong::NotEnabled];
    }
    pod.imports.iter().filter_map(|name| wrong(facts, pod, name)).collect()
}

fn wrong(facts: &Facts, pod: &Pod, name: &str) -> Option<Wrong> {
    // Without a look at imports, nothing can be said of them.
    facts.imports.as_ref()?;
    let Some(import) = facts.import(&pod.namespace, name) else {
        return Some(Wrong::NoImport(name.to_owned()));
    };
    if !has(facts, pod, name) {
        return Some(Wrong::NoMount(name.to_owned()));
    }
    let is_ready = import.condition(READY).is_some_and(|ready| ready.status == "True");
    (pod.is_pending && !is_ready).then(|| Wrong::Waits(name.to_owned()))
}

/// Whether the pod has the import, by whichever hand: its Secret is among the volumes, or something is
/// mounted where it belongs.
fn has(facts: &Facts, pod: &Pod, name: &str) -> bool {
    let secret = facts
        .import(&pod.namespace, name)
        .map_or_else(|| format!("{name}-token"), mcsa_client::ServiceAccountImport::secret_name);
    pod.secrets.contains(&secret) || pod.mount_paths.contains(&format!("{MOUNT_ROOT}/{name}"))
}

fn owner(pod: &Pod) -> Subject {
    let (kind, name) = pod.controller.as_ref().map_or(("Pod", &pod.name), |(kind, name)| (kind, name));
    Subject::namespaced(kind, &pod.namespace, name)
}

impl Alike {
    fn finding(self, pods: &[&Pod], mend: &Mend) -> Finding {
        let Self { object, wrong } = self;
        let namespace = pods.first().map_or("", |pod| &*pod.namespace);
        // One pod names, and many name.
        let (count, s, it, they) = match pods.len() {
            1 => ("1 pod".to_owned(), "s", "it", "it was"),
            count => (format!("{count} pods"), "", "them", "they were"),
        };
        match wrong {
            Wrong::NotEnabled => {
                let message = format!(
                    "{count} here name{s} imports, and the webhook is not turned on: label the namespace, and make {it} \
                     anew"
                );
                Finding::problem(object, "NamespaceNotEnabled", message, mend.enable(namespace))
            }
            Wrong::NeverEnabled => {
                let message = format!(
                    "{count} here name{s} imports, and the webhook never changes pods of {namespace}: label \
                     {NAMESPACE_LABEL} has no effect; run {it} elsewhere, or mount the Secrets by hand"
                );
                let pods = mend.in_namespace(namespace, &["get", "pods"]);
                Finding::problem(object, "NamespaceNotEnabled", message, pods)
            }
            Wrong::NoImport(name) => {
                let message = format!("{count} name{s} import {name}, which is not in namespace {namespace}");
                let imports = mend.in_namespace(namespace, &["get", "serviceaccountimports"]);
                Finding::problem(object, "PodNamesNoImport", message, imports)
            }
            Wrong::NoMount(name) => {
                let does = if pods.len() == 1 { "does" } else { "do" };
                let message = format!(
                    "{count} name{s} import {name} and {does} not have it, as {they} made before the import, the webhook \
                     or the namespace's label"
                );
                let again = again(&object, pods, mend);
                Finding::problem(object, "PodWithoutMount", message, again)
            }
            Wrong::Waits(name) => {
                let message = format!("{count} wait{s} for the Secret of import {name}, which is not ready");
                let words = ["describe", "serviceaccountimport", &name];
                Finding::warning(object, "PodWaitsForSecret", message, mend.in_namespace(namespace, &words))
            }
        }
    }
}

/// Has the pods made anew: by who can do that one by one, else by deleting them.
fn again(object: &Subject, pods: &[&Pod], mend: &Mend) -> String {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let restarted = match object.kind.as_str() {
        "Deployment" => Some("deployment"),
        "StatefulSet" => Some("statefulset"),
        "DaemonSet" => Some("daemonset"),
        _ => None,
    };
    if let Some(kind) = restarted {
        return mend.in_namespace(namespace, &["rollout", "restart", kind, &object.name]);
    }
    let names = pods.iter().take(10).map(|pod| pod.name.as_str());
    mend.in_namespace(namespace, &["delete", "pod"].into_iter().chain(names).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::mend;
    use crate::commands::check::judge::samples::{self, facts, import, tried};
    use rstest::rstest;

    /// One of a Deployment, that names the import `a`.
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
        let namespaces =
            [("on", true), ("off", false), ("kube-system", true), ("waiting", true), ("empty", true)];
        let ready = |namespace, is_ready| import(namespace, "a", "c2", tried(is_ready, None));
        Facts {
            namespaces: Some(namespaces.map(|(name, is_on)| (name.to_owned(), is_on)).into()),
            imports: samples::imports([ready("on", true), ready("off", true), ready("waiting", false)]),
            pods: Some(pods),
            ..facts()
        }
    }

    const MOUNT: &str = "/var/run/secrets/admiralty.io/serviceaccountimports/a";

    #[rstest]
    #[case::by_its_volume(pod("on", &["a-token"], &[]), None)]
    #[case::by_its_mount(pod("on", &[], &[MOUNT]), None)]
    #[case::by_hand_where_the_webhook_is_off(pod("off", &["a-token"], &[]), None)]
    #[case::made_too_early(pod("on", &["other"], &["/other"]), Some(("PodWithoutMount", "lister")))]
    #[case::where_the_webhook_is_off(pod("off", &[], &[]), Some(("NamespaceNotEnabled", "off")))]
    #[case::where_the_webhook_never_is(pod("kube-system", &[], &[]), Some(("NamespaceNotEnabled", "kube-system")))]
    #[case::that_waits(pod("waiting", &["a-token"], &[]), Some(("PodWaitsForSecret", "lister")))]
    #[case::that_runs(Pod { is_pending: false, ..pod("waiting", &["a-token"], &[]) }, None)]
    #[case::that_names_nothing(pod("empty", &[], &[]), Some(("PodNamesNoImport", "lister")))]
    fn pods(#[case] pod: Pod, #[case] expected: Option<(&str, &str)>) {
        let findings = judge(&target(vec![pod]), &mend());
        let found = findings.first().map(|finding| (finding.reason.as_str(), finding.object.name.as_str()));
        assert_eq!((found, findings.len()), (expected, usize::from(expected.is_some())));
    }

    #[test]
    fn what_was_not_looked_at_is_not_missing() {
        let facts = Facts { imports: None, namespaces: None, ..target(vec![pod("off", &[], &[])]) };
        assert_eq!(judge(&facts, &mend()), []);
    }

    #[rstest]
    #[case("Deployment", "rollout restart deployment lister")]
    #[case("StatefulSet", "rollout restart statefulset lister")]
    #[case("ReplicaSet", "delete pod lister-x")]
    #[case("Job", "delete pod lister-x")]
    fn pods_are_made_anew(#[case] kind: &str, #[case] expected: &str) {
        let pod = Pod { controller: Some((kind.into(), "lister".into())), ..pod("on", &[], &[]) };
        let findings = judge(&target(vec![pod]), &mend());
        assert_eq!(findings[0].mend, format!("kubectl --context c1 -n on {expected}"));
    }

    #[rstest]
    #[case::an_import_that_is_missing("b", "-n on get serviceaccountimports")]
    #[case::another_reason(
        "a",
        "-n multicluster-service-account describe pods -l app.kubernetes.io/name=webhook"
    )]
    fn pods_are_refused(#[case] import: &str, #[case] expected: &str) {
        let refused = Refused {
            namespace: "on".into(),
            deployment: "lister".into(),
            imports: vec!["a".into(), import.into()],
            message: "no".into(),
        };
        let findings = judge(&Facts { refused: Some(vec![refused]), ..target(Vec::new()) }, &mend());
        assert_eq!(findings[0].reason, "PodsRefused");
        assert_eq!(findings[0].mend, format!("kubectl --context c1 {expected}"));
    }

    #[rstest]
    #[case("off", "1 pod here names imports", "2 pods here name imports")]
    #[case("kube-system", "1 pod here names imports", "2 pods here name imports")]
    #[case("empty", "1 pod names import a", "2 pods name import a")]
    #[case("on", "1 pod names import a and does not", "2 pods name import a and do not")]
    #[case("waiting", "1 pod waits for", "2 pods wait for")]
    fn one_pod_names_and_many_name(#[case] namespace: &str, #[case] one: &str, #[case] many: &str) {
        let secrets: &[&str] = if namespace == "waiting" { &["a-token"] } else { &[] };
        let pod = || pod(namespace, secrets, &[]);
        for (pods, expected) in [(vec![pod()], one), (vec![pod(), pod()], many)] {
            let findings = judge(&target(pods), &mend());
            assert!(findings[0].message.starts_with(expected), "{findings:?}");
        }
    }

    #[test]
    fn a_thousand_pods_of_one_controller_are_told_once() {
        let pods = |namespace: &'static str| {
            (0..1000).map(move |i| Pod { name: format!("lister-{i}"), ..pod(namespace, &[], &[]) })
        };
        let findings = judge(&target(pods("on").chain(pods("off")).collect()), &mend());
        let told = Vec::from_iter(findings.iter().map(|it| (it.reason.as_str(), &it.message[..9])));
        assert_eq!(told, [("PodWithoutMount", "1000 pods"), ("NamespaceNotEnabled", "1000 pods")]);
    }
}
