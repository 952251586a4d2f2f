//! The connections to a source, whose token changes while they stay.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use http::{Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use mcsa_client::ExposeSecret;
use tower::util::{MapRequestLayer, MapResponseLayer};

/// A connection that is silent for so long is dead: API servers send a bookmark on each watch every
/// minute (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>).
const SILENCE: Duration = Duration::from_secs(100);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Makes a client of this config find out soon that nobody answers.
pub fn harden(config: &mut Config) {
    // A failed call is the queue's to repeat, with what is known by then.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
}

/// A client, what it sends with each request, and what came back with the last.
pub(super) struct Wire {
    client: Client,
    /// A digest of all that a new token leaves as it is.
    way: u64,
    token: Arc<RwLock<Token>>,
    retry_after: Arc<Mutex<Duration>>,
}

/// The value of the header, which does not print itself, and its number. A link that authenticates
/// by a certificate has no value.
#[derive(Default)]
struct Token {
    header: Option<HeaderValue>,
    number: u64,
}

impl Wire {
    pub(super) fn new(mut config: Config) -> anyhow::Result<Self> {
        let way = way(&config)?;
        let token = Arc::new(RwLock::new(Token { header: header(&config)?, number: 0 }));
        let retry_after = Arc::new(Mutex::new(Duration::ZERO));
        config.auth_info.token = None;
        harden(&mut config);
        let authorize = {
            let token = token.clone();
            move |mut request: Request<Body>| {
                if let Some(header) = &token.read().unwrap_or_else(PoisonError::into_inner).header {
                    request.headers_mut().insert(AUTHORIZATION, header.clone());
                }
                request
            }
        };
        let note = {
            let retry_after = retry_after.clone();
            move |response: Response<_>| {
                if let Some(seconds) = wished(&response) {
                    *retry_after.lock().unwrap_or_else(PoisonError::into_inner) = seconds;
                }
                response
            }
        };
        let client = ClientBuilder::try_from(config)?
            .with_layer(&MapRequestLayer::new(authorize))
            .with_layer(&MapResponseLayer::new(note))
            .build();
        Ok(Self { client, way, token, retry_after })
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn token_number(&self) -> u64 {
        self.token.read().unwrap_or_else(PoisonError::into_inner).number
    }

    /// Takes the token of `config`; whether that was all that is new.
    pub(super) fn renew(&self, config: &Config) -> anyhow::Result<bool> {
        if way(config)? != self.way {
            return Ok(false);
        }
        let header = header(config)?;
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        if token.header != header {
            *token = Token { header, number: token.number + 1 };
        }
        Ok(true)
    }

    /// How long the source last wished not to be called, said once. kube does not read the header,
    /// and API servers that reject a call for its priority send nothing else
    /// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>).
    pub(super) fn take_retry_after(&self) -> Duration {
        std::mem::take(&mut *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn wished<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn header(config: &Config) -> anyhow::Result<Option<HeaderValue>> {
    let Some(token) = &config.auth_info.token else { return Ok(None) };
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.ok().context("its token has characters that no token has")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn way(config: &Config) -> anyhow::Result<u64> {
    let mut user = config.auth_info.clone();
    let has_token = user.token.take().is_some();
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&user).context("its user")?.hash(&mut hasher);
    (has_token, config.proxy_url.as_ref().map(ToString::to_string), &config.tls_server_name)
        .hash(&mut hasher);
    (config.cluster_url.to_string(), &config.root_cert).hash(&mut hasher);
    Ok(hasher.finish())
}
