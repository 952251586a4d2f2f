//! Reads the Secret of an import.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config, ResourceExt};
use tokio::time::timeout;

use crate::config::read_secret;
use crate::contract;
use crate::error::ConfigError;
use crate::live::Origin;

/// The deadline for reading a Secret.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A config, and the UID of its cluster.
pub(super) type ReadResult = Result<(Config, Option<String>), ConfigError>;

/// Reads a Secret for the source `cluster_name`. A panic is an error, so that the read is retried.
pub(super) async fn read(client: Client, namespace: &str, name: &str, cluster_name: &str) -> ReadResult {
    let failed = |problem| ConfigError::Secret { namespace: namespace.into(), name: name.into(), problem };
    let get = async {
        let secret = Api::<Secret>::namespaced(client, namespace).get(name).await?;
        // The importer may not have replaced it after a change of the import.
        if let Some(other) = secret.annotations().get(contract::CLUSTER_NAME)
            && other != cluster_name
        {
            return Err(format!("it is for the source {other}, and the import names {cluster_name}").into());
        }
        Ok((read_secret(&secret)?, cluster_uid(&secret).map(str::to_owned)))
    };
    match timeout(READ_DEADLINE, AssertUnwindSafe(get).catch_unwind()).await {
        Ok(Ok(result)) => result.map_err(failed),
        Ok(Err(_)) => Err(failed("reading it panicked".into())),
        Err(elapsed) => Err(failed(elapsed.into())),
    }
}

/// The origin of a member's config. It refuses the config of another cluster. The Secret is not reread at an interval:
/// the status of the import, which is watched, reports changes.
pub(super) fn origin(client: &Client, namespace: &str, name: &str, uid: Option<String>) -> Origin {
    let read = move |secret: &Secret| match cluster_uid(secret) == uid.as_deref() {
        true => Ok(read_secret(secret)?),
        // A member is one cluster. The watch replaces this member.
        false => Err("it is for another cluster now".into()),
    };
    Origin::secret(client, namespace, name, Arc::new(read)).observed()
}

/// The UID of the source, which the importer verified.
fn cluster_uid(secret: &Secret) -> Option<&str> {
    secret.annotations().get(contract::CLUSTER_UID).map(String::as_str)
}
