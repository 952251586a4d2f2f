//! The target's side: the launch import, and the launcher's right to read its Secret.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::LABEL;

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
    /// Other namespaces of the target that use the same service account.
    pub(crate) sharing: Vec<String>,
}

pub(crate) async fn find(target: &Cluster, launch: &Launch) -> anyhow::Result<Found> {
    let labelled = ListParams::default().labels(&format!("{LABEL}=true"));
    let imports = list::readable_imports(target, None, labelled).await?;
    let Sorted { own, others, sharing } = sort(&imports, launch);
    let mut objects = own.into_iter().map(object::dynamic).collect::<anyhow::Result<Vec<_>>>()?;
    // They may be left without the import.
    let names: BTreeSet<_> = objects.iter().map(ResourceExt::name_any).chain([launch.import()]).collect();
    for name in names {
        let mut rights = objects::target_objects(launch)?;
        rights.retain(|object| object::kind(object) != "ServiceAccountImport");
        for mut right in rights.into_iter().rev() {
            right.metadata.name = Some(name.clone());
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
fn sort<'a>(imports: &'a [ServiceAccountImport], launch: &Launch) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for import in imports.iter().filter(|import| import.spec.cluster_name == launch.source) {
        let namespace = import.namespace().unwrap_or_default();
        let is_same_account = import.spec.namespace == launch.remote_namespace;
        match (namespace == launch.namespace, is_same_account) {
            (true, true) => sorted.own.push(import),
            (true, false) => sorted.others.push(import.spec.namespace.clone()),
            (false, true) => sorted.sharing.push(namespace),
            (false, false) => {}
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportSpec;

    fn import(namespace: &str, source: &str, remote: &str) -> ServiceAccountImport {
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            namespace: remote.into(),
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
        ];
        let launch = Launch {
            source: "c2".into(),
            namespace: "team-a".into(),
            remote_namespace: "batch".into(),
            ..Default::default()
        };
        let expected =
            Sorted { own: vec![&imports[0]], others: vec!["other".into()], sharing: vec!["team-b".into()] };
        assert_eq!(sort(&imports, &launch), expected);
    }
}
