//! What could not be looked at: nothing is known of it, and that is not the same as that it is well.

use crate::commands::check::facts::{Asked, Facts};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::Mend;

/// The rule.
pub fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
    let unseen = facts.unseen.iter().map(|unseen| {
        let object =
            Subject { kind: unseen.kind.clone(), namespace: unseen.namespace.clone(), name: "*".into() };
        let message = format!("this could not be looked at: {}; ask for the right to", unseen.why);
        let mend = can_i(unseen.namespace.as_deref(), mend);
        // Who sees no imports has checked nothing, and a script must not take that for the answer.
        if unseen.kind == "ServiceAccountImport" {
            Finding::problem(object, "NotSeen", message, mend)
        } else {
            Finding::warning(object, "NotSeen", message, mend)
        }
    });
    let asked = match &facts.asked {
        Asked::Refused(why) => {
            let message = format!(
                "the importer could not be asked, so what is said of links is what their status says: {why}; ask for \
                 the right to patch imports of the system namespace"
            );
            let namespace = mcsa_client::contract::SYSTEM_NAMESPACE;
            let object = Subject::namespaced("ServiceAccountImport", namespace, "*");
            Some(Finding::warning(object, "NotAsked", message, can_i(Some(namespace), mend)))
        }
        Asked::Nothing | Asked::Request(..) => None,
    };
    unseen.chain(asked).collect()
}

fn can_i(namespace: Option<&str>, mend: &Mend) -> String {
    let words = ["auth", "can-i", "--list"];
    namespace.map_or_else(|| mend.kubectl(&words), |namespace| mend.in_namespace(namespace, &words))
}
