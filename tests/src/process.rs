//! A program that never outlives whoever started it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long [`Process::terminate`] waits for a program to end by itself.
const GRACE: Duration = Duration::from_secs(60);

/// A running program: killed when this value is dropped, and when the process that holds it ends in
/// any way, SIGKILL included. It leads a process group of its own, so Ctrl-C reaches only the holder.
///
/// No part of it depends on an async runtime: a process may be started in one test's and ended in
/// another's.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    id: u32,
    child: Mutex<Child>,
    /// Held open; see supervisor.sh for what its closing does.
    pipe: Mutex<Option<ChildStdin>>,
}

impl Process {
    /// Starts `command` with stdout and stderr appended to the file `log`, and an empty stdin.
    ///
    /// The program, arguments, folder and changed environment variables are taken from `command`;
    /// std does not tell whether `env_clear` was called, so it has no effect here.
    pub fn spawn(
        name: impl Into<String>,
        command: &Command,
        log: impl Into<PathBuf>,
    ) -> anyhow::Result<Self> {
        Self::spawn_with_leftovers(name.into(), command, log.into(), OsStr::new(""))
    }

    /// As [`Process::spawn`]; `leftovers` is a path to remove once the program was killed.
    pub(crate) fn spawn_with_leftovers(
        name: String,
        command: &Command,
        log: PathBuf,
        leftovers: &OsStr,
    ) -> anyhow::Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening the log of {name}, {}", log.display()))?;
        let mut supervised = Command::new("sh");
        supervised
            .args(["-c", include_str!("supervisor.sh"), "mcsa-supervisor"])
            .arg(leftovers)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => supervised.env(key, value),
                None => supervised.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            supervised.current_dir(dir);
        }
        let mut child = supervised.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { name, log, id: child.id(), pipe: Mutex::new(child.stdin.take()), child: Mutex::new(child) })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's own process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file that holds its stdout and stderr.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Its exit status, once it has ended.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// Whether it has not ended yet; a suspended program is running.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Fails when it has ended, with the end of its log.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); {}", self.name, self.describe_log()),
        }
    }

    /// Where its log is and how it ends, for error messages.
    pub(crate) fn describe_log(&self) -> String {
        format!("its log {} ends with:\n{}", self.log.display(), self.log_tail(15))
    }

    /// Asks it to end (SIGTERM).
    pub fn ask_to_end(&self) -> anyhow::Result<()> {
        self.signal("TERM")
    }

    /// Asks it to end and waits for its exit status, up to a minute.
    pub async fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.ask_to_end()?;
        self.wait(GRACE).await
    }

    /// Waits until it ends by itself.
    pub async fn wait(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!(
                    "{} (process {}) still runs after {limit:?}; {}",
                    self.name,
                    self.id,
                    self.describe_log()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it at once (SIGKILL); nothing happens when it has ended already.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        drop(child.kill());
        drop(child.wait());
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open and nobody answers.
    pub fn suspend(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on after [`Process::suspend`] (SIGCONT).
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    /// Its resident memory in KiB; none where there is no /proc, or when it has ended.
    pub fn rss_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
    }

    /// Lets it live on when we end; from here on its process id is all there is.
    pub fn keep(&self) -> anyhow::Result<()> {
        self.check()?;
        let pipe = lock(&self.pipe).take();
        let mut pipe = pipe.with_context(|| format!("{} is kept already", self.name))?;
        pipe.write_all(b"keep\n").with_context(|| format!("detaching {}", self.name))
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        // Held until the signal is sent: the id cannot pass to another process before it is waited for.
        let mut child = lock(&self.child);
        if let Some(status) = child.try_wait()? {
            bail!(
                "{} cannot get SIG{signal}, it ended already ({status}); {}",
                self.name,
                self.describe_log()
            );
        }
        // The shell's own `kill`: not every machine has the program.
        let sent = Command::new("sh")
            .args([OsString::from("-c"), format!("kill -s {signal} {}", self.id).into()])
            .status()
            .with_context(|| format!("sending SIG{signal} to {}", self.name))?;
        if !sent.success() {
            bail!("SIG{signal} could not be sent to {} (process {})", self.name, self.id);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Process {
    fn drop(&mut self) {
        let pipe = lock(&self.pipe).take();
        if let Some(pipe) = pipe {
            drop(pipe);
            self.kill();
        }
    }
}
