//! The CRDs of Argo Workflows that lack the template fields `cluster` and `namespace`.

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use mcsa_credentials::template_fields::{self, DEFINITIONS, Definition};

use crate::cluster::apply::FIELD_MANAGER;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// A CRD whose templates lack fields.
#[derive(Debug)]
pub(crate) struct Incomplete {
    pub(crate) name: &'static str,
    patch: Patch<()>,
}

/// Reads the CRDs with templates, which may have several megabytes, and returns those that lack fields.
pub(crate) async fn incomplete(cluster: &Cluster) -> Result<Vec<Incomplete>, CallError> {
    let api = Api::<Definition>::all_with(cluster.client.clone(), &template_fields::kind());
    let mut incomplete = Vec::new();
    for name in DEFINITIONS {
        let patch = async {
            let stored = api.get_opt(name).await?;
            let patch = stored.as_ref().map(template_fields::patch).transpose();
            patch.map(Option::flatten).map_err(kube::Error::SerdeError)
        };
        let patch = cluster.call(&format!("read custom resource definition {name}"), patch).await?;
        incomplete.extend(patch.map(|patch| Incomplete { name, patch }));
    }
    Ok(incomplete)
}

impl Incomplete {
    /// Adds the missing fields.
    pub(crate) async fn complete(&self, cluster: &Cluster, dry_run: bool) -> Result<(), CallError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), dry_run, ..Default::default() };
        let api = Api::<DynamicObject>::all_with(cluster.client.clone(), &template_fields::kind());
        let doing = format!("patch custom resource definition {}", self.name);
        // The whole object would be megabytes.
        cluster.call(&doing, api.patch_metadata(self.name, &params, &self.patch)).await.map(drop)
    }

    pub(crate) fn reference(&self) -> String {
        object::reference(&DynamicObject::new(self.name, &template_fields::kind()))
    }
}
