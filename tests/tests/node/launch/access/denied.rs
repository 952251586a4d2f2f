//! Who may not use the launcher's endpoint.

use http::{HeaderName, Request, StatusCode, header};
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};

use super::*;

/// What a WebSocket client sends. The request is a GET.
const WEBSOCKET: [(HeaderName, &str); 4] = [
    (header::CONNECTION, "Upgrade"),
    (header::UPGRADE, "websocket"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    (header::SEC_WEBSOCKET_KEY, "AAAAAAAAAAAAAAAAAAAAAA=="),
];

/// A caller of the network without a credential, and a user that may only get nodes/proxy.
pub(super) async fn callers_need_rights(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let node = home.kubectl(["get", "node", "c2", "-o", "json"]).await?;
    let node: Value = serde_json::from_str(&node)?;
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().context("no port")?;
    home.kubectl(["create", "clusterrole", "proxy-reader", "--verb=get", "--resource=nodes/proxy"]).await?;
    let subject = "--serviceaccount=default:default";
    home.kubectl(["create", "clusterrolebinding", "proxy-reader", "--clusterrole=proxy-reader", subject])
        .await?;
    let token = home.kubectl(["create", "token", "default", "--duration=1h"]).await?;
    let (logs, exec) = ("containerLogs/shell/server/main", "exec/shell/server/main?command=ls&output=1");
    for (path, token, expected) in [
        (logs, None, StatusCode::UNAUTHORIZED),
        (exec, None, StatusCode::UNAUTHORIZED),
        (exec, Some(token.trim()), StatusCode::FORBIDDEN),
        (logs, Some(token.trim()), StatusCode::OK),
    ] {
        let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
        config.accept_invalid_certs = true;
        config.auth_info = AuthInfo { token: token.map(Into::into), ..AuthInfo::default() };
        let mut request = Request::get(format!("/{path}"));
        if path == exec {
            for (name, value) in WEBSOCKET {
                request = request.header(name, value);
            }
        }
        let response = Client::try_from(config)?.send(request.body(Body::empty())?).await?;
        ensure!(response.status() == expected, "{path}: {}, expected {expected}", response.status());
    }
    Ok(())
}
