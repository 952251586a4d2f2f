//! Measures the throughput of `kubectl exec` and `kubectl logs`, at home and straight in the source.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kube::runtime::wait::conditions::is_pod_running;
use mcsa_tests::{Launched, READY_TIMEOUT, binaries, eventually_within};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::args::Args;
use crate::fixture::{self, NAMESPACE, create, delete, pods, shell, wait};
use crate::table::{Goal, Row, Section};
use crate::usage::cpu;

const POD: &str = "transfers";

/// Length of a line of the log, with its newline.
const LINE: u64 = 128;

/// The last line of the log.
const LAST_LINE: &str = "done\n";

/// Least share of the throughput straight in the source.
const LIMIT: f64 = 0.8;

/// Makes kubectl use SPDY, which older versions do. It sends WebSocket by default.
const SPDY: (&str, &str) = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");

/// Transfers of one kind.
struct Kind {
    args: Vec<String>,
    /// An environment variable of kubectl.
    variable: Option<(&'static str, &'static str)>,
    /// Bytes of one transfer.
    bytes: u64,
    /// Bytes per second at home.
    home: Vec<f64>,
    /// Bytes per second straight in the source.
    direct: Vec<f64>,
    /// Processor time of all transfers at home.
    launcher: Duration,
    api_server: Duration,
}

pub struct Transfers {
    exec: Kind,
    exec_spdy: Kind,
    logs: Kind,
}

impl Transfers {
    /// Transfers the same bytes of one pod on both sides alternately.
    pub async fn measure(launched: &Launched, args: &Args) -> anyhow::Result<Self> {
        let home = pods(launched.home.client());
        let lines = (u64::from(args.log_mib) << 20) / LINE;
        let line = "x".repeat(LINE as usize - 1);
        let script = format!(
            "busybox yes {line} | busybox head -n {lines}; echo done; trap 'exit 0' TERM; while true; do sleep 1; done"
        );
        let pod = create(&home, fixture::launched(shell(POD, &script), launched)).await?;
        wait(&home, POD, "Running", is_pod_running()).await?;
        eventually_within(READY_TIMEOUT, "the log is complete", async || {
            let end = launched.source.kubectl(["-n", NAMESPACE, "logs", POD, "--tail=1"]).await?;
            ensure!(end == LAST_LINE, "it ends with {end:?}");
            Ok(())
        })
        .await;
        // The pause: Kubernetes 1.36 may reset a WebSocket connection before kubectl has read the end of the output.
        let dd = format!("busybox dd if=/dev/zero bs=1M count={} status=none; sleep 2", args.exec_mib);
        let exec = ["exec", POD, "--", "sh", "-c", &dd];
        let exec_bytes = u64::from(args.exec_mib) << 20;
        let mut transfers = Self {
            exec: Kind::new(&exec, None, exec_bytes),
            exec_spdy: Kind::new(&exec, Some(SPDY), exec_bytes),
            logs: Kind::new(&["logs", POD], None, lines * LINE + LAST_LINE.len() as u64),
        };
        for _ in 0..args.transfers {
            for kind in [&mut transfers.exec, &mut transfers.exec_spdy, &mut transfers.logs] {
                kind.round(launched).await?;
            }
        }
        delete(&home, &pod).await?;
        Ok(transfers)
    }

    pub fn sections(&self) -> [Section; 3] {
        [
            Section { title: "Throughput of kubectl exec over WebSocket; median", rows: self.exec.rows() },
            Section { title: "Throughput of kubectl exec over SPDY; median", rows: self.exec_spdy.rows() },
            Section {
                title: "Throughput of kubectl logs, lines of 127 characters; median",
                rows: self.logs.rows(),
            },
        ]
    }

    pub fn goals(&self) -> [Goal; 3] {
        let kinds =
            [("exec over WebSocket", &self.exec), ("exec over SPDY", &self.exec_spdy), ("logs", &self.logs)];
        kinds.map(|(name, kind)| Goal {
            what: format!(
                "throughput of {name}, divided by that straight in the source: at least {LIMIT:.2}"
            ),
            figure: format!("{:.2}", kind.ratio()),
            is_met: kind.ratio() >= LIMIT,
        })
    }
}

impl Kind {
    fn new(args: &[&str], variable: Option<(&'static str, &'static str)>, bytes: u64) -> Self {
        Self {
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            variable,
            bytes,
            home: Vec::new(),
            direct: Vec::new(),
            launcher: Duration::ZERO,
            api_server: Duration::ZERO,
        }
    }

    async fn round(&mut self, launched: &Launched) -> anyhow::Result<()> {
        let (launcher, api_server) = (launched.launcher().id(), launched.home.api_server().id());
        let before = (cpu(launcher)?, cpu(api_server)?);
        self.home.push(self.transfer(launched.home.kubeconfig()).await?);
        self.launcher += cpu(launcher)?.saturating_sub(before.0);
        self.api_server += cpu(api_server)?.saturating_sub(before.1);
        self.direct.push(self.transfer(launched.source.kubeconfig()).await?);
        Ok(())
    }

    /// Runs kubectl, and returns how many bytes of its output arrived each second after the first ones.
    async fn transfer(&self, kubeconfig: &Path) -> anyhow::Result<f64> {
        let mut command = Command::new(&binaries().await?.kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).args(["-n", NAMESPACE]).args(&self.args);
        command.envs(self.variable).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting kubectl")?;
        let mut output = child.stdout.take().context("no stdout")?;
        let mut buffer = vec![0; 256 << 10];
        let first = output.read(&mut buffer).await? as u64;
        let (start, mut received) = (Instant::now(), first);
        while received < self.bytes {
            let more = output.read(&mut buffer).await? as u64;
            let line = self.args.join(" ");
            ensure!(more > 0, "kubectl {line} ended after {received} of {} bytes", self.bytes);
            received += more;
        }
        let duration = start.elapsed();
        child.kill().await?;
        Ok((received - first) as f64 / duration.as_secs_f64())
    }

    fn ratio(&self) -> f64 {
        median(&self.home) / median(&self.direct)
    }

    fn rows(&self) -> Vec<Row> {
        let rate = |bytes: f64| format!("{:.0} MiB/s", bytes / f64::from(1 << 20));
        let gib = self.bytes as f64 * self.home.len() as f64 / f64::from(1 << 30);
        let per_gib = |time: Duration| format!("{:.1} s", time.as_secs_f64() / gib);
        let ratio = format!("{:.2}", self.ratio());
        let [home, direct] = [&self.home, &self.direct].map(|rates| rate(median(rates)));
        let api_server = format!("{} home's API server", per_gib(self.api_server));
        vec![
            Row::new("through home", home, format!("{direct} straight in the source")),
            Row::new("ratio", ratio, format!("1.00; goal {LIMIT:.2}")),
            Row::new("processor time per GiB", per_gib(self.launcher), api_server),
        ]
    }
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
