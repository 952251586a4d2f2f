//! A program that never outlives the process that started it.

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

/// A running program. It is killed when this value is dropped, or when this process ends for any reason, even by
/// SIGKILL. It leads its own process group, so Ctrl-C signals only this process.
///
/// Does not depend on an async runtime: one test can start it, and another end it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    id: u32,
    child: Mutex<Child>,
    /// The pipe to supervisor.sh, which kills the program when the pipe closes.
    pipe: Mutex<Option<ChildStdin>>,
}

impl Process {
    /// Starts `command`, with an empty stdin, and appends stdout and stderr to the file `log`.
    ///
    /// Uses the program, arguments, folder and environment variables of `command`. `env_clear` has no effect, because
    /// std can't report it.
    pub fn spawn(
        name: impl Into<String>,
        command: &Command,
        log: impl Into<PathBuf>,
    ) -> anyhow::Result<Self> {
        Self::spawn_with_leftovers(name.into(), command, log.into(), OsStr::new(""))
    }

    /// Like [`Process::spawn`]. `leftovers` is a path to remove when the program is killed.
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

    /// The program's name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's process ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file with stdout and stderr.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The output so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last `lines` lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The exit status, if the program has ended.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// Whether the program has not ended. A suspended program is running.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Fails if the program has ended. The error has the end of the log.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); {}", self.name, self.describe_log()),
        }
    }

    /// The path and the end of the log, for error messages.
    pub(crate) fn describe_log(&self) -> String {
        format!("its log {} ends with:\n{}", self.log.display(), self.log_tail(15))
    }

    /// Requests shutdown (SIGTERM).
    pub fn send_sigterm(&self) -> anyhow::Result<()> {
        self.signal("TERM")
    }

    /// Requests shutdown, and waits up to a minute for the exit status.
    pub async fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.send_sigterm()?;
        self.wait(GRACE).await
    }

    /// Waits until the program ends.
    pub async fn wait(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!(
                    "{} (process {}) is still running after {limit:?}; {}",
                    self.name,
                    self.id,
                    self.describe_log()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills the program (SIGKILL), unless it has ended.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        drop(child.kill());
        drop(child.wait());
    }

    /// Suspends the program (SIGSTOP): its connections stay open, and it doesn't respond.
    pub fn suspend(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Resumes the program after [`Process::suspend`] (SIGCONT).
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    /// The resident memory in KiB. `None` without /proc, or if the program has ended.
    pub fn rss_kib(&self) -> Option<u64> {
        self.memory_kib("VmRSS:")
    }

    /// The highest resident memory so far in KiB; see [`Process::rss_kib`].
    pub fn peak_kib(&self) -> Option<u64> {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
    }

    /// Keeps the program running when this process ends. To stop it after that, send a signal to its process ID.
    pub fn keep(&self) -> anyhow::Result<()> {
        self.check()?;
        let pipe = lock(&self.pipe).take();
        let mut pipe = pipe.with_context(|| format!("{} is already kept", self.name))?;
        pipe.write_all(b"keep\n").with_context(|| format!("detaching {}", self.name))
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        // The lock keeps other threads from reaping the child, so its process ID can't be reused.
        let mut child = lock(&self.child);
        if let Some(status) = child.try_wait()? {
            bail!(
                "can't send SIG{signal} to {}: it has ended ({status}); {}",
                self.name,
                self.describe_log()
            );
        }
        // The shell's built-in `kill`: not every machine has the program.
        let sent = Command::new("sh")
            .args([OsString::from("-c"), format!("kill -s {signal} {}", self.id).into()])
            .status()
            .with_context(|| format!("sending SIG{signal} to {}", self.name))?;
        if !sent.success() {
            bail!("can't send SIG{signal} to {} (process {})", self.name, self.id);
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
