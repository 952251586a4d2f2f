//! A watch of objects in a remote namespace that survives outages of the source.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use mcsa_client::clusters::Member;
use mcsa_runtime::errors;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

/// Wait after a failed request.
const RETRY: Duration = Duration::from_secs(10);
/// Wait before objects that may not be listed are requested again, in case someone granted it.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(120);

pub(super) struct MemberWatch<K> {
    member: Member,
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    resume: Instant,
}

/// The member may not list the objects. The request is repeated later.
pub(super) struct Forbidden;

impl<K> MemberWatch<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    pub(super) fn new(member: Member, config: watcher::Config) -> Self {
        let api = Api::<K>::namespaced(member.client(), member.default_namespace());
        Self { member, events: watcher(api, config).boxed(), resume: Instant::now() }
    }

    /// The next event. May be cancelled.
    pub(super) async fn next(&mut self) -> Result<Event<K>, Forbidden> {
        loop {
            sleep_until(self.resume).await;
            self.member.wait_until_available().await;
            match self.events.next().await {
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => {
                    let is_forbidden = is_forbidden(&error);
                    self.resume = Instant::now() + if is_forbidden { FORBIDDEN_RETRY } else { RETRY };
                    let (cluster, namespace) = (&**self.member.name(), self.member.default_namespace());
                    let (kind, error) = (K::kind(&()), errors::line(&error));
                    tracing::debug!(cluster, namespace, %kind, error, "can't watch objects in a source");
                    if is_forbidden {
                        return Err(Forbidden);
                    }
                }
                // kube's watches do not end.
                None => return std::future::pending().await,
            }
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 403,
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}
