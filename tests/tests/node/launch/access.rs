//! kubectl logs, exec, attach, cp and port-forward of home pods.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::*;

/// Makes kubectl use SPDY, which older versions do.
const SPDY: [(&str, &str); 2] =
    [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

pub(super) async fn logs_exec_and_ports(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let script = "echo first; echo second; mkdir /tmp/www; echo page > /tmp/www/index.html; \
                  httpd -f -p 8080 -h /tmp/www";
    let mut pod = shell("server", &script.replace("mkdir /tmp/www; ", ""));
    pod["spec"]["volumes"] = json!([{ "name": "www", "emptyDir": {} }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "www", "mountPath": "/tmp/www" }]);
    create(home.client(), "shell", &pod).await?;
    phase(launched, "shell", "server", "Running").await;

    eventually_within(DEADLINE, "the log has two lines", async || {
        let log = home.kubectl(["-n", "shell", "logs", "server"]).await?;
        ensure!(log == "first\nsecond\n", "{log:?}");
        anyhow::Ok(())
    })
    .await;
    let tail = home.kubectl(["-n", "shell", "logs", "server", "--tail=1", "-c", "main"]).await?;
    ensure!(tail == "second\n", "{tail:?}");
    for protocol in [&[][..], &SPDY] {
        exec(launched, protocol).await?;
        forward(launched, protocol).await?;
    }
    copy(launched).await?;
    denied(launched).await?;
    home.kubectl(["-n", "shell", "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "shell").await;
    Ok(())
}

fn kubectl(launched: &Launched, environment: &[(&str, &str)], args: &[&str]) -> anyhow::Result<Child> {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(launched.home.kubeconfig()).args(["-n", "shell"]).args(args);
    command.envs(environment.iter().copied()).kill_on_drop(true);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

async fn exec(launched: &Launched, protocol: &[(&str, &str)]) -> anyhow::Result<()> {
    let script = "cat; echo error >&2; exit 5";
    let mut exec = kubectl(launched, protocol, &["exec", "-i", "server", "--", "sh", "-c", script])?;
    let mut stdin = exec.stdin.take().context("no stdin")?;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (written, output) = tokio::join!(
        async {
            stdin.write_all(&sent).await?;
            stdin.shutdown().await?;
            drop(stdin);
            anyhow::Ok(())
        },
        exec.wait_with_output()
    );
    written?;
    let output = output?;
    ensure!(output.stdout == sent, "{} of {} bytes", output.stdout.len(), sent.len());
    ensure!(String::from_utf8_lossy(&output.stderr).contains("error"));
    ensure!(output.status.code() == Some(5), "{}", output.status);
    Ok(())
}

async fn forward(launched: &Launched, protocol: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut forward = kubectl(launched, protocol, &["port-forward", "server", ":8080"])?;
    let mut lines = BufReader::new(forward.stdout.take().context("no stdout")?).lines();
    let line = lines.next_line().await?.context("kubectl port-forward has ended")?;
    let port = line.split(':').nth(1).and_then(|rest| rest.split(' ').next()).context(line.clone())?;
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse()?)).await?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    ensure!(page.ends_with("page\n"), "{page:?}");
    forward.kill().await?;
    Ok(())
}

async fn copy(launched: &Launched) -> anyhow::Result<()> {
    let file = launched.home.dir().join("copied");
    let copied = file.display().to_string();
    launched.home.kubectl(["-n", "shell", "cp", "server:/tmp/www/index.html", &copied]).await?;
    ensure!(std::fs::read_to_string(&file)? == "page\n");
    Ok(())
}

/// A caller of the network without a certificate, and a user that may only get nodes/proxy.
async fn denied(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let node = home.kubectl(["get", "node", "c2", "-o", "json"]).await?;
    let node: Value = serde_json::from_str(&node)?;
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().context("no port")?;
    home.kubectl(["create", "clusterrole", "proxy-reader", "--verb=get", "--resource=nodes/proxy"]).await?;
    let subject = "--serviceaccount=default:default";
    home.kubectl(["create", "clusterrolebinding", "proxy-reader", "--clusterrole=proxy-reader", subject])
        .await?;
    let token = home.kubectl(["create", "token", "default", "--duration=1h"]).await?;
    for (path, token, expected) in [
        ("containerLogs/shell/server/main", None, "401"),
        ("exec/shell/server/main?command=ls&output=1", None, "401"),
        ("exec/shell/server/main?command=ls&output=1", Some(token.trim()), "403"),
        ("containerLogs/shell/server/main", Some(token.trim()), "200"),
    ] {
        let url = format!("https://127.0.0.1:{port}/{path}");
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        if path.starts_with("exec") {
            // As a WebSocket client does: the request is a GET.
            curl.args(["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"]);
            curl.args([
                "-H",
                "Sec-WebSocket-Version: 13",
                "-H",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ]);
        }
        if let Some(token) = token {
            curl.arg("-H").arg(format!("Authorization: Bearer {token}"));
        }
        let output = curl.output().await?;
        let code = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(code == expected, "{path}: {code}, expected {expected}");
    }
    Ok(())
}
