//! Applies the link's import in the target, with the namespace and the CRDs that it needs.

use std::time::Duration;

use anyhow::Context;
use mcsa_client::ServiceAccountImport;

use super::check_names::NamesChecked;
use super::connect::Connected;
use super::desired::{self, MAX_LIFETIME_SECONDS};
use super::permit::Permitted;
use super::progress::Progress;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::{Cluster, crd, object};
use crate::manifests;

const CRD_TIMEOUT: Duration = Duration::from_secs(30);

/// The link's import, as stored in the target.
#[derive(Debug)]
pub(crate) struct Declared {
    import: ServiceAccountImport,
}

impl Declared {
    pub(crate) fn import(&self) -> &ServiceAccountImport {
        &self.import
    }
}

/// Creates the system namespace and the CRDs if they don't exist. Existing ones belong to the installation.
pub(crate) async fn prepare(cluster: &Cluster, progress: &Progress) -> anyhow::Result<()> {
    for object in [manifests::namespace()?, manifests::crd()?, manifests::policy_crd()?] {
        let exists = apply::exists(cluster, &object).await?;
        let outcome = if exists { Outcome::Unchanged } else { apply::apply(cluster, &object).await?.outcome };
        progress.outcome(&cluster.name, &object::reference(&object), outcome);
    }
    crd::wait_until_established(cluster, CRD_TIMEOUT).await
}

/// Applies the link's import. `seconds`: see [`lifetime`].
pub(crate) async fn declare(permitted: &Permitted, seconds: Option<i64>) -> anyhow::Result<Declared> {
    let cluster = permitted.target();
    let import = object::dynamic(&desired::import(permitted, lifetime(permitted, seconds).await?))?;
    let applied = apply::apply(cluster, &import).await?;
    permitted.progress().outcome(&cluster.name, &object::reference(&import), applied.outcome);
    let import = applied.stored.try_parse().context("can't read the stored import")?;
    Ok(Declared { import })
}

/// The import of an existing link.
pub(crate) async fn existing(checked: &NamesChecked) -> anyhow::Result<Option<Declared>> {
    let import = object::dynamic(&desired::import(checked, MAX_LIFETIME_SECONDS))?;
    let Some(stored) = apply::read(checked.target(), &import).await? else { return Ok(None) };
    let import = stored.try_parse().context("can't read the link's import")?;
    Ok(Some(Declared { import }))
}

/// Whether the target has the link's import.
pub(crate) async fn is_declared(connected: &Connected) -> anyhow::Result<bool> {
    let import = object::dynamic(&desired::import(connected, MAX_LIFETIME_SECONDS))?;
    Ok(apply::read(connected.target(), &import).await?.is_some())
}

/// The lifetime of the link's tokens in seconds: as given, else as stored, else [`MAX_LIFETIME_SECONDS`].
pub(crate) async fn lifetime(connected: &Connected, given: Option<i64>) -> anyhow::Result<i64> {
    if let Some(seconds) = given {
        return Ok(seconds);
    }
    let stored =
        apply::read(connected.target(), &object::dynamic(&desired::import(connected, MAX_LIFETIME_SECONDS))?)
            .await?;
    Ok(stored
        .and_then(|stored| stored.data["spec"]["expirationSeconds"].as_i64())
        .unwrap_or(MAX_LIFETIME_SECONDS))
}
