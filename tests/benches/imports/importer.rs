//! Runs the importer's own binary, with its own rights.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mcsa_tests::{Cluster, Process, program};

/// Deadline for the importer to become ready.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running importer.
pub struct Importer {
    process: Process,
    pub started: Instant,
    /// When it logged that it is ready: it knows all imports.
    pub ready: Instant,
    /// When it logged that it leads: it starts to work.
    pub leading: Instant,
}

impl Importer {
    /// Starts the importer, and waits until it logs that it is ready and leads. Its log is named after the `phase`.
    pub async fn start(target: &Cluster, kubeconfig: &Path, phase: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(program("mcsa-importer")?);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--probe-address", "127.0.0.1:0"]);
        // A short lease, because after a kill, the next importer waits until the lease expires.
        command.args(["--lease-duration", "3"]);
        let log = target.dir().join(format!("importer-{phase}.log"));
        let started = Instant::now();
        let process = Process::spawn("mcsa-importer", &command, log)?;
        let logged = async |what| {
            while !has_logged(&process.log(), what) {
                process.check()?;
                if started.elapsed() > READY_WITHIN {
                    bail!("the importer is not {what}; its log ends with:\n{}", process.log_tail(15));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            anyhow::Ok(Instant::now())
        };
        let (ready, leading) = (logged("ready").await?, logged("leading").await?);
        Ok(Self { process, started, ready, leading })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Adds the end of the importer's log to an error.
    pub fn with_log<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        self.process.check()?;
        result.with_context(|| format!("the importer's log ends with:\n{}", self.process.log_tail(5)))
    }

    /// Kills the importer without warning.
    pub fn kill(self) {
        self.process.kill();
    }
}

/// Whether the importer has logged this message.
pub fn has_logged(log: &str, what: &str) -> bool {
    log.lines().any(|line| line.ends_with(&format!(": {what}")))
}
