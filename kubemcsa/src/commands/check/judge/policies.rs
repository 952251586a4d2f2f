//! ImportPolicies: do they permit the imports, and do they permit anything at all?

use std::collections::BTreeMap;

use mcsa_client::ServiceAccountImport;
use mcsa_client::policy::Permission;
use mcsa_credentials::permission::{problem, request};

use super::links::link_to;
use super::state::{failure, subject};
use crate::cluster::policies::{Policies, Policy};
use crate::commands::check::facts::Facts;
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

/// The importer reports the same reason.
const NOT_PERMITTED: &str = "NotPermitted";

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let Some(policies) = &facts.policies else { return Vec::new() };
    let mut findings = not_permitted(facts, policies, commands);
    findings.extend(policies.all.iter().filter_map(|policy| judge_policy(facts, policy, commands)));
    findings
}

/// The imports that the importer will refuse, and has not reported yet. Those of a namespace and a service account share
/// a finding.
fn not_permitted(facts: &Facts, policies: &Policies, commands: &FixCommands) -> Vec<Finding> {
    let mut groups: BTreeMap<_, Vec<&ServiceAccountImport>> = BTreeMap::new();
    for import in facts.other_imports() {
        let is_reported = failure(import).is_some_and(|failure| failure.reason == NOT_PERMITTED);
        if !is_reported && matches!(policies.permission(request(import)), Permission::NotPermitted(_)) {
            let spec = &import.spec;
            let account = (&spec.cluster_name, &spec.namespace, &spec.name);
            groups.entry((&import.metadata.namespace, account)).or_default().push(import);
        }
    }
    let finding = |imports: Vec<&ServiceAccountImport>| {
        let import = imports.first()?;
        let others = match imports.len() - 1 {
            0 => String::new(),
            count => format!(" (also for {count} other imports)"),
        };
        let fix = commands.allow_for(link_to(facts, &import.spec.cluster_name), import);
        let message = format!("{}{others}", problem(request(import)));
        Some(Finding::problem(subject(import), NOT_PERMITTED, message, fix))
    };
    groups.into_values().filter_map(finding).collect()
}

fn judge_policy(facts: &Facts, policy: &Policy, commands: &FixCommands) -> Option<Finding> {
    let object = Subject::cluster_scoped("ImportPolicy", &policy.name);
    let kubectl = |verb| commands.kubectl(&[verb, "importpolicies", &policy.name]);
    if let Some(error) = &policy.error {
        let message =
            format!("the importer takes it as a policy for all sources that permits nothing: {error}");
        return Some(Finding::problem(object, "InvalidPolicy", message, kubectl("edit")));
    }
    let unlinked = policy.spec.cluster_name.as_deref();
    let unlinked = unlinked.filter(|source| facts.links.is_some() && link_to(facts, source).is_none());
    if let Some(source) = unlinked {
        let message = format!("there is no link to {source}: link it, or correct clusterName");
        return Some(Finding::warning(object, "PolicyWithoutLink", message, kubectl("describe")));
    }
    policy.permits_nothing().then(|| {
        let source = policy.spec.cluster_name.as_deref().unwrap_or("any source");
        let message = format!(
            "it permits nothing from {source}, because it lacks namespaces or service accounts; without the last policy, \
             everything is permitted"
        );
        Finding::warning(object, "PolicyPermitsNothing", message, kubectl("describe"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Severity;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{self, facts, import, import_status, link};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn policies(specs: &[Value]) -> Option<Policies> {
        let policy = |(index, spec): (usize, &Value)| Policy {
            name: format!("p{index}"),
            spec: serde_json::from_value(spec.clone()).unwrap(),
            error: None,
        };
        Some(Policies { all: specs.iter().enumerate().map(policy).collect(), ..Default::default() })
    }

    /// Facts with a link to c2.
    fn linked(specs: &[Value]) -> Facts {
        let links = Some(vec![link("c2", import_status(true, None), None)]);
        Facts { policies: policies(specs), links, ..facts() }
    }

    fn shop() -> Value {
        json!({ "clusterName": "c2", "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*" }] })
    }

    #[rstest]
    #[case::no_policy(&[], "team", None, 0)]
    #[case::permitted(&[shop()], "shop", None, 0)]
    #[case::not_permitted(&[shop()], "team", None, 1)]
    #[case::reported_by_the_importer(&[shop()], "team", Some(NOT_PERMITTED), 0)]
    #[case::other_failure(&[shop()], "team", Some("Forbidden"), 1)]
    fn import_needs_a_policy(
        #[case] specs: &[Value],
        #[case] namespace: &str,
        #[case] failure: Option<&str>,
        #[case] expected: usize,
    ) {
        let names = ["a", "b"];
        let imports = names.map(|name| import(namespace, name, "c2", import_status(true, failure)));
        let findings = judge(&Facts { imports: samples::imports(imports), ..linked(specs) }, &commands());
        assert_eq!(findings.len(), expected, "{findings:?}");
        for finding in findings {
            assert_eq!((finding.severity, finding.reason.as_str()), (Severity::Problem, NOT_PERMITTED));
            assert!(finding.message.ends_with("(also for 1 other imports)"), "{}", finding.message);
            assert_eq!(
                finding.fix,
                "kubemcsa allow default/pod-lister --for team --target-context c1 --target-name c1 --source-context \
                 SOURCE_CONTEXT --source-name c2"
            );
        }
    }

    #[rstest]
    #[case::permits_something(shop(), None)]
    #[case::all_sources(json!({ "namespaces": ["a"], "serviceAccounts": [{ "namespace": "*" }] }), None)]
    #[case::selector(json!({ "namespaceSelector": {}, "serviceAccounts": [{ "namespace": "*" }] }), None)]
    #[case::no_accounts(json!({ "clusterName": "c2", "namespaces": ["shop"] }), Some("PolicyPermitsNothing"))]
    #[case::no_namespaces(json!({ "serviceAccounts": [{ "namespace": "*" }] }), Some("PolicyPermitsNothing"))]
    #[case::no_link(json!({ "clusterName": "c9" }), Some("PolicyWithoutLink"))]
    fn policy_that_has_no_effect_is_a_warning(#[case] spec: Value, #[case] expected: Option<&str>) {
        let findings = judge(&linked(&[spec]), &commands());
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), expected);
        assert!(findings.iter().all(|finding| finding.severity == Severity::Warning), "{findings:?}");
    }

    #[test]
    fn invalid_policy_is_a_problem() {
        let mut facts = linked(&[json!({})]);
        for policy in facts.policies.iter_mut().flat_map(|policies| &mut policies.all) {
            policy.error = Some("invalid type".into());
        }
        let findings = judge(&facts, &commands());
        assert_eq!((findings[0].severity, findings[0].reason.as_str()), (Severity::Problem, "InvalidPolicy"));
        assert_eq!(findings[0].fix, "kubectl --context c1 edit importpolicies p0");
    }
}
