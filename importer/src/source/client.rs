//! The client of a source. Its token changes while its connections stay.

mod guard;
mod refusal;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use kube::client::Body;
use kube::{Client, Config};
use mcsa_client::live::{ConnectionNumber, client_builder, numbered_client_builder};
use mcsa_credentials::ExposeSecret;
use mcsa_runtime::deadline::set_timeouts;
use mcsa_runtime::lease::Fence;
use tower::util::{MapRequestLayer, MapResponseLayer};

use self::guard::GuardLayer;
use super::session::Session;

/// A client, and the token that it sends.
pub(super) struct SourceClient {
    client: Client,
    /// Without the token.
    config: Config,
    fence: Fence,
    /// Digest of the config without the token.
    digest: u64,
    token: Arc<RwLock<Token>>,
}

/// The `Authorization` header, marked sensitive, and its number. `None` if the link uses a client certificate.
#[derive(Default)]
struct Token {
    header: Option<HeaderValue>,
    number: u64,
}

impl SourceClient {
    pub(super) fn new(mut config: Config, fence: &Fence) -> anyhow::Result<Self> {
        let digest = digest(&config)?;
        let token = Arc::new(RwLock::new(Token { header: header(&config)?, number: 0 }));
        config.auth_info.token = None;
        set_timeouts(&mut config);
        let client = connect(&config, &token, fence, None)?;
        Ok(Self { client, config, fence: fence.clone(), digest, token })
    }

    /// A client with the same config and no connections.
    pub(super) fn fresh(&self) -> anyhow::Result<Client> {
        connect(&self.config, &self.token, &self.fence, None)
    }

    /// A session with the same config and no connections.
    pub(super) fn session(&self) -> anyhow::Result<Session> {
        let connection = Arc::default();
        let client = connect(&self.config, &self.token, &self.fence, Some(&connection))?;
        Ok(Session::new(client, connection))
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn token_number(&self) -> u64 {
        self.token.read().unwrap_or_else(PoisonError::into_inner).number
    }

    /// Switches to the token of `config`. Returns false, without a change, if anything else is different.
    pub(super) fn renew(&self, config: &Config) -> anyhow::Result<bool> {
        if digest(config)? != self.digest {
            return Ok(false);
        }
        let header = header(config)?;
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        if token.header != header {
            *token = Token { header, number: token.number + 1 };
        }
        Ok(true)
    }
}

/// A client. If `connection` is given, the client stores there the number of each response's connection.
fn connect(
    config: &Config,
    token: &Arc<RwLock<Token>>,
    fence: &Fence,
    connection: Option<&Arc<AtomicU64>>,
) -> anyhow::Result<Client> {
    let builder = match connection {
        Some(_) => numbered_client_builder(config.clone())?,
        None => client_builder(config.clone())?,
    };
    let (token, connection) = (token.clone(), connection.cloned().unwrap_or_default());
    let authorize = move |mut request: Request<Body>| {
        if let Some(header) = &token.read().unwrap_or_else(PoisonError::into_inner).header {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        request
    };
    let record = move |response: Response<_>| {
        let number = response.extensions().get::<ConnectionNumber>().map_or(0, |number| number.0);
        connection.store(number, Ordering::Relaxed);
        response
    };
    let client = builder
        .with_layer(&GuardLayer)
        .with_layer(&MapRequestLayer::new(authorize))
        .with_layer(&MapResponseLayer::new(record))
        .with_layer(&fence.layer())
        .build();
    Ok(client)
}

fn header(config: &Config) -> anyhow::Result<Option<HeaderValue>> {
    let Some(token) = &config.auth_info.token else { return Ok(None) };
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.ok().context("the link's token has invalid characters")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn digest(config: &Config) -> anyhow::Result<u64> {
    let mut user = config.auth_info.clone();
    let has_token = user.token.take().is_some();
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&user).context("the kubeconfig's user")?.hash(&mut hasher);
    (has_token, config.proxy_url.as_ref().map(ToString::to_string), &config.tls_server_name)
        .hash(&mut hasher);
    (config.cluster_url.to_string(), &config.root_cert).hash(&mut hasher);
    Ok(hasher.finish())
}
