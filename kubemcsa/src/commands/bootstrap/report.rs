//! Reports what was granted and what to do next, or prints the manifests instead.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Resource};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::args::OneSide;
use super::policies::{RequestedPolicies, report_scope};
use super::{Linked, RequestedRights};
use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::cluster::object;
use crate::commands::for_context;
use crate::link::connect::Connected;
use crate::link::grants::{Grants, Names};
use crate::link::route::{Route, placeholder};
use crate::link::{declare, desired};

pub(crate) async fn report(connected: &Connected, route: &Route, linked: &Linked) -> anyhow::Result<()> {
    let (target, source) = (connected.target(), connected.source());
    output::info(
        &source.name,
        &format!("permissions of {} (service account {SYSTEM_NAMESPACE}/{}):", target.name, target.name),
    );
    for sentence in linked.authorized.grants().sentences(&target.name, linked.verified.enforces_policy()) {
        output::info(&source.name, &format!("- {sentence}"));
    }
    let flags = connected.plan().flags();
    let change = match linked.authorized.grants() {
        Grants::Everything => {
            format!("to restrict them: {} --allow NAMESPACE[/NAME]", flags.other_command("bootstrap", ""))
        }
        Grants::Only(_) => {
            format!("to change them: {} (or deny)", flags.other_command("allow", "NAMESPACE[/NAME]"))
        }
    };
    output::info(&source.name, &change);
    output::info(&source.name, &format!("to remove the link: {}", flags.other_command("unlink", "")));
    if connected.plan().flags().others.iter().any(|(flag, _)| *flag == "--link-ttl") {
        let message = format!(
            "existing tokens of the link keep their lifetime; to revoke them: {}",
            flags.other_command("rotate", "")
        );
        output::info(&source.name, &message);
    }
    if let Some(expires_at) = linked.verified.expires_at() {
        output::info(
            &target.name,
            &format!(
                "linked to {} at {}; the link's token expires at {}, and the importer refreshes it",
                source.name,
                route.endpoint().server,
                to_the_second(expires_at)
            ),
        );
    }
    report_scope(connected, linked.authorized.grants()).await;
    if let Some(notice) = route.proxy_notice(&source.name) {
        output::info(&target.name, &notice);
    }
    if let Some(warning) = route.password_warning(&source.name) {
        output::warn(&target.name, &warning);
    }
    if route.same_host_only() {
        output::warn(
            &target.name,
            &format!(
                "{} works only for an importer on this machine; for importers in pods, run: {}",
                route.endpoint().server,
                connected.plan().flags().with_flag("--source-server", &placeholder(&route.endpoint().server))
            ),
        );
    }
    if !has_importer(connected).await {
        let install = for_context("install", connected.plan().target().chosen());
        output::info(&target.name, &format!("no importer is installed yet; to install it: {install}"));
    }
    if let Some((namespace, name)) = example_account(linked.authorized.grants()) {
        let message = format!("next, import a service account, for example {namespace}/{name}:");
        output::info(&target.name, &message);
        let kubectl = connected.plan().target().chosen().kubectl();
        output::paste(&example_import(&kubectl, &source.name, namespace, name)?);
    }
    Ok(())
}

/// Prints the objects for both sides, or for one.
pub(crate) async fn print_manifests(
    connected: &Connected,
    requested: &RequestedRights,
    policies: &RequestedPolicies,
    only: Option<OneSide>,
) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    let (wanted, stored) = requested.grants(connected).await?;
    let seconds = declare::lifetime(connected, requested.seconds).await?;
    let on_source = desired::source_objects(connected, &wanted)?;
    for object in stored.obsolete(&on_source) {
        let reference = object::reference(object);
        let message = format!("also delete {reference}: it grants {} more than these manifests", target.name);
        output::warn(&source.name, &message);
    }
    let mut on_target = desired::target_objects(connected, seconds)?;
    on_target.extend(policies.objects(connected).await?);
    let sides = [
        (OneSide::Source, "source", &source.name, on_source),
        (OneSide::Target, "target", &target.name, on_target),
    ];
    for (_, side, name, objects) in
        sides.into_iter().filter(|(side, ..)| only.is_none_or(|only| only == *side))
    {
        for object in objects {
            output::document(&format!("{name} (the {side}): {}", object::title(&object)), &object)?;
        }
    }
    output::info(
        &target.name,
        &format!(
            "nothing was applied; apply the manifests of both sides, then mint the link's token: {}",
            connected.plan().flags().command_line()
        ),
    );
    Ok(())
}

/// Whether the importer's Deployment exists; true if it can't be read. *Absent:* importers outside of the cluster.
async fn has_importer(connected: &Connected) -> bool {
    let deployments: Api<Deployment> = Api::namespaced(connected.target().client.clone(), SYSTEM_NAMESPACE);
    let found = connected.target().call("read deployment importer", deployments.get_opt("importer")).await;
    !matches!(found, Ok(None))
}

/// Namespace and name of a service account that the link may import; the name is an example if it may import all of a
/// namespace. `None`: it may import nothing.
fn example_account(grants: &Grants) -> Option<(&str, &str)> {
    const NAME: &str = "pod-lister";
    let Grants::Only(namespaces) = grants else { return Some(("default", NAME)) };
    let (namespace, names) = namespaces.iter().next()?;
    match names {
        Names::All => Some((namespace, NAME)),
        Names::These(names) => Some((namespace, names.first()?)),
    }
}

/// A command that applies an example import. The YAML serializer quotes names such as `1.0` and `on`.
fn example_import(kubectl: &str, source: &str, namespace: &str, name: &str) -> anyhow::Result<String> {
    let import = serde_json::json!({
        "apiVersion": ServiceAccountImport::api_version(&()),
        "kind": ServiceAccountImport::kind(&()),
        "metadata": { "name": format!("{source}-{namespace}-{name}"), "namespace": "default" },
        "spec": { "clusterName": source, "namespace": namespace, "name": name },
    });
    Ok(format!("{kubectl} apply -f - <<EOF\n{}EOF\n", serde_saphyr::to_string(&import)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::grants::Grant;
    use rstest::rstest;

    #[rstest]
    #[case("c2", "clusterName: c2\n")]
    #[case("1.0", "clusterName: \"1.0\"\n")]
    #[case("on", "clusterName: \"on\"\n")]
    fn example_is_a_valid_import(#[case] source: &str, #[case] line: &str) {
        let text = example_import("kubectl --context c1", source, "default", "pod-lister").unwrap();
        let yaml = text.strip_prefix("kubectl --context c1 apply -f - <<EOF\n").unwrap();
        let import: ServiceAccountImport =
            serde_saphyr::from_str(yaml.strip_suffix("EOF\n").unwrap()).unwrap();
        assert_eq!(import.spec.cluster_name, source);
        assert!(yaml.contains(line), "{yaml}");
    }

    #[rstest]
    #[case::namespace(&["team-a"], Some(("team-a", "pod-lister")))]
    #[case::service_account(&["shop/deployer"], Some(("shop", "deployer")))]
    #[case::nothing(&[], None)]
    fn example_is_allowed(#[case] allow: &[&str], #[case] expected: Option<(&str, &str)>) {
        let allow: Vec<Grant> = allow.iter().map(|grant| grant.parse().unwrap()).collect();
        assert_eq!(example_account(&allow.iter().collect()), expected);
        assert_eq!(example_account(&Grants::Everything), Some(("default", "pod-lister")));
    }
}
