//! Builds kube's client, with what kube leaves out: user and password of a SOCKS5 proxy.

use http::Uri;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use percent_encoding::percent_decode_str;
use tower::{BoxError, ServiceBuilder};

/// A client without retries of its own. Call it within a tokio runtime.
///
/// # Errors
/// If the certificates or the headers of the config can't be used.
pub fn client(mut config: Config) -> kube::Result<Client> {
    config.default_retry = false;
    match config.proxy_url.as_ref().and_then(socks_proxy) {
        Some(proxy) => through_socks(&config, proxy),
        None => Ok(ClientBuilder::try_from(config)?.build()),
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

fn through_socks(config: &Config, proxy: SocksProxy) -> kube::Result<Client> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let socks = SocksV5::new(proxy.url, http).with_auth(proxy.user, proxy.password);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(socks)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}
