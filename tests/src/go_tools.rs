//! Programs from Go modules, which no package manager has in the version that is needed: built here,
//! once, from a go.mod of ours with `tool` lines.

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_lc_rs::digest;

use crate::process::Process;
use crate::{cache, note};

/// The tools of one go.mod.
pub(crate) struct GoTools {
    /// What people call them.
    pub name: &'static str,
    /// The folder of the go.mod, below that of this package; and theirs in the cache.
    pub folder: &'static str,
    /// The contents of the go.mod, the one place that says which version this is; and of what else decides
    /// what is built.
    pub go_mod: &'static str,
    /// The module that they are of.
    pub module: &'static str,
    /// More arguments of `go build`.
    pub flags: Vec<String>,
    /// What is built: `tool`, the go.mod's tools, or `.`, a program of our own.
    pub packages: &'static str,
    /// How long somebody has to wait who builds them.
    pub takes: &'static str,
    /// What to do instead of building them, for somebody without Go.
    pub instead: &'static str,
    /// What is to be called differently than Go does, which names a program after its package.
    pub renamed: &'static [(&'static str, &'static str)],
}

impl GoTools {
    /// Their version, as `v1.36.3`.
    pub fn version(&self) -> &'static str {
        let required = |line: &'static str| {
            let line = line.trim();
            let (module, version) = line.strip_prefix("require ").unwrap_or(line).split_once(' ')?;
            (module == self.module).then(|| version.split(' ').next()).flatten()
        };
        self.go_mod.lines().find_map(required).expect("the go.mod requires the module of its tools")
    }

    /// The folder that they are in, made by whichever process comes first: below the cache folder
    /// (`MCSA_CACHE`, `$XDG_CACHE_HOME/mcsa` or `~/.cache/mcsa`).
    pub fn build(&self) -> anyhow::Result<PathBuf> {
        let parent = cache::folder(self.folder)?;
        let hash = digest::digest(&digest::SHA256, self.go_mod.as_bytes());
        let short: String = hash.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}-{short}", self.version());
        let folder = parent.join(&name);
        if folder.exists() {
            return Ok(folder);
        }
        let lock = cache::lock_file(&parent.join(format!("{name}.lock")))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                note(format_args!("waiting for another process that builds {self}"));
                lock.lock()?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking the build of {self}"));
            }
        }
        if folder.exists() {
            return Ok(folder);
        }
        // Under another name until it is whole. What is there now was interrupted.
        let partial = parent.join(format!("{name}.partial"));
        drop(fs::remove_dir_all(&partial));
        fs::create_dir(&partial)?;
        self.go_build(&partial)?;
        for (is, should_be) in self.renamed {
            fs::rename(partial.join(is), partial.join(should_be))
                .with_context(|| format!("{should_be} was not built"))?;
        }
        fs::rename(&partial, &folder)?;
        Ok(folder)
    }

    fn go_build(&self, output: &Path) -> anyhow::Result<()> {
        if !Command::new("go").arg("version").output().is_ok_and(|go| go.status.success()) {
            bail!(
                "{self} has to be built once, and Go is missing: install it (https://go.dev/dl; 1.21 or \
                 newer fetches the release that is needed){}",
                self.instead
            );
        }
        note(format_args!("building {self}, once; this takes about {}", self.takes));
        let mut go = Command::new("go");
        go.args(["build", "-v"]).args(&self.flags).arg("-o").arg(output).arg(self.packages);
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder);
        go.current_dir(module).env("CGO_ENABLED", "0").env("GOWORK", "off");
        let log = output.with_extension("log");
        drop(fs::remove_file(&log));
        let go = Process::spawn("go build", &go, log)?;
        let start = Instant::now();
        let mut said = start;
        loop {
            match go.exit_status() {
                Some(status) if status.success() => break,
                Some(_) => go.check().with_context(|| format!("building {self}"))?,
                None => std::thread::sleep(Duration::from_millis(100)),
            }
            if said.elapsed() >= Duration::from_secs(15) {
                said = Instant::now();
                let log = go.log();
                let (seconds, packages) = (start.elapsed().as_secs(), log.lines().count());
                let last = log.lines().last().unwrap_or("nothing yet");
                note(format_args!("building {}: {seconds} s, {packages} packages, last {last}", self.name));
            }
        }
        note(format_args!("{} is built, after {:.0?}", self.name, start.elapsed()));
        Ok(())
    }
}

impl std::fmt::Display for GoTools {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.name, self.version())
    }
}
