//! The target's side: the launch import, and the launcher's right to read its Secret.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::{LABEL, SELECTOR, STOPPING};
use serde_json::json;

use crate::cluster::apply::FIELD_MANAGER;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, apply, list, object};
use crate::commands::launch::model::Launch;
use crate::commands::launch::objects;

/// What a launch has created in the target.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of deletion: the imports first.
    pub(crate) objects: Vec<DynamicObject>,
    /// Other remote namespaces of the same source that the namespace runs pods in.
    pub(crate) others: Vec<String>,
    /// Namespaces of other launch imports of the target that use the same service account.
    pub(crate) sharing: Vec<String>,
}

/// Lists the launch imports of the target.
pub(crate) async fn launch_imports(target: &Cluster) -> Result<Vec<ServiceAccountImport>, CallError> {
    list::readable_imports(target, None, ListParams::default().labels(SELECTOR)).await
}

/// Marks the imports, so that the webhook places no new pods with them.
pub(crate) async fn mark(target: &Cluster, objects: &[DynamicObject]) -> Result<(), CallError> {
    let patch = Patch::Merge(json!({ "metadata": { "labels": { LABEL: STOPPING } } }));
    for import in objects.iter().filter(|object| object::kind(object) == "ServiceAccountImport") {
        let api = apply::api(target, import);
        let doing = format!("label {}", object::title(import));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        match target.call(&doing, api.patch_metadata(&import.name_any(), &params, &patch)).await {
            Err(error) if error.is_not_found() => {}
            result => drop(result?),
        }
    }
    Ok(())
}

/// `aliases`: the names of the source in the target.
pub(crate) async fn find(
    target: &Cluster,
    launch: &Launch,
    imports: &[ServiceAccountImport],
    aliases: &BTreeSet<String>,
) -> anyhow::Result<Found> {
    let Sorted { own, others, sharing } = sort(imports, launch, aliases);
    let mut objects = own.into_iter().map(object::dynamic).collect::<anyhow::Result<Vec<_>>>()?;
    let mut names: BTreeSet<_> = objects.iter().map(ResourceExt::name_any).collect();
    // The rights may be left without the import.
    let is_taken = imports.iter().any(|import| {
        import.namespace().as_ref() == Some(&launch.namespace) && import.name_any() == launch.import()
    });
    names.extend(Some(launch.import()).filter(|_| !is_taken));
    for name in names {
        for right in objects::target_rights(launch, &name)?.into_iter().rev() {
            let stored = apply::read(target, &right).await?;
            objects.extend(stored.filter(|stored| stored.labels().contains_key(LABEL)));
        }
    }
    Ok(Found { objects, others, sharing })
}

#[derive(Debug, Default, PartialEq)]
struct Sorted<'a> {
    own: Vec<&'a ServiceAccountImport>,
    others: Vec<String>,
    sharing: Vec<String>,
}

/// Sorts the launch imports of the target by what they have to do with this launch.
fn sort<'a>(imports: &'a [ServiceAccountImport], launch: &Launch, aliases: &BTreeSet<String>) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for import in imports {
        let (namespace, spec) = (import.namespace().unwrap_or_default(), &import.spec);
        let is_same_remote = spec.namespace == launch.remote_namespace;
        let is_same_account = is_same_remote && spec.name == launch.account();
        let is_of_namespace = spec.cluster_name == launch.source && namespace == launch.namespace;
        if is_of_namespace && is_same_account {
            sorted.own.push(import);
        } else if is_of_namespace && !is_same_remote {
            sorted.others.push(spec.namespace.clone());
        } else if is_same_account && aliases.contains(&spec.cluster_name) {
            sorted.sharing.push(namespace);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportSpec;

    fn import(namespace: &str, source: &str, remote: &str) -> ServiceAccountImport {
        let (remote, account) = remote.split_once('/').unwrap_or((remote, "launcher-c1"));
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            namespace: remote.into(),
            name: account.into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new(&format!("{namespace}-{source}-{remote}"), spec);
        import.metadata.namespace = Some(namespace.into());
        import
    }

    #[test]
    fn only_imports_of_namespace_source_and_remote_namespace_are_stopped() {
        let imports = [
            import("team-a", "c2", "batch"),
            import("team-a", "c2", "other"),
            import("team-a", "c3", "batch"),
            import("team-b", "c2", "batch"),
            import("team-b", "c2", "other"),
            import("team-c", "prod", "batch"),
            import("team-d", "c2", "batch/other-account"),
            import("team-a", "c2", "batch/other-account"),
        ];
        let launch = Launch {
            target: "c1".into(),
            source: "c2".into(),
            namespace: "team-a".into(),
            remote_namespace: "batch".into(),
            ..Default::default()
        };
        let expected = Sorted {
            own: vec![&imports[0]],
            others: vec!["other".into()],
            sharing: vec!["team-b".into(), "team-c".into()],
        };
        let aliases = ["c2", "prod"].map(str::to_owned).into();
        assert_eq!(sort(&imports, &launch, &aliases), expected);
    }
}
