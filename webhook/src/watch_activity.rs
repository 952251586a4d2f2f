//! Records when a watch last received data, which bounds the age of the cache.
//!
//! A dead watch looks like one without changes, except that API servers send a bookmark every minute
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>). kube does not expose bookmarks,
//! so this observes the response bodies.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

/// When the API server last sent data; `None` at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchActivity(Arc<Mutex<Option<Instant>>>);

impl WatchActivity {
    /// A client whose responses are observed. Use it for one watch only.
    pub(crate) fn client(&self, config: Config) -> kube::Result<Client> {
        let activity = self.clone();
        let observe = move |response: Response<_>| activity.observe(response);
        Ok(ClientBuilder::try_from(config)?.with_layer(&MapResponseLayer::new(observe)).build())
    }

    /// Time since the last data.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|time| time.elapsed())
    }

    fn observe<B: Body>(
        &self,
        response: Response<B>,
    ) -> Response<impl Body<Data = B::Data, Error = B::Error> + use<B>> {
        // An error says nothing about imports.
        let activity = response.status().is_success().then(|| self.clone());
        response.map(|body| {
            body.map_frame(move |frame| {
                if let Some(activity) = &activity {
                    activity.record();
                }
                frame
            })
        })
    }

    fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use rstest::rstest;

    #[rstest]
    #[case(200, true)]
    #[case(403, false)]
    #[tokio::test]
    async fn data_of_successful_responses_is_recorded(#[case] status: u16, #[case] is_recorded: bool) {
        let activity = WatchActivity::default();
        let response = Response::builder().status(status).body(Full::new("{}".as_bytes())).unwrap();
        let response = activity.observe(response);
        assert_eq!(activity.age(), None, "nothing is read yet");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "{}");
        assert_eq!(activity.age().is_some(), is_recorded);
    }
}
