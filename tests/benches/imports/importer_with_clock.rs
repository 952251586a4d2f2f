//! Runs the importer's library in a process of this executable, with a clock that the bench can advance.
//!
//! So the bench need not wait for hours, and the importer's memory and CPU are separate from the bench's own.

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
use crate::importer::{READY_WITHIN, has_logged};

/// An importer whose clock the bench advances. It ends when this is dropped, and when the bench ends in any way,
/// because that closes its stdin.
pub struct ImporterWithClock {
    child: Child,
    stdin: ChildStdin,
    log: PathBuf,
}

impl ImporterWithClock {
    /// Starts the importer, and waits until it logs that it leads.
    pub async fn start(target: &Cluster, kubeconfig: &Path) -> anyhow::Result<Self> {
        let log = target.dir().join("importer-with-clock.log");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-importer").arg(kubeconfig).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log)?);
        // The bench handles Ctrl-C.
        let mut child = command.process_group(0).spawn().context("starting the importer process")?;
        let stdin = child.stdin.take().context("the importer process has no stdin")?;
        let mut importer = Self { child, stdin, log };
        let started = Instant::now();
        while !has_logged(&importer.log(), "leading") {
            let ended = importer.child.try_wait()?;
            if ended.is_some() || started.elapsed() > READY_WITHIN {
                let log = importer.log();
                bail!("the importer process is not ready ({ended:?}); its log:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(importer)
    }

    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the importer process has ended")
    }

    /// Adds the path of the importer's log to an error.
    pub fn with_log<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.with_context(|| format!("the importer's log is {}", self.log.display()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Advances the clock.
    pub async fn advance(&mut self, by: SignedDuration) -> anyhow::Result<()> {
        ensure!(
            by.is_positive(),
            "the first refresh is already due; it must be later than the start of the measurement"
        );
        self.stdin.write_all(format!("{}\n", by.as_secs()).as_bytes()).await?;
        Ok(())
    }
}

/// The main function of the process. Each line on stdin is a number of seconds by which to advance the clock. The
/// process ends at the end of stdin.
pub async fn serve(kubeconfig: &Path) -> anyhow::Result<()> {
    logs::init(&LogArgs { log_format: LogFormat::Text, log: "info".into() })?;
    let clock = Clock::system();
    let (stop, stopped) = oneshot::channel::<()>();
    let controller = run(client::of(kubeconfig).await?, clock.clone(), async { drop(stopped.await) });
    let advance = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            clock.advance(SignedDuration::from_secs(line.parse()?));
        }
        drop(stop);
        anyhow::Ok(())
    };
    tokio::try_join!(controller, advance).map(drop)
}

/// Runs the importer like `mcsa_importer::run`, except for its clock.
async fn run(client: Client, clock: Clock, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    Controller::without_election(client, clock).run(shutdown).await
}
