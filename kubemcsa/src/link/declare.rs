//! The link's import in the target, with the namespace and the CRD that it needs.

use std::time::Duration;

use anyhow::Context;
use mcsa_client::ServiceAccountImport;

use super::claim::Claimed;
use super::connect::Connected;
use super::desired::{self, LONGEST};
use super::permit::Permitted;
use super::progress::Progress;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::{Cluster, crd, object};
use crate::manifests;

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// The link's import, as stored in the target: its UID is that of its Secret's owner.
#[derive(Debug)]
pub struct Declared {
    import: ServiceAccountImport,
}

impl Declared {
    pub fn import(&self) -> &ServiceAccountImport {
        &self.import
    }
}

/// Creates the system namespace and the CRD where they don't exist; existing ones belong to whoever installed them.
pub async fn prepare(cluster: &Cluster, progress: &Progress) -> anyhow::Result<()> {
    for object in [manifests::namespace()?, manifests::crd()?] {
        let there = apply::is_there(cluster, &object).await?;
        let outcome = if there { Outcome::Unchanged } else { apply::apply(cluster, &object).await?.outcome };
        progress.outcome(&cluster.name, &object::reference(&object), outcome);
    }
    crd::established(cluster, ESTABLISHED_WITHIN).await
}

/// Applies the link's import. `seconds`: see [`lifetime`].
pub async fn declare(permitted: &Permitted, seconds: Option<i64>) -> anyhow::Result<Declared> {
    let cluster = permitted.target();
    let import = object::dynamic(&desired::import(permitted, lifetime(permitted, seconds).await?))?;
    let applied = apply::apply(cluster, &import).await?;
    permitted.progress().outcome(&cluster.name, &object::reference(&import), applied.outcome);
    let import = applied.stored.try_parse().context("the import that was stored can't be read")?;
    Ok(Declared { import })
}

/// The import of an existing link.
pub async fn existing(claimed: &Claimed) -> anyhow::Result<Option<Declared>> {
    let import = object::dynamic(&desired::import(claimed, LONGEST))?;
    let Some(stored) = apply::read(claimed.target(), &import).await? else { return Ok(None) };
    let import = stored.try_parse().context("the link's import can't be read")?;
    Ok(Some(Declared { import }))
}

/// The lifetime of the link's tokens in seconds: as given, else as stored, else [`LONGEST`].
pub async fn lifetime(connected: &Connected, given: Option<i64>) -> anyhow::Result<i64> {
    if let Some(seconds) = given {
        return Ok(seconds);
    }
    let stored =
        apply::read(connected.target(), &object::dynamic(&desired::import(connected, LONGEST))?).await?;
    Ok(stored.and_then(|stored| stored.data["spec"]["expirationSeconds"].as_i64()).unwrap_or(LONGEST))
}
