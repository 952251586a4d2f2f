//! Builds kube's client, with what kube leaves out: user and password of a SOCKS5 proxy, and connections that several
//! configs share.
//!
//! Configs that differ only in token, headers and default namespace may share connections: they are HTTP/1.1, where the
//! server authenticates each request by itself. A client certificate, which it authenticates once, must be the same.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt, DynBody};
use kube::config::AuthInfo;
use kube::{Client, Config};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::util::BoxService;
use tower::{BoxError, Service, ServiceBuilder, service_fn};

use super::numbered::NumberedConnector;

/// The connections that are in use, by [`key`].
static POOLS: LazyLock<Mutex<HashMap<Vec<u8>, Weak<Pool>>>> = LazyLock::new(Mutex::default);

/// The connections of configs that share them.
pub(super) struct Pool {
    /// What the configs have in common.
    common: Config,
    /// The client that has the connections, and since when.
    client: Mutex<(Client, Instant)>,
}

impl Pool {
    /// The connections for a config. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If the certificates or the proxy of the config can't be used.
    pub(super) fn of(config: &Config) -> kube::Result<Arc<Self>> {
        let common = common(config);
        let key = key(&common)?;
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| pool.strong_count() > 0);
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let client = Mutex::new((client_builder(common.clone())?.build(), Instant::now()));
        let pool = Arc::new(Self { common, client });
        pools.insert(key, Arc::downgrade(&pool));
        Ok(pool)
    }

    /// A client that sends the credential of a config over these connections, without retries of its own.
    ///
    /// # Errors
    /// If the credential or the headers of the config can't be used.
    pub(super) fn client(self: &Arc<Self>, config: &Config) -> kube::Result<Client> {
        let pool = self.clone();
        let send = service_fn(move |request| {
            let client = pool.current().0.clone();
            async move { client.send(request).await.map_err(BoxError::from) }
        });
        let service = ServiceBuilder::new()
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .service(send);
        Ok(Client::new(service, config.default_namespace.clone()))
    }

    /// Sends further requests over new connections. Does nothing if that was done since `time`, for another config.
    pub(super) fn reconnect(&self, time: Instant) {
        let mut current = self.current();
        // If no client can be built now, the current one stays in use.
        if current.1 < time
            && let Ok(builder) = client_builder(self.common.clone())
        {
            *current = (builder.build(), Instant::now());
        }
    }

    fn current(&self) -> MutexGuard<'_, (Client, Instant)> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What must be equal in configs that share connections: all but token, headers and default namespace.
fn common(config: &Config) -> Config {
    let mut common = config.clone();
    let user = std::mem::take(&mut common.auth_info);
    common.auth_info = AuthInfo {
        client_certificate: user.client_certificate,
        client_certificate_data: user.client_certificate_data,
        client_key: user.client_key,
        client_key_data: user.client_key_data,
        ..Default::default()
    };
    common.headers.clear();
    common.default_namespace.clear();
    common.default_retry = false;
    common
}

/// A digest, which does not show the key of the client certificate. A connection belongs to the runtime that opened it.
fn key(common: &Config) -> kube::Result<Vec<u8>> {
    let (url, user) = (|url: &Uri| url.to_string(), &common.auth_info);
    let server = (url(&common.cluster_url), common.proxy_url.as_ref().map(url));
    let trust =
        (&common.root_cert, &common.root_cert_file, &common.tls_server_name, common.accept_invalid_certs);
    let file = |path: &Option<String>| path.as_ref().map(|path| std::fs::read(path).unwrap_or_default());
    let identity = (user, file(&user.client_certificate), file(&user.client_key));
    let timeouts = (common.connect_timeout, common.read_timeout, common.write_timeout);
    let flags = (common.reset_reader_on_write, common.disable_compression);
    let runtime = Handle::try_current().map(|runtime| runtime.id().to_string()).ok();
    let all = serde_json::to_vec(&(server, trust, identity, timeouts, flags, runtime));
    Ok(Sha256::digest(all.map_err(kube::Error::SerdeError)?).to_vec())
}

/// The service of kube's `ClientBuilder`.
pub type SendService = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// A builder of clients with connections of their own, as kube's `ClientBuilder::try_from`.
///
/// # Errors
/// If the certificates, the proxy or the headers of the config can't be used.
pub fn client_builder(config: Config) -> kube::Result<ClientBuilder<SendService>> {
    match config.proxy_url.as_ref().and_then(socks_proxy) {
        Some(proxy) => {
            let mut http = HttpConnector::new();
            http.enforce_http(false);
            build(&config, proxy.connector(http))
        }
        None => ClientBuilder::try_from(config),
    }
}

/// Same, with a [`ConnectionNumber`](super::ConnectionNumber) in the extensions of each response.
///
/// # Errors
/// If the certificates, the proxy or the headers of the config can't be used.
pub fn numbered_client_builder(config: Config) -> kube::Result<ClientBuilder<SendService>> {
    let connector = NumberedConnector::new();
    let Some(url) = config.proxy_url.clone() else { return build(&config, connector) };
    match (url.scheme_str(), socks_proxy(&url)) {
        (_, Some(proxy)) => build(&config, proxy.connector(connector)),
        (Some("socks5"), None) => build(&config, SocksV5::new(url.clone(), connector)),
        (Some("http"), None) => build(&config, tunnel(&url, connector)),
        (Some("https"), None) => {
            build(&config, tunnel(&url, config.rustls_https_connector_with_connector(connector)?))
        }
        // kube's error.
        _ => client_builder(config),
    }
}

/// A SOCKS5 proxy that requires a user and password.
#[derive(Debug, PartialEq, Eq)]
struct SocksProxy {
    url: Uri,
    user: String,
    password: String,
}

fn socks_proxy(url: &Uri) -> Option<SocksProxy> {
    if url.scheme_str() != Some("socks5") {
        return None;
    }
    let (user_info, address) = url.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let url = format!("socks5://{address}").parse().ok()?;
    Some(SocksProxy { url, user: decoded(user), password: decoded(password) })
}

impl SocksProxy {
    fn connector<C>(self, connector: C) -> SocksV5<C> {
        SocksV5::new(self.url, connector).with_auth(self.user, self.password)
    }
}

/// Connects through an HTTP proxy, with the user and password in its URL.
fn tunnel<C>(url: &Uri, connector: C) -> Tunnel<C> {
    let user_info = url.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let basic = user_info.and_then(|(user_info, _)| {
        let decoded: Vec<u8> = percent_decode_str(user_info).collect();
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(decoded))).ok()
    });
    let tunnel = Tunnel::new(url.clone(), connector);
    match basic {
        Some(basic) => tunnel.with_auth(basic),
        None => tunnel,
    }
}

/// A builder of clients whose connections this connector opens. Ignores the config's proxy.
fn build<C>(config: &Config, connector: C) -> kube::Result<ClientBuilder<SendService>>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let boxed = |response: Response<Incoming>| {
        response.map(|body| Box::new(body.map_err(BoxError::from)) as Box<DynBody>)
    };
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .map_response(boxed)
        .service(client);
    Ok(ClientBuilder::new(BoxService::new(service), config.default_namespace.clone()))
}
