//! The importer as it is shipped: its own binary, with its own rights.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mcsa_tests::{Cluster, Process, program};

/// How long it may take to know all imports.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running importer.
pub struct Importer {
    process: Process,
    /// When it was started.
    pub started: Instant,
    /// When it said that it is ready: it knows all there is.
    pub ready: Instant,
    /// When it said that it leads, and began to work.
    pub leading: Instant,
}

impl Importer {
    /// Starts it, and waits until it says that it is ready. What it logs is named after the `phase`.
    pub async fn start(target: &Cluster, kubeconfig: &Path, phase: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(program("mcsa-importer")?);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--probe-address", "127.0.0.1:0"]);
        // A short lease: the next one waits for it when this one is killed.
        command.args(["--lease-duration", "3"]);
        let log = target.dir().join(format!("importer-{phase}.log"));
        let started = Instant::now();
        let process = Process::spawn("mcsa-importer", &command, log)?;
        let said = async |what| {
            while !says(&process.log(), what) {
                process.check()?;
                if started.elapsed() > READY_WITHIN {
                    bail!("the importer is not {what}; its log ends with:\n{}", process.log_tail(15));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            anyhow::Ok(Instant::now())
        };
        let (ready, leading) = (said("ready").await?, said("leading").await?);
        Ok(Self { process, started, ready, leading })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Adds to an error what the importer said last.
    pub fn explain<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        self.process.check()?;
        result.with_context(|| format!("the importer's log ends with:\n{}", self.process.log_tail(5)))
    }

    /// Kills it: whoever restarts is not always warned.
    pub fn kill(self) {
        self.process.kill();
    }
}

/// Whether a log has the line by which the importer says this of itself.
pub fn says(log: &str, what: &str) -> bool {
    log.lines().any(|line| line.ends_with(&format!(": {what}")))
}
