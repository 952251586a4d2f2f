//! kubectl logs, exec, attach, cp, port-forward and top of home pods.

mod denied;
mod exec;
mod logs;
mod terminal;
mod usage;

use std::process::Stdio;

use mcsa_tests::binaries;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use super::*;

/// Makes kubectl use SPDY, which older versions do.
const SPDY: [(&str, &str); 2] =
    [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

/// The variables of both protocols. WebSocket is kubectl's default.
const PROTOCOLS: [&[(&str, &str)]; 2] = [&[], &SPDY];

pub(super) async fn logs_exec_and_ports(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    within("kubectl logs", logs::logs_of_containers(launched)).await?;
    let script = "echo page > /tmp/www/index.html; httpd -f -p 8080 -h /tmp/www";
    let mut pod = shell("server", script);
    pod["spec"]["volumes"] = json!([{ "name": "www", "emptyDir": {} }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "www", "mountPath": "/tmp/www" }]);
    create(home.client(), "shell", &pod).await?;
    phase(launched, "shell", "server", "Running").await;
    for protocol in PROTOCOLS {
        within("kubectl exec", exec::streams_and_exit_code(launched, protocol)).await?;
        within("kubectl exec --tty", exec::terminal_of_a_size(launched, protocol)).await?;
        within("kubectl attach", exec::attached_input(launched, protocol)).await?;
        within("kubectl port-forward", forward(launched, protocol)).await?;
    }
    copy(launched).await?;
    usage::usage_is_that_of_the_source(launched).await?;
    denied::callers_need_rights(launched).await?;
    home.kubectl(["-n", "shell", "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "shell").await;
    Ok(())
}

/// Fails if a step hangs. `what` is for the error.
async fn within(what: &str, step: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(2 * DEADLINE, step)
        .await
        .with_context(|| format!("{what} hangs"))?
        .context(what.to_owned())
}

/// kubectl in the namespace of the pods.
async fn command(
    launched: &Launched,
    environment: &[(&str, &str)],
    args: &[&str],
) -> anyhow::Result<Command> {
    let mut command = Command::new(&binaries().await?.kubectl);
    command.arg("--kubeconfig").arg(launched.home.kubeconfig()).args(["-n", "shell"]).args(args);
    command.envs(environment.iter().copied()).kill_on_drop(true);
    Ok(command)
}

/// Starts kubectl with pipes.
async fn kubectl(launched: &Launched, environment: &[(&str, &str)], args: &[&str]) -> anyhow::Result<Child> {
    let mut command = command(launched, environment, args).await?;
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn lines(child: &mut Child) -> anyhow::Result<Lines<BufReader<ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("no stdout")?).lines())
}

async fn forward(launched: &Launched, protocol: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut forward = kubectl(launched, protocol, &["port-forward", "server", ":8080"]).await?;
    // kubectl ends when it can't print that it handles a connection.
    let mut lines = lines(&mut forward)?;
    let line = lines.next_line().await?.context("kubectl port-forward has ended")?;
    let port = line.split(':').nth(1).and_then(|rest| rest.split(' ').next()).context(line.clone())?;
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse()?)).await?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    let read = stream.read_to_string(&mut page).await;
    forward.start_kill()?;
    let stderr = String::from_utf8(forward.wait_with_output().await?.stderr)?;
    read.with_context(|| stderr.clone())?;
    ensure!(page.ends_with("page\n"), "{page:?}; {stderr}");
    Ok(())
}

async fn copy(launched: &Launched) -> anyhow::Result<()> {
    let file = launched.home.dir().join("copied");
    let copied = file.display().to_string();
    launched.home.kubectl(["-n", "shell", "cp", "server:/tmp/www/index.html", &copied]).await?;
    ensure!(std::fs::read_to_string(&file)? == "page\n");
    Ok(())
}
