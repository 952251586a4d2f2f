//! Objects that could not be read, which may have problems.

use crate::commands::check::facts::{CheckRequest, Facts};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let not_checked = facts.not_checked.iter().map(|it| {
        let object = Subject { kind: it.kind.clone(), namespace: it.namespace.clone(), name: "*".into() };
        let message = format!("not checked: {}", it.error);
        let fix = if it.is_refused {
            can_i(it.namespace.as_deref(), commands)
        } else {
            commands.kubectl(&["get", "--raw", "/readyz?verbose"])
        };
        // Without imports, nothing was checked, and a script must not take that for success.
        if it.kind == "ServiceAccountImport" {
            Finding::problem(object, "NotChecked", message, fix)
        } else {
            Finding::warning(object, "NotChecked", message, fix)
        }
    });
    let check_request = match &facts.check_request {
        CheckRequest::Failed(error) => {
            let namespace = mcsa_client::contract::SYSTEM_NAMESPACE;
            let message = format!(
                "connectivity of links not checked, so findings rely on their last status: {error}; the check needs \
                 the right to patch serviceaccountimports in namespace {namespace}"
            );
            let object = Subject::namespaced("ServiceAccountImport", namespace, "*");
            Some(Finding::warning(object, "CheckNotRequested", message, can_i(Some(namespace), commands)))
        }
        CheckRequest::NotSent | CheckRequest::Sent { .. } => None,
    };
    not_checked.chain(check_request).collect()
}

fn can_i(namespace: Option<&str>, commands: &FixCommands) -> String {
    let args = ["auth", "can-i", "--list"];
    namespace.map_or_else(|| commands.kubectl(&args), |namespace| commands.in_namespace(namespace, &args))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::NotChecked;
    use crate::commands::check::fix::tests::commands;
    use rstest::rstest;

    #[rstest]
    #[case::refused(true, "kubectl --context c1 auth can-i --list")]
    #[case::failed(false, "kubectl --context c1 get --raw '/readyz?verbose'")]
    fn rights_are_suggested_only_after_a_refusal(#[case] is_refused: bool, #[case] fix: &str) {
        let not_checked =
            vec![NotChecked { kind: "Pod".into(), namespace: None, error: "no".into(), is_refused }];
        let findings = judge(&Facts { not_checked, ..Facts::default() }, &commands());
        assert_eq!(findings[0].fix, fix);
    }
}
