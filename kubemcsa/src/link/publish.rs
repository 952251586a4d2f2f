//! Writes the link's Secret as the importer writes Secrets: creates it, or patches it with the UID and resource version
//! that were read as preconditions.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{FIELD_MANAGER, SYSTEM_NAMESPACE};
use mcsa_credentials::secret::SecretState;

use super::permit::Permitted;
use super::verify::Verified;
use crate::cluster::apply::Outcome;
use crate::cluster::call::CallError;
use crate::cluster::object;

/// Updates `stored`, or creates the Secret. Fails with a conflict if someone else wrote it meanwhile.
pub(crate) async fn publish(
    permitted: &Permitted,
    verified: &Verified,
    stored: Option<&Secret>,
) -> Result<(), CallError> {
    let secret = verified.secret();
    let name = secret.name_any();
    let doing = |verb: &str| format!("{verb} secret {SYSTEM_NAMESPACE}/{name}");
    let cluster = permitted.target();
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let outcome = match stored {
        None => {
            let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            let call = secrets.create(&params, secret);
            cluster.call(&doing("create"), call).await?;
            Outcome::Created
        }
        Some(stored) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            let patch = Patch::Merge(SecretState::read(&stored.metadata).update(secret));
            let call = secrets.patch(&name, &params, &patch);
            cluster.call(&doing("update"), call).await?;
            Outcome::Configured
        }
    };
    permitted.progress().outcome(&cluster.name, &object::reference_of(secret, &()), outcome);
    Ok(())
}
