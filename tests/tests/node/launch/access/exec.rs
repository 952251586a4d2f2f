//! kubectl exec and attach.

use super::terminal::Terminal;
use super::*;

/// Bytes that are sent to a command, and come back.
const SENT: usize = 100_000_000;

/// Sends bytes to a command that sends them back. It also writes to stderr, and fails.
pub(super) async fn streams_and_exit_code(
    launched: &Launched,
    protocol: &[(&str, &str)],
) -> anyhow::Result<()> {
    let script = "cat; echo error >&2; exit 5";
    let mut exec = kubectl(launched, protocol, &["exec", "-i", "server", "--", "sh", "-c", script]).await?;
    let mut stdin = exec.stdin.take().context("no stdin")?;
    let sent: Vec<u8> = (0..SENT).map(|number| (number % 251) as u8).collect();
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

/// A terminal has the size of kubectl's own, also after that changes.
pub(super) async fn terminal_of_a_size(launched: &Launched, protocol: &[(&str, &str)]) -> anyhow::Result<()> {
    let script = "while read line; do echo \"size: $(busybox stty size)\"; done; exit 7";
    let args = ["exec", "-it", "server", "--", "sh", "-c", script];
    let kubectl = command(launched, protocol, &args).await?;
    let mut terminal = Terminal::run(&kubectl, (24, 80))?;
    terminal.shows("size: 24 80").await;
    terminal.resize((40, 100))?;
    terminal.shows("size: 40 100").await;
    let code = terminal.end().await?;
    ensure!(code == Some(7), "{code:?}");
    Ok(())
}

/// A container reads from kubectl attach.
pub(super) async fn attached_input(launched: &Launched, protocol: &[(&str, &str)]) -> anyhow::Result<()> {
    let name = if protocol.is_empty() { "attached" } else { "attached-by-spdy" };
    let mut pod = shell(name, "read line; echo \"read $line\"; read rest; exit 3");
    pod["spec"]["containers"][0]["stdin"] = json!(true);
    pod["spec"]["containers"][0]["stdinOnce"] = json!(true);
    create(launched.home.client(), "shell", &pod).await?;
    phase(launched, "shell", name, "Running").await;
    let mut attach = kubectl(launched, protocol, &["attach", "-i", name]).await?;
    let (mut stdin, mut output) = (attach.stdin.take().context("no stdin")?, lines(&mut attach)?);
    stdin.write_all(b"hello\n").await?;
    let line = output.next_line().await?;
    ensure!(line.as_deref() == Some("read hello"), "{line:?}");
    // The container reads the end of its input.
    drop(stdin);
    phase(launched, "shell", name, "Failed").await;
    attach.wait().await?;
    Ok(())
}
