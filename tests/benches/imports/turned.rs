//! The importer's library in a process of this executable, with a clock that can be turned.
//!
//! So hours need not be waited for, and memory and CPU can be told from the bench's own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::SignedDuration;
use kube::Client;
use mcsa_importer::Clock;
use mcsa_importer::Controller;
use mcsa_runtime::logs::{self, LogArgs, LogFormat};
use mcsa_tests::Cluster;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

use crate::client;
use crate::importer::{READY_WITHIN, says};

/// An importer whose clock is turned from outside. It ends when this value is dropped, and when the
/// bench ends in any way, since its stdin does.
pub struct Turned {
    child: Child,
    stdin: ChildStdin,
    log: PathBuf,
}

impl Turned {
    /// Starts it, and waits until it says that it is ready.
    pub async fn start(target: &Cluster, kubeconfig: &Path) -> anyhow::Result<Self> {
        let log = target.dir().join("importer-turned.log");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-importer").arg(kubeconfig).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log)?);
        // Ctrl-C is the bench's to answer.
        let mut child = command.process_group(0).spawn().context("starting this executable again")?;
        let stdin = child.stdin.take().context("its stdin is gone")?;
        let mut turned = Self { child, stdin, log };
        let begun = Instant::now();
        while !says(&turned.log(), "leading") {
            let ended = turned.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY_WITHIN {
                let said = turned.log();
                bail!("the importer with a turned clock is not ready ({ended:?}); its log:\n{said}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(turned)
    }

    /// Its process id.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the importer with a turned clock has ended")
    }

    /// Adds to an error where the importer's side of it is.
    pub fn explain<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.with_context(|| format!("the importer's log is {}", self.log.display()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Turns its clock.
    pub async fn turn(&mut self, by: SignedDuration) -> anyhow::Result<()> {
        ensure!(by.is_positive(), "the first refresh was due before its time came to be measured");
        self.stdin.write_all(format!("{}\n", by.as_secs()).as_bytes()).await?;
        Ok(())
    }
}

/// What the process does: each line on stdin is the number of seconds that the clock is turned by, and
/// the end of stdin is the end.
pub async fn serve(kubeconfig: &Path) -> anyhow::Result<()> {
    logs::init(&LogArgs { log_format: LogFormat::Text, log: "info".into() })?;
    let clock = Clock::system();
    let (stop, stopped) = oneshot::channel::<()>();
    let controller = run(client::of(kubeconfig).await?, clock.clone(), async { drop(stopped.await) });
    let turn = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            clock.turn(SignedDuration::from_secs(line.parse()?));
        }
        drop(stop);
        anyhow::Ok(())
    };
    tokio::try_join!(controller, turn).map(drop)
}

/// The importer, but for its clock as `mcsa_importer::run` runs it.
async fn run(client: Client, clock: Clock, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    Controller::without_election(client, clock).run(shutdown).await
}
