//! The CRDs of Argo Workflows that lack the template fields `cluster` and `namespace`.
//!
//! Argo's full CRDs have a schema for templates, and the API server refuses or drops all other fields. `kubemcsa launch
//! --argo` adds these two to the schema. Argo's minimal CRDs keep unknown fields.

mod schema;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};

use self::schema::Definition;
use crate::cluster::apply::FIELD_MANAGER;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// The CRDs of the kinds that have templates.
const DEFINITIONS: [&str; 4] = [
    "clusterworkflowtemplates.argoproj.io",
    "cronworkflows.argoproj.io",
    "workflows.argoproj.io",
    "workflowtemplates.argoproj.io",
];

/// A CRD whose templates lack fields.
#[derive(Debug)]
pub(crate) struct Incomplete {
    pub(crate) name: &'static str,
    patch: Patch<()>,
}

/// The kind of CRDs.
pub(crate) fn kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"))
}

/// Reads the CRDs with templates, which may have several megabytes, and returns those that lack fields.
pub(crate) async fn incomplete(cluster: &Cluster) -> Result<Vec<Incomplete>, CallError> {
    let api = Api::<Definition>::all_with(cluster.client.clone(), &kind());
    let mut incomplete = Vec::new();
    for name in DEFINITIONS {
        let patch = async {
            let stored = api.get_opt(name).await?;
            let patch = stored.as_ref().map(schema::patch).transpose();
            patch.map(Option::flatten).map_err(kube::Error::SerdeError)
        };
        let patch = cluster.call(&format!("read custom resource definition {name}"), patch).await?;
        incomplete.extend(patch.map(|patch| Incomplete { name, patch }));
    }
    Ok(incomplete)
}

impl Incomplete {
    /// Adds the missing fields, unless the CRD has changed since it was read.
    pub(crate) async fn complete(&self, cluster: &Cluster, dry_run: bool) -> Result<(), CallError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), dry_run, ..Default::default() };
        let api = Api::<DynamicObject>::all_with(cluster.client.clone(), &kind());
        let doing = format!("patch custom resource definition {}", self.name);
        // The whole object would be megabytes.
        cluster.call(&doing, api.patch_metadata(self.name, &params, &self.patch)).await.map(drop)
    }

    pub(crate) fn reference(&self) -> String {
        object::reference(&DynamicObject::new(self.name, &kind()))
    }
}
