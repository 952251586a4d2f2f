//! First step: reads the link, and refuses one that can't be rotated.

use anyhow::bail;
use kube::ResourceExt;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_credentials::secret::{self, Provenance};

use super::replace;
use crate::cluster::object;
use crate::link::authorize::{self, Identity};
use crate::link::claim::Claimed;
use crate::link::declare::{self, Declared};

/// The link before its rotation.
pub struct CurrentLink {
    pub declared: Declared,
    /// Where bootstrap or the importer wrote that the source is.
    pub endpoint: Endpoint,
    pub identity: Identity,
    pub credential: Link,
}

pub async fn read(claimed: &Claimed) -> anyhow::Result<CurrentLink> {
    let (source, target) = (claimed.source(), claimed.target());
    let again = claimed.plan().flags().of("bootstrap", "");
    let missing = |what: &str| {
        anyhow::anyhow!(
            "{}: {what}, so there is no link to {} to rotate; run: {again}",
            target.name,
            source.name
        )
    };
    let Some(declared) = declare::existing(claimed).await? else {
        let title = object::titled("ServiceAccountImport", Some(SYSTEM_NAMESPACE), &source.name);
        bail!(missing(&format!("there is no {title}")));
    };
    let import = declared.import();
    let name = import.secret_name();
    let Some(secret) = replace::read(target, &name).await? else {
        bail!(missing(&format!("there is no secret {SYSTEM_NAMESPACE}/{name}")));
    };
    let credential = Link::read(&secret)
        .map_err(|error| anyhow::anyhow!("{}: {error}; to make another: {again}", target.name))?;
    let endpoint = credential.endpoint.clone();
    let written = Provenance::read(secret.annotations()).map(|provenance| provenance.fingerprint);
    if written != Some(secret::fingerprint(&import.spec, import.is_link(), &endpoint)) {
        bail!(
            "{}: secret {SYSTEM_NAMESPACE}/{name} leads to {}, and neither bootstrap nor the importer has written that \
             there; no token is sent to it. To say where {} is: {again}",
            target.name,
            endpoint.server,
            source.name
        );
    }
    let Some(identity) = authorize::identity(claimed).await? else {
        bail!(
            "{}: it does not know {} any more; to link them again, with --allow for what may be imported: {again}",
            source.name,
            target.name
        );
    };
    Ok(CurrentLink { declared, endpoint, identity, credential })
}
