//! Watches the Secrets. In other namespaces than the workflow controller's, this needs rights to one Secret only.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch::Sender;
use tokio::time::{sleep, timeout};

use super::lists::{Lists, Selection};

/// Deadline for a list: the API server's default `--request-timeout`.
const LIST_DEADLINE: Duration = Duration::from_secs(60);

/// Keeps the lists up to date.
pub(super) async fn run(client: &Client, lists: &Sender<Lists>) -> Infallible {
    let selections = lists.borrow().selections();
    join_all(selections.iter().map(|selection| watch(client, selection, lists))).await;
    pending().await
}

/// Begins a new watch when a list hangs.
async fn watch(client: &Client, selection: &Selection, lists: &Sender<Lists>) -> Infallible {
    loop {
        watch_until_list_hangs(client, selection, lists).await;
        let problem = format!("no response within {}s", LIST_DEADLINE.as_secs());
        let error = watcher::Error::InitialListFailed(kube::Error::Service(problem.into()));
        lists.send_if_modified(|lists| lists.handle(selection, Err(error)));
    }
}

async fn watch_until_list_hangs(client: &Client, selection: &Selection, lists: &Sender<Lists>) {
    let api = Api::<Secret>::namespaced(client.clone(), &selection.namespace);
    let mut events = pin!(watcher(api, selection.config()));
    let mut backoff = DefaultBackoff::default();
    let mut is_listed = false;
    loop {
        // A watch may be quiet for any time. A list may not.
        let deadline = if is_listed { Duration::MAX } else { LIST_DEADLINE };
        let Ok(event) = timeout(deadline, events.next()).await else { return };
        // kube's watches do not end.
        let Some(event) = event else { return pending().await };
        let pause = match &event {
            // Each retry of a list begins with this event, so it does not reset the back-off.
            Ok(Event::Init) => {
                is_listed = false;
                None
            }
            Ok(event) => {
                is_listed |= matches!(event, Event::InitDone);
                backoff.reset();
                None
            }
            Err(_) => backoff.next(),
        };
        lists.send_if_modified(|lists| lists.handle(selection, event));
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::watch::channel;

    use super::*;

    /// The first list of each watch hangs.
    fn client(watches: usize) -> Client {
        let lists = AtomicUsize::new(0);
        let respond = move |request: Request<Body>| {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
            let hangs = is_watch || lists.fetch_add(1, Ordering::Relaxed) < watches;
            async move {
                if hangs {
                    return pending().await;
                }
                let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [] });
                Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
            }
        };
        Client::new(tower::service_fn(respond), "argo")
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_hangs_is_repeated() {
        let (lists, mut observed) = channel(Lists::new("argo", &["argo".to_owned()].into()));
        let client = client(lists.borrow().selections().len());
        let are_listed = timeout(10 * LIST_DEADLINE, observed.wait_for(Lists::are_listed));
        tokio::select! {
            never = run(&client, &lists) => match never {},
            listed = are_listed => assert!(listed.is_ok()),
        }
    }
}
