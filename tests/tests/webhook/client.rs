//! A TLS client that inspects the handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A completed handshake.
pub struct Handshake {
    pub certificate: CertificateDer<'static>,
    pub version: Option<ProtocolVersion>,
    pub protocol: Option<Vec<u8>>,
    pub stream: TlsStream<TcpStream>,
}

/// Connects like the API server, with this CA bundle.
pub async fn call(address: SocketAddr, bundle: &str) -> anyhow::Result<Handshake> {
    call_with(address, bundle, rustls::ALL_VERSIONS, b"h2").await
}

/// Connects with these TLS versions and this ALPN protocol.
pub async fn call_with(
    address: SocketAddr,
    bundle: &str,
    versions: &[&'static SupportedProtocolVersion],
    protocol: &[u8],
) -> anyhow::Result<Handshake> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from([127, 0, 0, 1])));
    let stream = TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, connection) = stream.get_ref();
    let certificates = connection.peer_certificates().context("no server certificate")?;
    Ok(Handshake {
        certificate: certificates[0].clone().into_owned(),
        version: connection.protocol_version(),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
        stream,
    })
}

impl Handshake {
    /// The status of a GET request over the negotiated protocol.
    pub async fn get(self, path: &str) -> anyhow::Result<u16> {
        let io = TokioIo::new(self.stream);
        let response = if self.protocol.as_deref() == Some(b"h2") {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender.send_request(get(path, "https://localhost")?).await?
        } else {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            sender.send_request(get(path, "")?).await?
        };
        Ok(response.status().as_u16())
    }
}

fn get(path: &str, base: &str) -> anyhow::Result<Request<Empty<Bytes>>> {
    Ok(Request::get(format!("{base}{path}")).header("host", "localhost").body(Empty::new())?)
}
