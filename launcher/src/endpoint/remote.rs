//! Checks that a remote pod is still the one that the home pod stands for.

use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use mcsa_runtime::deadline::with_deadline;
use tokio::time::{Instant, sleep, timeout_at};

use super::refusal::Refusal;
use crate::remote_pod::RemotePod;

/// Pause between requests to a source that is unavailable.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks the remote pod's UID with a live request. If the source is unavailable, tries again for `patience`.
pub(super) async fn verify(remote: &RemotePod, patience: Duration) -> Result<(), Refusal> {
    let end = Instant::now() + patience;
    loop {
        let problem = match request_uid(remote).await {
            Ok(Some(uid)) if uid == remote.uid => return Ok(()),
            Ok(_) => return Err(gone(remote)),
            Err(error) if is_refusal(&error) => {
                return Err(Refusal::of_source(remote.member.name(), &error));
            }
            Err(error) => Refusal::of_source(remote.member.name(), &error),
        };
        let next = async {
            sleep(PAUSE).await;
            remote.member.wait_until_available().await;
        };
        if patience.is_zero() || timeout_at(end, next).await.is_err() {
            return Err(unavailable(problem, patience));
        }
    }
}

async fn request_uid(remote: &RemotePod) -> kube::Result<Option<String>> {
    let pods = Api::<Pod>::namespaced(remote.member.client(), &remote.namespace);
    let pod = with_deadline(pods.get_metadata_opt(&remote.name)).await?;
    Ok(pod.and_then(|pod| pod.uid()))
}

/// Whether another attempt would be refused as well.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}

fn gone(remote: &RemotePod) -> Refusal {
    let RemotePod { member, namespace, name, uid, .. } = remote;
    let cluster = member.name();
    let message = format!("pod {namespace}/{name} with UID {uid} no longer exists in cluster {cluster}");
    Refusal::new(StatusCode::NOT_FOUND, message)
}

fn unavailable(problem: Refusal, patience: Duration) -> Refusal {
    match patience.is_zero() {
        true => problem,
        false => Refusal {
            message: format!("{} (gave up after {}s)", problem.message, patience.as_secs()),
            ..problem
        },
    }
}
