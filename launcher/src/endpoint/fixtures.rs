//! A source that echoes, a target that reviews, and a caller.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use kube::client::Body;
use kube::{Client, Config};
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::controller::Owner;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The UID of every pod of the source.
pub(super) const UID: &str = "remote-uid";

/// The UID of the home pod that every pod of the source was created for, but for the pod `foreign`.
pub(super) const HOME_UID: &str = "home-uid";

/// The requests that a source received, without health checks.
pub(super) type Requests = Arc<Mutex<Vec<String>>>;

/// Waits at most a minute: a test never waits for time, but must end.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("nothing happened for a minute")
}

/// The metadata of a remote pod that was created for the home pod with this UID.
pub(super) fn metadata(name: &str, uid: &str, home_uid: &str) -> ObjectMeta {
    let pod = |namespace: &str, uid: &str| {
        let (name, namespace, uid) = (Some(name.into()), Some(namespace.into()), Some(uid.into()));
        Pod { metadata: ObjectMeta { name, namespace, uid, ..Default::default() }, ..Default::default() }
    };
    let mut remote = pod("remote", uid);
    let home = Owner::new("c1", "cluster-uid", &pod("home", home_uid), &()).unwrap();
    home.apply_to(&mut remote);
    remote.metadata
}

/// A source whose pods have the UID [`UID`].
pub(super) async fn source() -> (Clusters, Member, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let received = requests.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve_source(socket, received.clone()));
        }
    });
    let mut config = Config::new(url.parse().unwrap());
    config.auth_info.token = Some("of-the-import".to_owned().into());
    let clusters = Clusters::fixed([("c2", Client::try_from(config).unwrap())]);
    let member = clusters.get("c2").unwrap();
    (clusters, member, requests)
}

async fn serve_source(mut socket: TcpStream, requests: Requests) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut socket).await?;
        let uri = head.split(' ').nth(1).unwrap().to_owned();
        if !uri.starts_with("/readyz") {
            requests.lock().unwrap().push(head.clone());
        }
        let path = uri.split('?').next().unwrap();
        let (code, body) = match path.rsplit('/').next().unwrap() {
            "exec" if uri.contains("command=refused") => (403, status("no exec for you", 403)),
            "log" if uri.contains("container=waiting") => (400, status("waiting to start", 400)),
            "exec" | "attach" | "portforward" => {
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
                              x-stream-protocol-version: v4.channel.k8s.io\r\nset-cookie: a=b\r\n\r\n";
                socket.write_all(switch.as_bytes()).await?;
                let (mut reader, mut writer) = socket.split();
                tokio::io::copy(&mut reader, &mut writer).await?;
                // The caller has closed its half, and still reads.
                writer.write_all(b"bye").await?;
                return writer.shutdown().await;
            }
            "log" => {
                let start = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n\
                             6\r\nfirst\n\r\n";
                socket.write_all(start.as_bytes()).await?;
                if uri.contains("follow=true") {
                    // Until the caller goes.
                    let end = socket.read(&mut [0]).await;
                    requests.lock().unwrap().push("closed".to_owned());
                    return end.map(drop);
                }
                socket.write_all(b"0\r\n\r\n").await?;
                continue;
            }
            "readyz" => (200, "ok".to_owned()),
            "pods" => {
                let usage = json!({ "cpu": "5m", "memory": "1Mi" });
                let containers = [json!({ "name": "c", "usage": usage })];
                let pod = json!({ "name": "p" });
                let at = "2026-01-01T00:00:00Z";
                let report = json!({ "metadata": pod, "timestamp": at, "containers": containers });
                (200, json!({ "items": [report] }).to_string())
            }
            name => {
                let home_uid = if name == "foreign" { "uid-of-another-home-pod" } else { HOME_UID };
                let metadata = metadata(name, UID, home_uid);
                let kind = "PartialObjectMetadata";
                (200, json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata}).to_string())
            }
        };
        let length = body.len();
        let response = format!("HTTP/1.1 {code} Code\r\ncontent-length: {length}\r\n\r\n{body}");
        socket.write_all(response.as_bytes()).await?;
    }
}

fn status(message: &str, code: u16) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code})
        .to_string()
}

/// The target: it knows the token `valid`, and allows what its rights name.
#[derive(Clone, Default)]
pub(super) struct Target(Arc<Mutex<TargetState>>);

#[derive(Default)]
pub(super) struct TargetState {
    /// The authorities in the ConfigMap. Empty: it does not exist.
    pub(super) authorities: String,
    /// Verb and subresource of each right.
    pub(super) rights: Vec<(&'static str, &'static str)>,
    /// Answers each review with this code.
    pub(super) broken: Option<u16>,
    /// The specs of the access reviews that it received.
    pub(super) access_reviews: Vec<Value>,
    pub(super) token_reviews: usize,
}

impl Target {
    pub(super) fn set<T>(&self, change: impl FnOnce(&mut TargetState) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn client(&self) -> Client {
        let target = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let target = target.clone();
            async move { Ok::<_, Infallible>(target.respond(request).await) }
        });
        Client::new(service, "default")
    }

    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let mut review: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (code, body) = self.set(|state| match (&parts.method, parts.uri.path()) {
            (&Method::POST, _) if state.broken.is_some() => {
                (state.broken.unwrap(), json!({"kind": "Status", "message": "broken"}))
            }
            (&Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews") => {
                state.token_reviews += 1;
                let user = json!({"username": "prober", "groups": ["system:authenticated"]});
                review["status"] = match review["spec"]["token"].as_str() {
                    Some("valid") => json!({"authenticated": true, "user": user}),
                    _ => json!({"authenticated": false, "user": user}),
                };
                (201, review)
            }
            (&Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews") => {
                let attributes = &review["spec"]["resourceAttributes"];
                let text = |name: &str| attributes[name].as_str().unwrap_or_default();
                let right = (text("verb"), text("subresource"));
                let allowed = text("resource") == "nodes" && state.rights.contains(&right);
                state.access_reviews.push(review["spec"].clone());
                review["status"] = json!({"allowed": allowed});
                (201, review)
            }
            (_, "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
                if !state.authorities.is_empty() =>
            {
                (200, json!({"metadata": {}, "data": {"client-ca-file": state.authorities}}))
            }
            _ => (404, json!({"kind": "Status", "message": "not found", "reason": "NotFound", "code": 404})),
        });
        let mut response = Response::new(Body::from(body.to_string().into_bytes()));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }
}

/// An authority of client certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

pub(super) type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A client certificate of a user in the group `masters`.
    pub(super) fn issue(&self, user: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, "masters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// A connection to the endpoint.
pub(super) struct Caller(pub(super) TlsStream<TcpStream>);

/// A response that is complete, or the head of one that is not.
#[derive(Debug, PartialEq)]
pub(super) struct Received {
    pub(super) code: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Caller {
    pub(super) async fn connect(
        port: u16,
        certificate: &CertificateDer<'static>,
        identity: Option<Identity>,
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match identity {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Ok(Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// Sends a request, and reads the response; its body only if that has a length.
    pub(super) async fn request(
        &mut self,
        method: &str,
        uri: &str,
        headers: &str,
    ) -> std::io::Result<Received> {
        let request = format!("{method} {uri} HTTP/1.1\r\nhost: node\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let head = soon(read_head(&mut self.0)).await?;
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        soon(self.0.read_exact(&mut body)).await?;
        Ok(Received { code, head, body: String::from_utf8(body).unwrap() })
    }
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap().to_lowercase())
}
