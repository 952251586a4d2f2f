//! What was granted, in plain sentences, and what to do next.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Resource};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::args::OneSide;
use super::{Made, Wish};
use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::cluster::object;
use crate::link::connect::Connected;
use crate::link::grants::{self, Grants};
use crate::link::plan::{Way, elsewhere};
use crate::link::{declare, desired};

/// Says what was granted, and the next command.
///
/// # Errors
/// When the example can't be written as YAML.
pub async fn report(connected: &Connected, way: &Way, made: &Made) -> anyhow::Result<()> {
    let (target, source) = (connected.target(), connected.source());
    output::say(
        &source.name,
        &format!("granted to {}, as service account {SYSTEM_NAMESPACE}/{}:", target.name, target.name),
    );
    for sentence in made.authorized.grants().sentences(&target.name, made.verified.policy()) {
        output::say(&source.name, &format!("- {sentence}"));
    }
    let flags = connected.plan().flags();
    let change = match made.authorized.grants() {
        Grants::Everything => {
            format!("to narrow that: {} --allow NAMESPACE[/NAME]", flags.of("bootstrap", ""))
        }
        Grants::Only(_) => format!("to change that: {}; or deny", flags.of("allow", "NAMESPACE[/NAME]")),
    };
    output::say(&source.name, &change);
    output::say(&source.name, &format!("to end it: {}", flags.of("unlink", "")));
    if connected.plan().flags().others.iter().any(|(flag, _)| *flag == "--link-ttl") {
        let said = format!(
            "tokens that the link got before live as long as they did; to end them: {}",
            flags.of("rotate", "")
        );
        output::say(&source.name, &said);
    }
    if let Some(expires_at) = made.verified.expires_at() {
        output::say(
            &target.name,
            &format!(
                "linked to {} at {}; the link's token expires at {}, and the importer refreshes it",
                source.name,
                way.endpoint().server,
                to_the_second(expires_at)
            ),
        );
    }
    if way.same_host_only() {
        output::warn(
            &target.name,
            &format!(
                "{} works only for an importer that runs on this machine; for importers in pods run: {}",
                way.endpoint().server,
                connected.plan().flags().again_with("--source-server", &elsewhere(&way.endpoint().server))
            ),
        );
    }
    if !has_importer(connected).await {
        let flags = connected.plan().target().chosen().kubectl().replacen("kubectl", "", 1);
        output::say(
            &target.name,
            &format!("there is no importer yet; to install it: kubemcsa install{flags}"),
        );
    }
    output::say(&target.name, "next, import a service account, such as one called pod-lister:");
    output::paste(&next(&connected.plan().target().chosen().kubectl(), &source.name)?);
    Ok(())
}

/// Prints the objects for both sides instead, or for one.
///
/// # Errors
/// When a cluster can't be asked what there is, or stdout can't be written to.
pub async fn print(connected: &Connected, wish: &Wish, only: Option<OneSide>) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    let stored = grants::stored(source, &target.name).await?;
    let seconds = declare::lifetime(connected, wish.seconds).await?;
    let on_source = desired::source_objects(connected, &wish.grants_of(connected, &stored)?)?;
    for object in stored.beyond(&on_source) {
        let said = format!("delete {}, too: by it {} has more than that", object::title(object), target.name);
        output::warn(&source.name, &said);
    }
    let sides = [
        (OneSide::Source, "source", &source.name, on_source),
        (OneSide::Target, "target", &target.name, desired::target_objects(connected, seconds)?),
    ];
    for (_, side, name, objects) in
        sides.into_iter().filter(|(side, ..)| only.is_none_or(|only| only == *side))
    {
        for object in objects {
            output::document(&format!("{name} (the {side}): {}", object::title(&object)), &object)?;
        }
    }
    output::say(
        &target.name,
        "printed, not applied; the link's token is not among it: after applying, bootstrap without -o mints it",
    );
    Ok(())
}

/// Whoever runs the importer outside the cluster knows that there is no Deployment.
async fn has_importer(connected: &Connected) -> bool {
    let deployments: Api<Deployment> = Api::namespaced(connected.target().client.clone(), SYSTEM_NAMESPACE);
    let found = connected.target().call("read deployment importer", deployments.get_opt("importer")).await;
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
