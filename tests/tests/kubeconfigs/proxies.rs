//! Proxies of company networks: HTTP, HTTPS and SOCKS5, with and without a password. Each connects to the requested port
//! of this machine, whatever the host, so that a host that only the proxy knows shows that it was used.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use mcsa_tests::Cluster;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) const USER: &str = "jane";

/// With characters that URLs must escape.
pub(crate) const PASSWORD: &str = "p@ss:w%rd/s3cret";

pub(crate) struct Proxies {
    pub(crate) http: SocketAddr,
    pub(crate) open_http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) socks: SocketAddr,
    pub(crate) open_socks: SocketAddr,
    /// Forwards to the API server. `None`: this machine has no IPv6.
    pub(crate) ipv6: Option<SocketAddr>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
enum Protocol {
    Http {
        password: bool,
    },
    Https(TlsAcceptor),
    Socks {
        password: bool,
    },
    /// Connects to this port at once.
    Forward(u16),
}

impl Proxies {
    pub(crate) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let mut start = async |protocol| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            tasks.spawn(accept(listener, protocol));
            anyhow::Ok(address)
        };
        let http = start(Protocol::Http { password: true }).await?;
        let open_http = start(Protocol::Http { password: false }).await?;
        let https = start(Protocol::Https(acceptor(cluster)?)).await?;
        let socks = start(Protocol::Socks { password: true }).await?;
        let open_socks = start(Protocol::Socks { password: false }).await?;
        let ipv6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
            Ok(listener) => {
                let address = listener.local_addr()?;
                tasks.spawn(accept(listener, Protocol::Forward(cluster.port())));
                Some(address)
            }
            Err(_) => None,
        };
        Ok(Self { http, open_http, https, socks, open_socks, ipv6, _tasks: tasks })
    }
}

/// A password as a part of a URL.
pub(crate) fn escaped(password: &str) -> String {
    let escape =
        |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", c as u32) };
    password.chars().map(escape).collect()
}

/// TLS with the API server's own certificate.
fn acceptor(cluster: &Cluster) -> anyhow::Result<TlsAcceptor> {
    let file = |name| cluster.dir().join(name);
    let certificates = CertificateDer::pem_file_iter(file("apiserver.crt"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(file("apiserver.key"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, protocol: Protocol) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(serve(client, protocol.clone()));
    }
}

async fn serve(mut client: TcpStream, protocol: Protocol) -> io::Result<()> {
    match protocol {
        Protocol::Http { password } => {
            let port = http(&mut client, password).await?;
            forward(client, port).await
        }
        Protocol::Https(acceptor) => {
            let mut client = acceptor.accept(client).await?;
            let port = http(&mut client, false).await?;
            forward(client, port).await
        }
        Protocol::Socks { password } => {
            let port = socks(&mut client, password).await?;
            forward(client, port).await
        }
        Protocol::Forward(port) => forward(client, port).await,
    }
}

async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Answers CONNECT, and returns the requested port.
async fn http(client: &mut (impl AsyncRead + AsyncWrite + Unpin), password: bool) -> io::Result<u16> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request);
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let header = format!("proxy-authorization: basic {credentials}").to_lowercase();
    if password && !request.lines().any(|line| line.to_lowercase() == header) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let host = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let port =
        host.and_then(|host| host.rsplit_once(':')?.1.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    Ok(port)
}

/// Answers a SOCKS5 request (RFC 1928) with a password (RFC 1929) or without, and returns the requested port.
async fn socks(client: &mut TcpStream, password: bool) -> io::Result<u16> {
    let wanted = if password { 2 } else { 0 };
    let methods = block(client, 1).await?;
    if !methods.contains(&wanted) {
        client.write_all(&[5, 0xFF]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    client.write_all(&[5, wanted]).await?;
    if password {
        let user = block(client, 1).await?;
        let matches = (user == USER.as_bytes()) & (block(client, 0).await? == PASSWORD.as_bytes());
        client.write_all(&[1, u8::from(!matches)]).await?;
        if !matches {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    match request[3] {
        1 => drop(client.read_u32().await?),
        3 => drop(block(client, 0).await?),
        4 => drop(client.read_u128().await?),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    let port = client.read_u16().await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(port)
}

/// Bytes after their count, which follows `skipped` other bytes.
async fn block(client: &mut TcpStream, skipped: usize) -> io::Result<Vec<u8>> {
    for _ in 0..skipped {
        client.read_u8().await?;
    }
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
