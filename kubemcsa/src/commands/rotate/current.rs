//! First step: reads the link, and fails if it can't be rotated.

use anyhow::bail;
use kube::ResourceExt;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_credentials::secret::{self, Provenance};
use mcsa_credentials::url::without_credentials;

use super::replace;
use crate::cluster::object;
use crate::link::authorize::{self, Identity};
use crate::link::check_names::NamesChecked;
use crate::link::declare::{self, Declared};

/// The link before its rotation.
pub(crate) struct CurrentLink {
    pub(crate) declared: Declared,
    /// Address of the source, as bootstrap or the importer wrote it.
    pub(crate) endpoint: Endpoint,
    pub(crate) identity: Identity,
    pub(crate) credential: Link,
}

pub(crate) async fn read(checked: &NamesChecked) -> anyhow::Result<CurrentLink> {
    let (source, target) = (checked.source(), checked.target());
    let bootstrap = checked.plan().flags().other_command("bootstrap", "");
    let missing = |what: &str| {
        anyhow::anyhow!(
            "{}: {what}, so there is no link to {} to rotate; to create it, with --allow to limit what a new link may \
             import: {bootstrap}",
            target.name,
            source.name
        )
    };
    let Some(declared) = declare::existing(checked).await? else {
        let title = object::titled("ServiceAccountImport", Some(SYSTEM_NAMESPACE), &source.name);
        bail!(missing(&format!("{title} not found")));
    };
    let import = declared.import();
    let name = import.secret_name();
    let Some(secret) = replace::read(checked, &declared).await? else {
        bail!(missing(&format!("Secret {SYSTEM_NAMESPACE}/{name} not found")));
    };
    let credential = Link::read(&secret)
        .map_err(|error| anyhow::anyhow!("{}: {error}; to replace it: {bootstrap}", target.name))?;
    let endpoint = credential.endpoint.clone();
    let written = Provenance::read(secret.annotations()).map(|provenance| provenance.fingerprint);
    if written != Some(secret::fingerprint(&import.spec, import.is_link(), &endpoint)) {
        bail!(
            "{}: neither bootstrap nor the importer wrote the address {} in Secret {SYSTEM_NAMESPACE}/{name}, so no \
             token is sent to it; to set the address of {}: {bootstrap}",
            target.name,
            without_credentials(&endpoint.server),
            source.name
        );
    }
    let Some(identity) = authorize::read_identity(checked).await? else {
        bail!(
            "{}: the service account of {} is gone; if it may import something again: {}",
            source.name,
            target.name,
            checked.plan().flags().other_command("bootstrap", "--allow NAMESPACE[/NAME]")
        );
    };
    Ok(CurrentLink { declared, endpoint, identity, credential })
}
