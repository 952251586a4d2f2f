//! The link's import in the target, and what it needs to be one.

use std::time::Duration;

use anyhow::Context;
use kube::api::DynamicObject;
use mcsa_client::contract::{CLUSTER_UID, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use super::connect::Connected;
use crate::apply::{self, Outcome};
use crate::{crd, manifests, object, output};

/// Lifetime of a link's token, in seconds: the longest that the policy allows, so that the importer
/// may be away for hours.
pub const LIFETIME: i64 = 86_400;

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// The link's import, as the target has it.
#[derive(Debug)]
pub struct Declared {
    /// With the UID that its Secret is owned by.
    pub import: ServiceAccountImport,
}

/// Declares the link.
///
/// # Errors
/// When an object can't be written.
pub async fn declare(connected: &Connected) -> anyhow::Result<Declared> {
    let cluster = &connected.target;
    for object in [manifests::namespace()?, manifests::crd()?] {
        // What is there is whoever's who installed it, in their version.
        let there = apply::is_there(cluster, &object).await?;
        let outcome = if there { Outcome::Unchanged } else { apply::apply(cluster, &object).await?.outcome };
        output::outcome(&cluster.name, &object::title(&object), outcome);
    }
    crd::established(cluster, ESTABLISHED_WITHIN).await?;
    let import = object::dynamic(&import(connected))?;
    let applied = apply::apply(cluster, &import).await?;
    output::outcome(&cluster.name, &object::title(&import), applied.outcome);
    let import = applied.stored.try_parse().context("the import that was stored can't be read")?;
    Ok(Declared { import })
}

/// All that a target gets, but the link's Secret.
pub fn objects(connected: &Connected) -> anyhow::Result<Vec<DynamicObject>> {
    Ok(vec![manifests::namespace()?, manifests::crd()?, object::dynamic(&import(connected))?])
}

/// The link's import, before the API server has stored it.
pub fn import(connected: &Connected) -> ServiceAccountImport {
    let spec = ServiceAccountImportSpec {
        cluster_name: connected.source.name.clone(),
        namespace: SYSTEM_NAMESPACE.into(),
        name: connected.target.name.clone(),
        expiration_seconds: LIFETIME,
        bound_secret: Some(connected.target.name.clone()),
        ..Default::default()
    };
    let mut import = ServiceAccountImport::new(&connected.source.name, spec);
    import.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
    import.metadata.labels = Some([(LINK_LABEL.to_owned(), "true".to_owned())].into());
    import.metadata.annotations = Some([(CLUSTER_UID.to_owned(), connected.source_uid.clone())].into());
    import
}
