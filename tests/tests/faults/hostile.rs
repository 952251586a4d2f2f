//! The source returns invalid or malicious responses.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use mcsa_tests::{Importer, Imports, LinkedTarget, apply_link, eventually};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{Subject, for_a_day};

const TOKEN: &str = "t0ken-of-the-link";

/// The response to any request.
#[derive(Clone, Copy, Debug)]
enum HostileResponse {
    /// A success whose body never ends.
    Endless,
    /// A status code, and a body in which the request's header replaces `AUTHORIZATION`.
    Fixed(u16, &'static str),
}

/// Starts a server with this response, for as long as this process runs; returns the kubeconfig of a link to it.
fn hostile(response: HostileResponse) -> anyhow::Result<Kubeconfig> {
    mcsa_tests::init();
    let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let authority = BASE64_STANDARD.encode(identity.cert.pem());
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![identity.cert.into()], key)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = format!("https://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let config = config.clone();
            // A client that closes the connection ends the thread with an error.
            std::thread::spawn(move || serve(config, connection?, response));
        }
    });
    let cluster = json!({ "server": server, "certificate-authority-data": authority });
    let kubeconfig = json!({
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "c", "user": { "token": TOKEN } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
        "current-context": "c",
    });
    Ok(serde_json::from_value(kubeconfig)?)
}

fn serve(config: Arc<ServerConfig>, connection: TcpStream, response: HostileResponse) -> anyhow::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, connection);
    let (mut head, mut byte) = (Vec::new(), [0]);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let HostileResponse::Fixed(code, body) = response else { break };
        let head = String::from_utf8_lossy(&head);
        let sent = head.lines().find(|line| line.to_lowercase().starts_with("authorization:"));
        let body = body.replace("AUTHORIZATION", sent.context("no header")?);
        write!(stream, "HTTP/1.1 {code} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        stream.flush()?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    loop {
        write!(stream, "10000\r\n{}\r\n", " ".repeat(0x10000))?;
    }
}

/// All that a reader of imports and events sees.
async fn shown(client: Client, imports: &Imports) -> anyhow::Result<String> {
    let events = Api::<Event>::all(client).list(&ListParams::default()).await?;
    let imports = imports.api.list(&ListParams::default()).await?;
    Ok(serde_json::to_string(&(events.items, imports.items))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_sources_do_not_affect_other_imports() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, namespace, .. } = &linked;
    let imports = Imports::of(target.client(), namespace);
    let page = "<html>Bad gateway. Your request: AUTHORIZATION</html>";
    let status = r#"{"kind": "Status", "apiVersion": "v1", "code": 403, "message": "no, AUTHORIZATION"}"#;
    let no_uid = r#"{"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system"}}"#;
    let cases = [
        ("endless", HostileResponse::Endless, "SourceUnreachable", "longer than 1 MiB"),
        ("page", HostileResponse::Fixed(502, page), "SourceUnreachable", "HTTP 502"),
        ("elsewhere", HostileResponse::Fixed(302, page), "SourceUnreachable", "HTTP 302"),
        (
            "status",
            HostileResponse::Fixed(403, status),
            "LinkForbidden",
            "no, authorization: Bearer [redacted];",
        ),
        ("no-uid", HostileResponse::Fixed(200, no_uid), "SourceFailed", "an invalid UID"),
        (
            "not-an-object",
            HostileResponse::Fixed(200, r#"["AUTHORIZATION"]"#),
            "SourceUnreachable",
            "invalid response from the API server",
        ),
    ];
    for (name, response, ..) in &cases {
        apply_link(target, name, &hostile(*response)?).await?;
        imports.create(&for_a_day(name, name, namespace)).await?;
    }
    imports.create(&for_a_day("a", "c2", namespace)).await?;
    let importer = Importer::of(target).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;
    for (name, _, reason, words) in cases {
        let message = Subject { name, ..a }.fails(reason).await?;
        ensure!(message.contains(words), "{name}: {message}");
        eventually(format!("an event about {name}"), async || {
            let of_it = ListParams::default().fields(&format!("involvedObject.name={name}"));
            let events = Api::<Event>::all(target.client()).list(&of_it).await?;
            ensure!(!events.items.is_empty(), "there is no event");
            anyhow::Ok(())
        })
        .await;
    }
    let before = a.values().await?;
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&before).await;
    let shown = shown(target.client(), &imports).await?;
    ensure!(!shown.contains(TOKEN), "{shown}");
    importer.stop().await?;
    linked.release().await
}
