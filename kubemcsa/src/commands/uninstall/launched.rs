//! What the launcher and `kubemcsa launch` create: virtual nodes, and the launcher's rights to read the Secrets of launch
//! imports.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use mcsa_credentials::contract::launch::{LABEL, LAUNCHER, NODE_LABEL, SELECTOR};

use crate::cli::output;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::{self, ChosenContext};
use crate::cluster::{Cluster, list, object};
use crate::link::existing::ExistingLink;
use crate::link::flags::{Flags, SourceFlags, TargetFlags};
use crate::link::home_pods;
use crate::link::launcher::is_virtual_node;

pub(crate) async fn find(cluster: &Cluster) -> anyhow::Result<Vec<DynamicObject>> {
    let labelled = || ListParams::default().labels(&format!("{LABEL}=true"));
    let (nodes, roles, bindings) = tokio::join!(
        list::all::<Node>(cluster, ListParams::default().labels(NODE_LABEL)),
        list::all::<Role>(cluster, labelled()),
        list::all::<RoleBinding>(cluster, labelled()),
    );
    let mut found = nodes?;
    found.retain(is_virtual_node);
    found.extend(bindings?);
    found.extend(roles?);
    Ok(found)
}

/// Whether the launcher, or a launch, created the object.
pub(crate) fn is_ours(object: &DynamicObject) -> bool {
    match object::kind(object) {
        "Node" => is_virtual_node(object),
        "Role" | "RoleBinding" => object.labels().get(LABEL).is_some_and(|value| value == "true"),
        _ => false,
    }
}

/// Fails while pods run in sources: without the launcher, nobody ends them. After an interruption, the launcher may be
/// gone, and this only warns, so that the next run can finish.
pub(crate) async fn ensure_no_home_pods(
    cluster: &Cluster,
    found: &[DynamicObject],
    links: &[ExistingLink],
    chosen: &ChosenContext,
    abandon: bool,
) -> anyhow::Result<()> {
    let imports = list::readable_imports(cluster, None, ListParams::default().labels(SELECTOR)).await?;
    let nodes = found.iter().filter(|object| object::kind(object) == "Node").map(ResourceExt::name_any);
    let sources: BTreeSet<_> =
        nodes.chain(imports.iter().map(|import| import.spec.cluster_name.clone())).collect();
    let mut running = Vec::new();
    for source in sources {
        let pods = home_pods::unfinished(cluster, &source, &imports).await?;
        let link = links.iter().find(|link| link.cluster_name == source);
        running.push((pods, flags(chosen, &source, link, context_of(chosen, &source))));
    }
    home_pods::ensure_none(cluster, &running, &imports, abandon || !has_launcher(found), "")
}

fn has_launcher(found: &[DynamicObject]) -> bool {
    found.iter().any(|object| object::kind(object) == "Deployment" && object.name_any() == LAUNCHER)
}

/// The flags of commands about a link of the target.
fn flags(
    chosen: &ChosenContext,
    source: &str,
    link: Option<&ExistingLink>,
    source_context: Option<String>,
) -> Flags {
    Flags {
        command: "uninstall",
        target: TargetFlags {
            context: Some(chosen.context.clone()),
            kubeconfig: chosen.file.clone(),
            name: link.and_then(ExistingLink::identity).map(|(_, name)| name),
        },
        source: SourceFlags {
            kubeconfig: source_context.as_ref().and(chosen.file.clone()),
            context: Some(source_context.unwrap_or_else(|| "SOURCE_CONTEXT".into())),
            name: Some(source.to_owned()),
        },
        ..Default::default()
    }
}

/// A context for the cluster with the source's name, in the kubeconfig of the target.
fn context_of(chosen: &ChosenContext, source: &str) -> Option<String> {
    let kubeconfig = kubeconfig::read(chosen.file.as_deref(), "--").ok()?;
    let mut contexts = kubeconfig.contexts();
    contexts
        .find(|context| context.text("cluster").as_deref() == Some(source))
        .map(|context| context.name().to_owned())
}

/// Says what to do after the next install.
pub(crate) fn report(deleter: &Deleter, found: &[DynamicObject], delete_imports: bool) {
    let is_binding = |object: &DynamicObject| object::kind(object) == "RoleBinding" && is_ours(object);
    if !delete_imports && found.iter().any(is_binding) {
        output::info(
            &deleter.cluster.name,
            "launch imports work again once you install again and launch each namespace again",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const MANAGED: &str =
        "annotations: {multicluster.admiralty.io/managed-by: multicluster-service-account-launcher}";
    const LABELLED: &str = "labels: {multicluster.admiralty.io/cluster: c2}";
    const LAUNCH: &str = "labels: {multicluster.admiralty.io/launch: 'true'}";

    #[rstest]
    #[case::virtual_node("Node", MANAGED, true)]
    #[case::real_node_with_the_label("Node", LABELLED, false)]
    #[case::launch_role("Role", LAUNCH, true)]
    #[case::other_role("Role", MANAGED, false)]
    #[case::launch_import("ServiceAccountImport", LAUNCH, false)]
    fn only_virtual_nodes_and_launch_roles_are_ours(
        #[case] kind: &str,
        #[case] metadata: &str,
        #[case] expected: bool,
    ) {
        let text = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: c2, {metadata}}}}}");
        assert_eq!(is_ours(&object::parse(&text).unwrap()[0]), expected);
    }

    #[test]
    fn commands_name_both_contexts() {
        let chosen =
            ChosenContext { context: "c1".into(), file: Some("/tmp/config".into()), ..Default::default() };
        let command = |context: Option<&str>| {
            flags(&chosen, "c2", None, context.map(str::to_owned)).other_command("launch", "team-a --stop")
        };
        let target = "kubemcsa launch team-a --stop --target-context c1 --target-kubeconfig /tmp/config";
        assert_eq!(
            command(Some("admin@c2")),
            format!("{target} --source-context admin@c2 --source-kubeconfig /tmp/config --source-name c2")
        );
        assert_eq!(command(None), format!("{target} --source-context SOURCE_CONTEXT --source-name c2"));
    }

    #[rstest]
    #[case("Deployment", "launcher", true)]
    #[case("ServiceAccount", "launcher", false)]
    #[case("Deployment", "importer", false)]
    fn pods_are_protected_while_the_launcher_is_installed(
        #[case] kind: &str,
        #[case] name: &str,
        #[case] expected: bool,
    ) {
        let text = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}}}}}");
        assert_eq!(has_launcher(&object::parse(&text).unwrap()), expected);
    }
}
