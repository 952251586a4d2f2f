//! The ImportPolicies for the source, which stay: without any, the next link would permit everything to all namespaces.

use crate::cli::output;
use crate::cluster::Cluster;
use crate::cluster::kubeconfig::{ChosenContext, shell_quote};
use crate::cluster::policies::{Policies, Policy};

/// Reports the policies that name the source, and how to delete them.
pub(crate) async fn report(target: &Cluster, chosen: &ChosenContext, source: &str) {
    match Policies::read(target).await {
        Ok(policies) => {
            if let Some(message) = kept(&policies.all, source, &chosen.kubectl()) {
                output::info(&target.name, &message);
            }
        }
        Err(error) => output::warn_of(&error),
    }
}

fn kept(policies: &[Policy], source: &str, kubectl: &str) -> Option<String> {
    let names_source = |policy: &&Policy| policy.spec.cluster_name.as_deref() == Some(source);
    let names: Vec<_> = policies.iter().filter(names_source).map(|it| shell_quote(&it.name)).collect();
    let count = match names.len() {
        0 => return None,
        1 => "1 ImportPolicy".to_owned(),
        count => format!("{count} ImportPolicies"),
    };
    Some(format!(
        "kept {count} for {source}, which apply again when it is linked again; to delete them: {kubectl} delete \
         importpolicies.multicluster.admiralty.io {}",
        names.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ImportPolicySpec;

    #[test]
    fn policies_that_name_the_source_are_kept() {
        let policy = |name: &str, source: Option<&str>| Policy {
            name: name.into(),
            spec: ImportPolicySpec { cluster_name: source.map(str::to_owned), ..Default::default() },
            error: None,
        };
        let policies = [policy("c2.a", Some("c2")), policy("c3.a", Some("c3")), policy("all", None)];
        let message = kept(&policies, "c2", "kubectl --context c1").unwrap();
        assert!(message.starts_with("kept 1 ImportPolicy for c2"), "{message}");
        assert!(
            message.ends_with("kubectl --context c1 delete importpolicies.multicluster.admiralty.io c2.a"),
            "{message}"
        );
        assert_eq!(kept(&policies, "c9", "kubectl"), None);
    }
}
