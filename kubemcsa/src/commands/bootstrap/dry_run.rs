//! `--dry-run`: what would change, by a server-side dry run. Diffs go to stdout, and the outcome for each object to
//! stderr.

use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::{RequestedPolicies, RequestedRights, lost};
use crate::cli::output;
use crate::cluster::apply::{self, DryRun};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object, preview};
use crate::link::connect::Connected;
use crate::link::desired::KUBEMCSA_VERSION;
use crate::link::{authorize, declare, desired, shared};

/// Fails if an API server would refuse an object.
pub(crate) async fn dry_run(
    connected: &Connected,
    requested: &RequestedRights,
    policies: &RequestedPolicies,
) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    let (wanted, stored) = requested.grants(connected).await?;
    authorize::ensure_namespaces(source, &wanted, &stored).await?;
    let objects = desired::source_objects(connected, &wanted)?;
    for object in &objects {
        let result = match object.annotations().contains_key(KUBEMCSA_VERSION) {
            true => shared::dry_run(connected, object).await,
            false => dry_run_one(source, object).await,
        };
        match result {
            Err(error) if desired::is_policy(object) && error.is_not_found() => {
                // Warn once, not for the binding again.
                if object::kind(object) == "ValidatingAdmissionPolicy" {
                    output::warn(&source.name, &shared::no_policy_warning(&wanted));
                }
            }
            result => preview::show(source, object, result?)?,
        }
    }
    for object in stored.obsolete(&objects) {
        preview::show_delete(source, object)?;
    }
    lost::warn(connected, stored.grants.as_ref(), &wanted).await;
    let seconds = declare::lifetime(connected, requested.seconds).await?;
    for object in desired::target_objects(connected, seconds)? {
        preview::show(target, &object, dry_run_one(target, &object).await?)?;
    }
    policies.show(connected).await?;
    let name = desired::import(connected, seconds).secret_name();
    output::info(
        &target.name,
        &format!(
            "Secret {SYSTEM_NAMESPACE}/{name} would get a new token of the link, unless its token is usable"
        ),
    );
    Ok(())
}

async fn dry_run_one(cluster: &Cluster, object: &DynamicObject) -> Result<DryRun, CallError> {
    // Bootstrap creates these, but never changes existing ones.
    if matches!(object::kind(object), "Namespace" | "CustomResourceDefinition") {
        return preview::create(cluster, object).await;
    }
    apply::dry_run(cluster, object).await
}
