//! The link's import in the target, and what it needs to be one.

use std::time::Duration;

use anyhow::Context;
use kube::api::DynamicObject;
use mcsa_client::contract::{CLUSTER_UID, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use super::connect::Connected;
use super::progress::Progress;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::{Cluster, crd, object};
use crate::manifests;

/// The longest lifetime of a link's token that the policy allows, in seconds; and the usual one, so that
/// the importer may be away for hours.
pub const LONGEST: i64 = 86_400;

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// The link's import, as the target has it.
#[derive(Debug)]
pub struct Declared {
    /// With the UID that its Secret is owned by.
    pub import: ServiceAccountImport,
}

/// Makes sure that the target can have links.
///
/// # Errors
/// When an object can't be written, or imports are not served in time.
pub async fn prepare(cluster: &Cluster, progress: &Progress) -> anyhow::Result<()> {
    for object in [manifests::namespace()?, manifests::crd()?] {
        // What is there is whoever's who installed it, in their version.
        let there = apply::is_there(cluster, &object).await?;
        let outcome = if there { Outcome::Unchanged } else { apply::apply(cluster, &object).await?.outcome };
        progress.outcome(&cluster.name, &object::title(&object), outcome);
    }
    crd::established(cluster, ESTABLISHED_WITHIN).await
}

/// Declares the link, with tokens of this lifetime; none: as it was, or the usual one.
///
/// # Errors
/// When the import can't be written.
pub async fn declare(connected: &Connected, seconds: Option<i64>) -> anyhow::Result<Declared> {
    let cluster = &connected.target;
    let import = object::dynamic(&import(connected, lifetime(connected, seconds).await?))?;
    let applied = apply::apply(cluster, &import).await?;
    connected.progress.outcome(&cluster.name, &object::title(&import), applied.outcome);
    let import = applied.stored.try_parse().context("the import that was stored can't be read")?;
    Ok(Declared { import })
}

/// The lifetime of the link's tokens, in seconds: as given, else as it was, else the usual one.
///
/// # Errors
/// When the import can't be read.
pub async fn lifetime(connected: &Connected, given: Option<i64>) -> anyhow::Result<i64> {
    if let Some(seconds) = given {
        return Ok(seconds);
    }
    let stored = apply::read(&connected.target, &object::dynamic(&import(connected, LONGEST))?).await?;
    Ok(stored.and_then(|stored| stored.data["spec"]["expirationSeconds"].as_i64()).unwrap_or(LONGEST))
}

/// All that a target gets, but the link's Secret.
pub fn objects(connected: &Connected, seconds: i64) -> anyhow::Result<Vec<DynamicObject>> {
    Ok(vec![manifests::namespace()?, manifests::crd()?, object::dynamic(&import(connected, seconds))?])
}

/// The link's import, before the API server has stored it.
pub fn import(connected: &Connected, seconds: i64) -> ServiceAccountImport {
    let spec = ServiceAccountImportSpec {
        cluster_name: connected.source.name.clone(),
        namespace: SYSTEM_NAMESPACE.into(),
        name: connected.target.name.clone(),
        expiration_seconds: seconds,
        bound_secret: Some(connected.target.name.clone()),
        ..Default::default()
    };
    let mut import = ServiceAccountImport::new(&connected.source.name, spec);
    import.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
    import.metadata.labels = Some([(LINK_LABEL.to_owned(), "true".to_owned())].into());
    import.metadata.annotations = Some([(CLUSTER_UID.to_owned(), connected.source_uid.clone())].into());
    import
}
