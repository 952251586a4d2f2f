//! Objects that could not be read, which may have problems.

use crate::commands::check::facts::{CheckRequest, Facts};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let not_checked = facts.not_checked.iter().map(|it| {
        let object = Subject { kind: it.kind.clone(), namespace: it.namespace.clone(), name: "*".into() };
        let message = format!("not checked: {}", it.error);
        let fix = can_i(it.namespace.as_deref(), commands);
        // Without imports, nothing was checked, and a script must not take that for success.
        if it.kind == "ServiceAccountImport" {
            Finding::problem(object, "NotSeen", message, fix)
        } else {
            Finding::warning(object, "NotSeen", message, fix)
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
            Some(Finding::warning(object, "NotAsked", message, can_i(Some(namespace), commands)))
        }
        CheckRequest::NotSent | CheckRequest::Sent { .. } => None,
    };
    not_checked.chain(check_request).collect()
}

fn can_i(namespace: Option<&str>, commands: &FixCommands) -> String {
    let args = ["auth", "can-i", "--list"];
    namespace.map_or_else(|| commands.kubectl(&args), |namespace| commands.in_namespace(namespace, &args))
}
