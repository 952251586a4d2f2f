//! When the API server was last heard: how old what we know may be.
//!
//! A watch that is silent looks like one where nothing happens. API servers break the silence each
//! minute with a bookmark (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>),
//! which kube keeps to itself; so it is the bytes of its answers that are listened to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

/// When the API server last said something; never, at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Instant>>>);

impl Heard {
    /// A client whose answers are listened to, for one watch and nothing else.
    ///
    /// # Errors
    /// When the config is none that a client can have.
    pub(crate) fn client(&self, config: Config) -> kube::Result<Client> {
        let heard = self.clone();
        let listen = move |response: Response<_>| heard.listen(response);
        Ok(ClientBuilder::try_from(config)?.with_layer(&MapResponseLayer::new(listen)).build())
    }

    /// How long ago that was.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|time| time.elapsed())
    }

    fn listen<B: Body>(
        &self,
        response: Response<B>,
    ) -> Response<impl Body<Data = B::Data, Error = B::Error> + use<B>> {
        // A refusal tells nothing of imports.
        let heard = response.status().is_success().then(|| self.clone());
        response.map(|body| {
            body.map_frame(move |frame| {
                if let Some(heard) = &heard {
                    heard.note();
                }
                frame
            })
        })
    }

    fn note(&self) {
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
    async fn what_is_said_is_heard(#[case] status: u16, #[case] is_heard: bool) {
        let heard = Heard::default();
        let response = Response::builder().status(status).body(Full::new("{}".as_bytes())).unwrap();
        let response = heard.listen(response);
        assert_eq!(heard.age(), None, "nothing was read yet");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "{}");
        assert_eq!(heard.age().is_some(), is_heard);
    }
}
