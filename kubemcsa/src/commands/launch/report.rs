//! Fourth step: says what was granted, what that means, and what to do next.

use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, REMOTE_NAMESPACE};
use mcsa_credentials::names::stub_workflow;

use super::args::{Args, PodSecurity};
use super::current::Wanted;
use super::linked::Linked;
use super::model::Launch;
use super::objects::ENFORCE;
use crate::cli::output;

pub(crate) fn report(linked: &Linked, wanted: &Wanted, args: &Args) {
    let (source, launch) = (&linked.source().name, &wanted.launch);
    let flags = linked.plan().flags();
    let created = args.pod_security.unwrap_or_default().level();
    let level = if wanted.stored_namespace.is_some() { wanted.stored_level() } else { Some(created) };
    output::info(source, "what this allows:");
    for sentence in sentences(launch, level) {
        output::info(source, &format!("- {sentence}"));
    }
    let kubectl = linked.plan().source().chosen().kubectl();
    let warning = level_warning(&launch.remote_namespace, wanted.stored_level(), args.pod_security, &kubectl);
    if let Some(warning) = warning.filter(|_| wanted.stored_namespace.is_some()) {
        output::warn(source, &warning);
    }
    let stop = flags.other_command("launch", &format!("{} --stop", args.selection()));
    output::info(source, &format!("to undo this: {stop}"));
}

/// Says how to run a pod.
pub(crate) fn next(linked: &Linked, launch: &Launch) {
    let target = &linked.target().name;
    let kubectl = linked.plan().target().chosen().kubectl();
    output::info(
        target,
        &format!(
            "pods of {0} with the annotation {CLUSTER_NAME}={1} run in {1}, and pods with {ELECT} may run there; for example:",
            launch.namespace, launch.source
        ),
    );
    output::paste(&example(&kubectl, launch));
}

fn example(kubectl: &str, launch: &Launch) -> String {
    let Launch { namespace, source, remote_namespace, .. } = launch;
    let remote = if namespace == remote_namespace {
        String::new()
    } else {
        format!(" --annotations {REMOTE_NAMESPACE}={remote_namespace}")
    };
    format!(
        "{kubectl} -n {namespace} run hello-{source} --image busybox --restart Never \
         --annotations {CLUSTER_NAME}={source}{remote} -- hostname\n{kubectl} get nodes\n"
    )
}

/// What was granted, as sentences. `level`: the Pod Security level that the remote namespace enforces.
fn sentences(launch: &Launch, level: Option<&str>) -> Vec<String> {
    let Launch { target, source, namespace, remote_namespace, .. } = launch;
    let pods = format!("pods of {target} in namespace {namespace}");
    let mut sentences = vec![
        format!("{pods} may run in namespace {remote_namespace} of {source}"),
        format!(
            "{target} may create, read, change and delete all pods of {remote_namespace}, read their logs and \
             usage, run commands in them and connect to them (service account {remote_namespace}/{})",
            launch.account()
        ),
    ];
    // The import's Secret is in the namespace, and any of its pods may mount it.
    sentences.push(format!(
        "everyone who may read Secrets or create pods in {namespace} of {target} can use that service account, too"
    ));
    // The link's right is not limited to the namespace.
    sentences.push(format!(
        "everyone who may create ServiceAccountImports in any namespace of {target} can import that service account, and so \
         use it, too"
    ));
    sentences.push(format!(
        "everyone who may create pods in {namespace} of {target} may act as any service account of {remote_namespace}, and read \
         its Secrets and ConfigMaps, by a pod that uses them"
    ));
    sentences.push(match level {
        Some(level @ ("restricted" | "baseline")) => {
            format!("Pod Security ({level}) keeps pods of {remote_namespace} from accessing their nodes")
        }
        _ => format!(
            "namespace {remote_namespace} enforces no Pod Security level that prevents it: these pods can become root on the \
             nodes of {source}"
        ),
    });
    if launch.argo {
        sentences.push(format!(
            "all pods of {remote_namespace} may report outputs of Argo's steps (WorkflowTaskResults), and {target} may read, \
             change and delete these; the launcher copies them to namespace {namespace} of {target}"
        ));
    }
    if launch.stub {
        sentences.push(format!(
            "these rights include the outputs of workflows that {source}'s own Argo runs in {remote_namespace}: use a \
             --remote-namespace in which it runs none"
        ));
        sentences.push(format!(
            "Workflow {remote_namespace}/{} never runs; it must stay, because it owns the outputs of steps",
            stub_workflow(&launch.account())
        ));
    }
    sentences.push(format!("kubemcsa granted nothing else in {source}"));
    sentences
}

/// Warns of an existing namespace that enforces nothing, or another level than the flag names.
fn level_warning(
    namespace: &str,
    stored: Option<&str>,
    asked: Option<PodSecurity>,
    kubectl: &str,
) -> Option<String> {
    let asked = asked.map(PodSecurity::level);
    let command =
        |level: &str| format!("{kubectl} label namespace {namespace} {ENFORCE}={level} --overwrite");
    match (stored, asked) {
        (None, _) => Some(format!(
            "namespace {namespace} existed already and enforces no Pod Security level; to set one: {}",
            command(asked.unwrap_or(PodSecurity::default().level()))
        )),
        (Some(stored), Some(asked)) if stored != asked => Some(format!(
            "namespace {namespace} existed already and enforces {stored}, not {asked}; to change that: {}",
            command(asked)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn launch() -> Launch {
        Launch {
            target: "c1".into(),
            source: "c2".into(),
            namespace: "team-a".into(),
            remote_namespace: "batch".into(),
            ..Default::default()
        }
    }

    #[rstest]
    #[case(None, true)]
    #[case(Some("privileged"), true)]
    #[case(Some("baseline"), false)]
    #[case(Some("restricted"), false)]
    fn access_to_nodes_is_told_unless_pod_security_forbids_it(
        #[case] level: Option<&str>,
        #[case] expected: bool,
    ) {
        let text = sentences(&launch(), level).join("\n");
        assert_eq!(text.contains("root on the nodes of c2"), expected, "{text}");
        assert!(text.contains("read Secrets or create pods in team-a of c1 can use that"), "{text}");
        assert!(text.contains("act as any service account of batch"), "{text}");
        let anywhere = "create ServiceAccountImports in any namespace of c1 can import that service account";
        assert!(text.contains(anywhere) && !text.contains("whoever"), "{text}");
    }

    #[test]
    fn example_pod_must_run_in_the_source() {
        let run = example("kubectl --context c1", &launch());
        let start = "kubectl --context c1 -n team-a run hello-c2 --image busybox --restart Never \
                     --annotations multicluster.admiralty.io/clustername=c2 \
                     --annotations multicluster.admiralty.io/remote-namespace=batch -- hostname\n";
        assert!(run.starts_with(start), "{run}");
    }

    #[rstest]
    #[case(None, None, Some("enforce=baseline"))]
    #[case(None, Some(PodSecurity::Restricted), Some("enforce=restricted"))]
    #[case(Some("baseline"), None, None)]
    #[case(Some("baseline"), Some(PodSecurity::Baseline), None)]
    #[case(Some("privileged"), Some(PodSecurity::Baseline), Some("enforces privileged, not baseline"))]
    fn existing_namespace_keeps_its_level(
        #[case] stored: Option<&str>,
        #[case] asked: Option<PodSecurity>,
        #[case] expected: Option<&str>,
    ) {
        let warning = level_warning("batch", stored, asked, "kubectl --context c2");
        match (warning, expected) {
            (None, None) => {}
            (Some(warning), Some(expected)) => {
                assert!(warning.contains(expected), "{warning}");
                assert!(warning.contains("kubectl --context c2 label namespace batch"), "{warning}");
            }
            (warning, _) => panic!("{warning:?}"),
        }
    }
}
