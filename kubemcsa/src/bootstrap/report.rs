//! What was granted, in plain sentences, and what to do next.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Resource};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::check::Checked;
use super::connect::Connected;
use super::refuse::elsewhere;
use super::{source, target};
use crate::times::to_the_second;
use crate::{object, output};

/// Says what was granted, and the next command.
///
/// # Errors
/// When the example can't be written as YAML.
pub async fn report(connected: &Connected, checked: &Checked) -> anyhow::Result<()> {
    let (target, source) = (&connected.target, &connected.source);
    for line in granted(&target.name, checked.policy) {
        output::say(&source.name, &line);
    }
    let kubectl = connected.plan.source.chosen.kubectl();
    output::say(
        &source.name,
        &format!("to revoke it: {kubectl} -n {SYSTEM_NAMESPACE} delete secret {}", target.name),
    );
    if let Some(expires_at) = checked.expires_at {
        output::say(
            &target.name,
            &format!(
                "linked to {} at {}; the link's token expires at {}, and the importer refreshes it",
                source.name,
                connected.plan.endpoint.server,
                to_the_second(expires_at)
            ),
        );
    }
    if connected.plan.same_host_only {
        output::warn(
            &target.name,
            &format!(
                "{} works only for an importer that runs on this machine; for importers in pods run: {}",
                connected.plan.endpoint.server,
                connected
                    .plan
                    .args
                    .again_with("--source-server", &elsewhere(&connected.plan.endpoint.server))
            ),
        );
    }
    if !has_importer(connected).await {
        let flags = connected.plan.target.chosen.kubectl().replacen("kubectl", "", 1);
        output::say(
            &target.name,
            &format!("there is no importer yet; to install it: kubemcsa install{flags}"),
        );
    }
    output::say(&target.name, "next, import a service account, such as one called pod-lister:");
    output::paste(&next(&connected.plan.target.chosen.kubectl(), &source.name)?);
    Ok(())
}

/// Prints the objects for both sides instead.
///
/// # Errors
/// When stdout can't be written to.
pub fn print(connected: &Connected) -> anyhow::Result<()> {
    let sides = [
        ("source", &connected.source.name, source::objects(connected)?),
        ("target", &connected.target.name, target::objects(connected)?),
    ];
    for (side, name, objects) in sides {
        for object in objects {
            output::document(&format!("{name} (the {side}): {}", object::title(&object)), &object)?;
        }
    }
    output::say(
        &connected.target.name,
        "printed, not applied; the link's token is not among it: after applying, bootstrap without -o mints it",
    );
    Ok(())
}

fn granted(target: &str, policy: bool) -> [String; 3] {
    let limits = if policy {
        format!(", but for those in kube-* and {SYSTEM_NAMESPACE}, for at most 24 hours")
    } else {
        " without exception, for any time".into()
    };
    [
        format!("granted to {target}, as service account {SYSTEM_NAMESPACE}/{target}:"),
        format!("- tokens of all service accounts{limits}; each has the rights of its service account"),
        "- to read service accounts, and which cluster this is; no Secrets, no pods, nothing else".into(),
    ]
}

/// Whoever runs the importer outside the cluster knows that there is no Deployment.
async fn has_importer(connected: &Connected) -> bool {
    let deployments: Api<Deployment> = Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let found = connected.target.call("read deployment importer", deployments.get_opt("importer")).await;
    !matches!(found, Ok(None))
}

/// kubectl reads some names as numbers or booleans where they are not quoted: the serializer knows.
fn next(kubectl: &str, source: &str) -> anyhow::Result<String> {
    let import = serde_json::json!({
        "apiVersion": ServiceAccountImport::api_version(&()),
        "kind": ServiceAccountImport::kind(&()),
        "metadata": { "name": format!("{source}-default-pod-lister"), "namespace": "default" },
        "spec": { "clusterName": source, "namespace": "default", "name": "pod-lister" },
    });
    Ok(format!("{kubectl} apply -f - <<EOF\n{}EOF\n", serde_saphyr::to_string(&import)?))
}

#[cfg(test)]
mod tests {
    use super::next;
    use mcsa_client::ServiceAccountImport;
    use rstest::rstest;

    #[rstest]
    #[case("c2", "clusterName: c2\n")]
    #[case("1.0", "clusterName: \"1.0\"\n")]
    #[case("on", "clusterName: \"on\"\n")]
    fn what_is_to_be_pasted_is_an_import(#[case] source: &str, #[case] line: &str) {
        let text = next("kubectl --context c1", source).unwrap();
        let yaml = text.strip_prefix("kubectl --context c1 apply -f - <<EOF\n").unwrap();
        let import: ServiceAccountImport =
            serde_saphyr::from_str(yaml.strip_suffix("EOF\n").unwrap()).unwrap();
        assert_eq!(import.spec.cluster_name, source);
        assert!(yaml.contains(line), "{yaml}");
    }
}
