//! Launch imports: does the launcher run, may it read their Secrets, and are there virtual nodes?

use std::collections::BTreeMap;

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::READY;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::{LABEL, LAUNCHER, STOPPING};

use super::links::link_to;
use super::state::subject;
use crate::commands::check::facts::{DeploymentStatus, Facts, Node};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let imports: Vec<_> = facts.launch_imports().collect();
    if imports.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let not_running = not_running(facts, imports.len(), commands);
    for import in &imports {
        findings.extend(not_readable(facts, import, commands));
        findings.extend(webhook_not_enabled(facts, import, commands));
        findings.extend(stopping(facts, import, commands));
    }
    if not_running.is_none() {
        findings.extend(wrong_nodes(facts, &imports, commands));
    }
    findings.extend(not_running);
    findings
}

fn not_running(facts: &Facts, imports: usize, commands: &FixCommands) -> Option<Finding> {
    let launcher = &facts.launcher;
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, LAUNCHER);
    let effect = match imports {
        1 => "so no pod runs with 1 launch import".to_owned(),
        count => format!("so no pod runs with {count} launch imports"),
    };
    match &launcher.deployment {
        _ if !launcher.is_readable => None,
        None => {
            let message = format!("the launcher is not installed, {effect}");
            Some(Finding::problem(object, "NotInstalled", message, commands.install()))
        }
        Some(DeploymentStatus { available, .. }) if *available > 0 => None,
        Some(DeploymentStatus { desired: 0, .. }) => {
            let message = format!("the launcher's Deployment is scaled to 0, {effect}");
            let fix = commands.in_system(&["scale", "deployment", LAUNCHER, "--replicas=2"]);
            Some(Finding::problem(object, "LauncherNotRunning", message, fix))
        }
        Some(DeploymentStatus { desired, .. }) => {
            let message = format!("0 of {desired} pods of the launcher are available, {effect}");
            let fix = commands.in_system(&["describe", "pods", "-l", "app.kubernetes.io/name=launcher"]);
            Some(Finding::problem(object, "LauncherNotRunning", message, fix))
        }
    }
}

fn not_readable(facts: &Facts, import: &ServiceAccountImport, commands: &FixCommands) -> Option<Finding> {
    let key = (import.namespace().unwrap_or_default(), import.name_any());
    facts.launcher.denied.contains(&key).then(|| {
        let message = format!(
            "the launcher may not read Secret {}: the namespace has no Role for it, bound to service account \
             {SYSTEM_NAMESPACE}/{LAUNCHER}",
            import.secret_name()
        );
        let link = link_to(facts, &import.spec.cluster_name);
        Finding::problem(subject(import), "LauncherForbidden", message, commands.launch(link, import))
    })
}

/// The annotations of pods have no effect without the webhook.
fn webhook_not_enabled(
    facts: &Facts,
    import: &ServiceAccountImport,
    commands: &FixCommands,
) -> Option<Finding> {
    let namespace = import.namespace()?;
    let is_enabled = facts.namespaces.as_ref()?.get(&namespace)?;
    (!is_enabled).then(|| {
        let message = format!(
            "the webhook is not enabled in namespace {namespace}, so annotations of its pods don't choose a cluster"
        );
        Finding::warning(subject(import), "WebhookNotEnabled", message, commands.enable_webhook(&namespace))
    })
}

/// `kubemcsa launch --stop` still waits, or was interrupted.
fn stopping(facts: &Facts, import: &ServiceAccountImport, commands: &FixCommands) -> Option<Finding> {
    let is_stopping = import.labels().get(LABEL).is_some_and(|value| value == STOPPING);
    is_stopping.then(|| {
        let (namespace, source) = (import.namespace().unwrap_or_default(), &import.spec.cluster_name);
        let launch = commands.launch(link_to(facts, source), import);
        let message = format!(
            "the launch is being stopped: no new pods of namespace {namespace} are placed in {source}, and the others run \
             until they end; to finish: {launch} --stop; or take the stop back"
        );
        Finding::warning(subject(import), "LaunchStopping", message, launch)
    })
}

/// The launcher creates a node once an import of its source is ready.
fn wrong_nodes(facts: &Facts, imports: &[&ServiceAccountImport], commands: &FixCommands) -> Vec<Finding> {
    let is_usable = |import: &&&ServiceAccountImport| {
        let key = (import.namespace().unwrap_or_default(), import.name_any());
        let is_ready = import.condition(READY).is_some_and(|ready| ready.status == "True");
        is_ready && !facts.launcher.denied.contains(&key)
    };
    let usable: BTreeMap<_, _> =
        imports.iter().filter(is_usable).map(|import| (import.spec.cluster_name.as_str(), import)).collect();
    let finding = |source: &str| {
        let object = Subject::cluster_scoped("Node", source);
        match facts.launcher.nodes.get(source)? {
            Node::Virtual => None,
            Node::Missing => {
                let message = format!("the launcher has not created the virtual node of {source}");
                let fix =
                    commands.in_system(&["logs", "-l", "app.kubernetes.io/name=launcher", "--tail=100"]);
                Some(Finding::problem(object, "NodeMissing", message, fix))
            }
            Node::Other => {
                let message = format!(
                    "a node that is not virtual has the name of source {source}, so no pods can be sent there; link the \
                     source under another name"
                );
                Some(Finding::problem(
                    object,
                    "NodeNameConflict",
                    message,
                    commands.kubectl(&["get", "node", source]),
                ))
            }
        }
    };
    usable.into_keys().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::Launcher;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{self, import_status};
    use rstest::rstest;

    /// A launch import of c2 that works.
    fn facts() -> Facts {
        facts_with_label("true")
    }

    fn facts_with_label(label: &str) -> Facts {
        let mut import = samples::import("team-a", "launch-c2", "c2", import_status(true, None));
        import.labels_mut().insert(LABEL.into(), label.into());
        Facts {
            imports: samples::imports([
                import,
                samples::import("team-b", "a", "c3", import_status(true, None)),
            ]),
            namespaces: Some([("team-a".to_owned(), true), ("team-b".to_owned(), false)].into()),
            launcher: Launcher {
                deployment: Some(DeploymentStatus { desired: 2, available: 1 }),
                is_readable: true,
                nodes: [("c2".to_owned(), Node::Virtual)].into(),
                ..Default::default()
            },
            ..samples::facts()
        }
    }

    fn reasons(facts: &Facts) -> Vec<String> {
        judge(facts, &commands()).into_iter().map(|finding| finding.reason).collect()
    }

    #[test]
    fn working_launch_import_has_no_finding() {
        assert_eq!(judge(&facts(), &commands()), []);
        let without = Facts { imports: samples::imports([]), launcher: Launcher::default(), ..facts() };
        assert_eq!(judge(&without, &commands()), [], "the launcher is not needed without launch imports");
    }

    #[rstest]
    #[case::not_installed(None, "NotInstalled", "kubemcsa install --context c1")]
    #[case::scaled_down(Some((0, 0)), "LauncherNotRunning",
        "kubectl --context c1 -n multicluster-service-account scale deployment launcher --replicas=2")]
    #[case::not_ready(Some((2, 0)), "LauncherNotRunning",
        "kubectl --context c1 -n multicluster-service-account describe pods -l app.kubernetes.io/name=launcher")]
    fn launcher_must_run(#[case] pods: Option<(i32, i32)>, #[case] reason: &str, #[case] fix: &str) {
        let mut facts = facts();
        facts.launcher.deployment = pods.map(|(desired, available)| DeploymentStatus { desired, available });
        facts.launcher.nodes.insert("c2".into(), Node::Missing);
        let findings = judge(&facts, &commands());
        let found: Vec<_> = findings.iter().map(|it| (it.reason.as_str(), it.fix.as_str())).collect();
        assert_eq!(found, [(reason, fix)], "the missing node follows from it");
        facts.launcher.is_readable = false;
        facts.launcher.nodes.clear();
        assert!(reasons(&facts).is_empty(), "the launcher may run");
    }

    #[rstest]
    #[case(Node::Missing, "NodeMissing")]
    #[case(Node::Other, "NodeNameConflict")]
    fn virtual_node_must_exist(#[case] node: Node, #[case] reason: &str) {
        let mut facts = facts();
        facts.launcher.nodes.insert("c2".into(), node);
        assert_eq!(reasons(&facts), [reason]);
    }

    #[test]
    fn launcher_must_be_allowed_to_read_the_secret() {
        let mut facts = facts();
        facts.launcher.denied.insert(("team-a".into(), "launch-c2".into()));
        facts.launcher.nodes.insert("c2".into(), Node::Missing);
        let findings = judge(&facts, &commands());
        assert_eq!(findings.len(), 1, "the missing node follows from it: {findings:?}");
        assert_eq!(findings[0].reason, "LauncherForbidden");
        assert_eq!(
            findings[0].fix,
            "kubemcsa launch team-a --remote-namespace default --target-context c1 --source-context SOURCE_CONTEXT \
             --source-name c2"
        );
    }

    #[test]
    fn interrupted_stop_is_reported() {
        let findings = judge(&facts_with_label(STOPPING), &commands());
        let [Finding { reason, message, fix, .. }] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(reason, "LaunchStopping");
        assert!(
            fix.contains("--target-context c1") && message.contains(&format!("{fix} --stop;")),
            "{message}"
        );
        assert_eq!(reasons(&facts_with_label("false")), [""; 0]);
    }

    #[test]
    fn webhook_must_be_enabled_in_the_namespace() {
        let facts = Facts { namespaces: Some([("team-a".to_owned(), false)].into()), ..facts() };
        assert_eq!(reasons(&facts), ["WebhookNotEnabled"]);
    }
}
