//! What the launcher and `kubemcsa launch` create: virtual nodes, and the launcher's rights to read the Secrets of launch
//! imports.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use mcsa_credentials::contract::launch::{LABEL, NODE_LABEL};

use crate::cli::output;
use crate::cluster::deleter::Deleter;
use crate::cluster::{Cluster, list, object};
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

/// Warns of pods that keep running in sources, and says what to do after the next install.
pub(crate) fn report(deleter: &Deleter, found: &[DynamicObject], delete_imports: bool) {
    let cluster = &deleter.cluster.name;
    let names = |kind: &str| {
        found
            .iter()
            .filter(|it| object::kind(it) == kind && is_ours(it))
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>()
    };
    let nodes = names("Node");
    if !nodes.is_empty() {
        let nodes = nodes.join(", ");
        output::warn(
            cluster,
            &format!(
                "pods that run in {nodes} keep running there, and nobody ends them; to end them, run kubemcsa launch \
                 NAMESPACE --stop for each namespace before uninstall"
            ),
        );
    }
    if !delete_imports && !names("RoleBinding").is_empty() {
        output::info(
            cluster,
            "launch imports work again after install and kubemcsa launch for each namespace",
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
}
