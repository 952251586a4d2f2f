//! Creates reviews in the target. Anybody may cause one, so their number at the same time is limited.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ClusterResourceScope;
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use mcsa_runtime::deadline::with_deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Maximum number of concurrent reviews.
const MAX_REVIEWS: usize = 16;

/// Longest wait for other reviews.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Creates reviews. Clones share the limit.
#[derive(Clone)]
pub(super) struct Reviewer {
    client: Client,
    slots: Arc<Semaphore>,
}

impl Reviewer {
    pub(super) fn new(client: Client) -> Self {
        Self { client, slots: Arc::new(Semaphore::new(MAX_REVIEWS)) }
    }

    /// The review with its status.
    pub(super) async fn create<K>(&self, review: &K) -> kube::Result<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        // The semaphore is never closed, so the only error is that of the deadline.
        let Ok(_slot) = timeout(LONGEST_WAIT, self.slots.acquire()).await else {
            let kind = K::kind(&());
            let message = format!("too many reviews: no {kind} within {}s", LONGEST_WAIT.as_secs());
            return Err(kube::Error::Service(message.into()));
        };
        let api = Api::<K>::all(self.client.clone());
        with_deadline(api.create(&PostParams::default(), review)).await
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::TokenReview;

    use super::*;
    use crate::endpoint::fixtures::Target;

    #[tokio::test(start_paused = true)]
    async fn wait_for_other_reviews_is_limited() {
        let target = Target::default();
        let reviewer = Reviewer::new(target.client());
        let others = reviewer.slots.acquire_many(MAX_REVIEWS as u32).await.unwrap();
        let error = reviewer.create(&TokenReview::default()).await.unwrap_err();
        assert!(error.to_string().contains("no TokenReview within 5s"), "{error}");
        assert_eq!(target.set(|state| state.token_reviews), 0);
        drop(others);
        reviewer.create(&TokenReview::default()).await.unwrap();
    }
}
