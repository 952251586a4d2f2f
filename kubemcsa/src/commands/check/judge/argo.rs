//! Launch imports and Argo Workflows: may the outputs of steps come home, do steps wait because they may not, and can
//! templates have the fields that select a cluster?

use std::collections::BTreeMap;

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::READY;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::{LABEL, LAUNCHER, OUTPUTS_NOT_KEPT};
use mcsa_credentials::names::stub_workflow;

use super::links::link_to;
use super::state::subject;
use crate::commands::check::facts::{Facts, Missing, Node, WaitingStep, is_for_argo};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let waiting = waiting(facts);
    // The fix would take back the stop of an import that is being stopped.
    let is_used =
        |import: &&ServiceAccountImport| import.labels().get(LABEL).is_some_and(|value| value == "true");
    let mut findings = Vec::new();
    for import in facts.launch_imports().filter(is_used) {
        if is_for_argo(import) && facts.launcher.outputs_denied.contains(&key(import)) {
            findings.push(outputs_forbidden(facts, import, commands));
        }
        for missing in [Missing::Rights, Missing::Stub] {
            if let Some(steps) = waiting.get(&(key(import), missing)) {
                findings.push(steps_wait(facts, import, *steps, missing, commands));
            }
        }
    }
    let mut for_argo = facts.launch_imports().filter(is_used).filter(|import| is_for_argo(import));
    findings.extend(for_argo.next().and_then(|import| template_fields_missing(facts, import, commands)));
    findings
}

/// `import`: any launch import for Argo.
fn template_fields_missing(
    facts: &Facts,
    import: &ServiceAccountImport,
    commands: &FixCommands,
) -> Option<Finding> {
    let without = &facts.launcher.without_template_fields;
    let object = Subject::cluster_scoped("CustomResourceDefinition", without.first()?);
    let message = format!(
        "templates of Argo Workflows can't use the fields cluster and namespace: the schemas of these CRDs lack them: {}; \
         use the annotations until launch has added the fields",
        without.join(", ")
    );
    let fix = commands.launch_argo(link_to(facts, &import.spec.cluster_name), import);
    Some(Finding::warning(object, "TemplateFieldsMissing", message, fix))
}

fn outputs_forbidden(facts: &Facts, import: &ServiceAccountImport, commands: &FixCommands) -> Finding {
    let (namespace, source) = (import.namespace().unwrap_or_default(), &import.spec.cluster_name);
    let message = format!(
        "the launcher may not create and patch workflowtaskresults.argoproj.io in namespace {namespace}, so steps of Argo \
         Workflows don't start in {source}, and those that run there fail: the namespace has no Role for it, bound to \
         service account {SYSTEM_NAMESPACE}/{LAUNCHER}"
    );
    let fix = commands.launch_argo(link_to(facts, source), import);
    Finding::problem(subject(import), "OutputsForbidden", message, fix)
}

fn steps_wait(
    facts: &Facts,
    import: &ServiceAccountImport,
    steps: usize,
    missing: Missing,
    commands: &FixCommands,
) -> Finding {
    let source = &import.spec.cluster_name;
    let wait = match steps {
        1 => "1 step of Argo Workflows waits".to_owned(),
        steps => format!("{steps} steps of Argo Workflows wait"),
    };
    let (reason, why) = match missing {
        Missing::Rights => {
            ("ArgoNotLaunched", "the launcher lacks rights to the outputs of Argo's steps".to_owned())
        }
        Missing::Stub => (
            OUTPUTS_NOT_KEPT,
            format!(
                "{source} has the kind Workflow, but not Workflow {}/{} that owns the outputs of steps",
                import.spec.namespace,
                stub_workflow(&import.spec.name)
            ),
        ),
    };
    let message = format!("{wait} on node {source}, because {why}: launch again, with --argo");
    let fix = commands.launch_argo(link_to(facts, source), import);
    Finding::warning(subject(import), reason, message, fix)
}

/// The number of steps that wait for each launch import.
fn waiting(facts: &Facts) -> BTreeMap<((String, String), Missing), usize> {
    // Many steps may wait for the same import.
    let mut alike: BTreeMap<&WaitingStep, usize> = BTreeMap::new();
    for step in &facts.waiting_steps {
        *alike.entry(step).or_default() += 1;
    }
    let mut waiting = BTreeMap::new();
    for (step, count) in alike {
        if let Some(import) = import_of(facts, step) {
            *waiting.entry((key(import), step.missing)).or_default() += count;
        }
    }
    waiting
}

/// The launch import of a step. The launcher selects it in the same way.
fn import_of<'a>(facts: &'a Facts, step: &WaitingStep) -> Option<&'a ServiceAccountImport> {
    if facts.launcher.nodes.get(&step.node) == Some(&Node::Other) {
        return None;
    }
    let is_usable = |import: &&ServiceAccountImport| {
        import.spec.cluster_name == step.node
            && import.namespace().as_ref() == Some(&step.namespace)
            && import.condition(READY).is_some_and(|ready| ready.status == "True")
    };
    let imports: Vec<_> = facts.launch_imports().filter(is_usable).collect();
    let into = |remote: &str| imports.iter().copied().find(|import| import.spec.namespace == remote);
    match (&step.remote_namespace, &*imports) {
        (Some(remote), _) => into(remote),
        (None, [import]) => Some(*import),
        (None, _) => into(&step.namespace),
    }
}

fn key(import: &ServiceAccountImport) -> (String, String) {
    (import.namespace().unwrap_or_default(), import.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Severity;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{self, import_status};
    use mcsa_credentials::contract::launch::{ARGO, STOPPING};
    use rstest::rstest;

    /// A launch import of team-a.
    fn import(name: &str, source: &str, remote_namespace: &str, argo: &str) -> ServiceAccountImport {
        let mut import = samples::import("team-a", name, source, import_status(true, None));
        import.spec.namespace = remote_namespace.into();
        import.labels_mut().insert(LABEL.into(), "true".into());
        import.annotations_mut().insert(ARGO.into(), argo.into());
        import
    }

    fn facts(imports: impl IntoIterator<Item = ServiceAccountImport>) -> Facts {
        Facts { imports: samples::imports(imports), ..samples::facts() }
    }

    fn step(namespace: &str, node: &str, remote_namespace: Option<&str>) -> WaitingStep {
        WaitingStep {
            namespace: namespace.into(),
            node: node.into(),
            remote_namespace: remote_namespace.map(Into::into),
            missing: Missing::Rights,
        }
    }

    fn without_stub() -> WaitingStep {
        WaitingStep { missing: Missing::Stub, ..step("team-a", "c2", None) }
    }

    const FIX: &str = "kubemcsa launch team-a --remote-namespace batch --target-context c1 --source-context SOURCE_CONTEXT \
                       --source-name c2 --argo";

    #[rstest]
    #[case::denied("true", true, Some("OutputsForbidden"))]
    #[case::allowed("true", false, None)]
    #[case::not_for_argo("false", true, None)]
    fn launcher_must_be_allowed_to_write_outputs(
        #[case] argo: &str,
        #[case] is_denied: bool,
        #[case] expected: Option<&str>,
    ) {
        let mut facts = facts([import("a", "c2", "batch", argo)]);
        facts.launcher.outputs_denied.extend(is_denied.then(|| ("team-a".to_owned(), "a".to_owned())));
        let findings = judge(&facts, &commands());
        let found = findings.iter().map(|it| (it.severity, it.reason.as_str(), it.fix.as_str()));
        let expected = expected.map(|reason| (Severity::Problem, reason, FIX));
        assert_eq!(Vec::from_iter(found), Vec::from_iter(expected));
    }

    #[rstest]
    #[case::lacking("true", &["cronworkflows.argoproj.io", "workflows.argoproj.io"], 1)]
    #[case::complete("true", &[], 0)]
    #[case::not_for_argo("false", &["workflows.argoproj.io"], 0)]
    fn crds_without_template_fields_share_a_finding(
        #[case] argo: &str,
        #[case] without: &[&'static str],
        #[case] expected: usize,
    ) {
        let imports = ["a", "b"].map(|name| import(name, "c2", "batch", argo));
        let mut facts = facts(imports);
        facts.launcher.without_template_fields = without.to_vec();
        let findings = judge(&facts, &commands());
        assert_eq!(findings.len(), expected, "{findings:?}");
        for finding in findings {
            assert_eq!((finding.severity, finding.fix.as_str()), (Severity::Warning, FIX));
            assert_eq!(finding.object.name, without[0]);
            assert!(finding.message.contains(&without.join(", ")), "{finding:?}");
        }
    }

    #[rstest]
    #[case::waits(step("team-a", "c2", None), Some("ArgoNotLaunched"))]
    #[case::waits_for_the_stub(without_stub(), Some("OutputsNotKept"))]
    #[case::namespace_is_selected(step("team-a", "c2", Some("batch")), Some("ArgoNotLaunched"))]
    #[case::other_namespace_is_selected(step("team-a", "c2", Some("other")), None)]
    #[case::other_node(step("team-a", "node-1", None), None)]
    #[case::other_namespace(step("team-b", "c2", None), None)]
    fn steps_wait_for_a_launch_with_argo(#[case] step: WaitingStep, #[case] expected: Option<&str>) {
        let facts = Facts { waiting_steps: vec![step], ..facts([import("a", "c2", "batch", "true")]) };
        let findings = judge(&facts, &commands());
        let found = findings.iter().map(|it| (it.severity, it.reason.as_str(), it.fix.as_str()));
        let expected = expected.map(|reason| (Severity::Warning, reason, FIX));
        assert_eq!(Vec::from_iter(found), Vec::from_iter(expected));
    }

    #[test]
    fn launch_that_is_being_stopped_or_is_not_ready_has_no_finding() {
        let mut stopping = import("a", "c2", "batch", "true");
        stopping.labels_mut().insert(LABEL.into(), STOPPING.into());
        let mut failed = import("a", "c2", "batch", "false");
        failed.status = serde_json::from_value(import_status(false, None)).unwrap();
        for import in [stopping, failed] {
            let mut facts = facts([import]);
            facts.waiting_steps = vec![step("team-a", "c2", None)];
            assert_eq!(judge(&facts, &commands()), []);
        }
    }

    #[rstest]
    #[case::same_name(&["batch", "team-a"], None, Some("1"))]
    #[case::selected(&["batch", "team-a"], Some("batch"), Some("0"))]
    #[case::ambiguous(&["batch", "other"], None, None)]
    fn one_of_several_launch_imports_is_selected_as_by_the_launcher(
        #[case] remotes: &[&str],
        #[case] selected: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let imports =
            remotes.iter().enumerate().map(|(i, remote)| import(&i.to_string(), "c2", remote, "false"));
        let facts = Facts { waiting_steps: vec![step("team-a", "c2", selected)], ..facts(imports) };
        let findings = judge(&facts, &commands());
        let found = findings.iter().map(|finding| finding.object.name.as_str());
        assert_eq!(Vec::from_iter(found), Vec::from_iter(expected));
    }

    #[test]
    fn steps_on_a_node_that_is_not_virtual_have_no_finding() {
        let mut facts = facts([import("a", "c2", "batch", "false")]);
        facts.waiting_steps = vec![step("team-a", "c2", None)];
        facts.launcher.nodes.insert("c2".into(), Node::Other);
        assert_eq!(judge(&facts, &commands()), []);
    }

    #[rstest]
    #[case(1, "1 step of Argo Workflows waits on node c2,")]
    #[case(1000, "1000 steps of Argo Workflows wait on node c2,")]
    fn steps_of_a_launch_import_share_a_finding(#[case] count: usize, #[case] expected: &str) {
        let mut facts = facts([import("a", "c2", "batch", "false")]);
        facts.waiting_steps = vec![step("team-a", "c2", None); count];
        facts.waiting_steps[0].remote_namespace = Some("batch".into());
        let findings = judge(&facts, &commands());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.starts_with(expected), "{findings:?}");
    }
}
