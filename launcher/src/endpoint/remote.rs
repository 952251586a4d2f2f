//! Checks that a remote pod is still the one that the home pod stands for, and that the launcher created it for it.

use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ObjectMeta;
use mcsa_client::controller::Owner;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors::foreign::of_status;
use tokio::time::{Instant, sleep, timeout_at};

use super::refusal::Refusal;
use crate::remote_pod::RemotePod;

/// Pause between requests to a source that is unavailable.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks the remote pod's UID and owner with a live request. If the source is unavailable, tries again for `patience`.
pub(super) async fn verify(remote: &RemotePod, patience: Duration) -> Result<(), Refusal> {
    let end = Instant::now() + patience;
    loop {
        let problem = match request_metadata(remote).await {
            Ok(metadata) => return check(remote, metadata.as_ref()),
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

/// `None`: the pod does not exist.
async fn request_metadata(remote: &RemotePod) -> kube::Result<Option<ObjectMeta>> {
    let pods = Api::<Pod>::namespaced(remote.member.client(), &remote.namespace);
    match with_deadline(pods.get_metadata(&remote.name)).await {
        Ok(pod) => Ok(Some(pod.metadata)),
        // Not the 404 of a proxy or a login page.
        Err(kube::Error::Api(status)) if status.code == 404 && of_status(&status).is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A user who may write the home pod's annotations chooses the UID in them, so it does not prove that the pod is the
/// home pod's.
fn check(remote: &RemotePod, found: Option<&ObjectMeta>) -> Result<(), Refusal> {
    let Some(found) = found.filter(|found| found.uid.as_ref() == Some(&remote.uid)) else {
        return Err(gone(remote));
    };
    match Owner::from_metadata(found) {
        Some(owner) if owner.uid == remote.home_uid => Ok(()),
        _ => Err(not_owned(remote)),
    }
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

fn not_owned(remote: &RemotePod) -> Refusal {
    let RemotePod { member, namespace, name, .. } = remote;
    let cluster = member.name();
    let message = format!("pod {namespace}/{name} in cluster {cluster} was not created for this pod");
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use mcsa_client::clusters::Clusters;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    use crate::endpoint::fixtures::metadata;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A source that first fails some times with a code, and then has a pod with the UID `1`, of the home pod `home`.
    fn source(failures: usize, code: u16) -> (Clusters, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let client = tower::service_fn(move |request: Request<Body>| {
            let is_check = request.uri().path() == "/readyz";
            let number = if is_check { failures } else { counted.fetch_add(1, Ordering::Relaxed) };
            let failure =
                json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "No", "code": code});
            let kind = "PartialObjectMetadata";
            let metadata = metadata("p", "1", "home");
            let pod = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
            let (code, body) = if number < failures { (code, failure) } else { (200, pod) };
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        (Clusters::fixed([("c2", Client::new(client, "default"))]), requests)
    }

    fn remote(clusters: &Clusters, uid: &str) -> RemotePod {
        RemotePod {
            member: clusters.get("c2").unwrap(),
            namespace: "n".into(),
            name: "p".into(),
            uid: uid.into(),
            node: "c2".into(),
            home_uid: "home".into(),
        }
    }

    #[rstest]
    #[case::at_once(0, 0, PATIENCE, None, 1)]
    #[case::after_an_outage(5, 503, PATIENCE, None, 6)]
    #[case::after_throttling(2, 429, PATIENCE, None, 3)]
    #[case::not_for_logs(1, 503, Duration::ZERO, Some(503), 1)]
    #[case::refused(9, 403, PATIENCE, Some(403), 1)]
    #[case::gone(9, 404, PATIENCE, Some(404), 1)]
    #[tokio::test(start_paused = true)]
    async fn pod_is_verified(
        #[case] failures: usize,
        #[case] code: u16,
        #[case] patience: Duration,
        #[case] refusal: Option<u16>,
        #[case] expected: usize,
    ) {
        let (clusters, requests) = source(failures, code);
        let result = verify(&remote(&clusters, "1"), patience).await;
        assert_eq!(result.err().map(|refusal| refusal.code.as_u16()), refusal);
        assert_eq!(requests.load(Ordering::Relaxed), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn long_outage_is_reported() {
        let (clusters, _) = source(usize::MAX, 503);
        let refusal = verify(&remote(&clusters, "1"), PATIENCE).await.unwrap_err();
        assert_eq!(refusal.code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(refusal.message.contains("gave up after 60s"), "{refusal:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_pod_of_the_name_is_not_the_one() {
        let (clusters, _) = source(0, 0);
        let refusal = verify(&remote(&clusters, "2"), PATIENCE).await.unwrap_err();
        assert_eq!(refusal.code, StatusCode::NOT_FOUND);
        assert!(refusal.message.contains("cluster c2"), "{refusal:?}");
    }

    /// The annotation `remote-uid` of a home pod may name the remote pod of another.
    #[rstest]
    #[case::its_own(|_: &mut ObjectMeta| {}, None)]
    #[case::replaced(|found: &mut ObjectMeta| found.uid = Some("2".into()), Some("no longer exists"))]
    #[case::of_another(|found: &mut ObjectMeta| *found = metadata("p", "1", "other"), Some("not created for"))]
    #[case::of_nobody(|found: &mut ObjectMeta| found.annotations = None, Some("not created for"))]
    #[case::forged(|found: &mut ObjectMeta| found.labels = metadata("p", "1", "other").labels, Some("not created for"))]
    #[tokio::test]
    async fn only_the_pod_created_for_the_home_pod_is_reached(
        #[case] change: fn(&mut ObjectMeta),
        #[case] refusal: Option<&str>,
    ) {
        let (clusters, _) = source(0, 0);
        let mut found = metadata("p", "1", "home");
        change(&mut found);
        let result = check(&remote(&clusters, "1"), Some(&found));
        assert_eq!(result.is_err(), refusal.is_some());
        if let (Err(refusal), Some(message)) = (result, refusal) {
            assert_eq!(refusal.code, StatusCode::NOT_FOUND);
            assert!(refusal.message.contains(message), "{refusal:?}");
        }
    }
}
