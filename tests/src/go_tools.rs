//! Go programs that package managers don't have in the right version. They are built once, from a go.mod with `tool`
//! lines.

use std::collections::BTreeMap;
use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_lc_rs::digest;

use crate::process::Process;
use crate::{cache, print_uncaptured};

/// The tools of one go.mod.
pub(crate) struct GoTools {
    /// Their name in messages.
    pub name: &'static str,
    /// The folder of the go.mod in this package, and of the programs in the cache.
    pub folder: &'static str,
    /// The contents of the go.mod, which sets the version, and of other files that the programs are built from.
    pub go_mod: &'static str,
    /// The module that contains the programs. Its version in the go.mod is their version.
    pub module: &'static str,
    /// Additional arguments of `go build`.
    pub flags: Vec<String>,
    /// The packages to build: `tool` (the go.mod's tools) or `.` (a program of our own).
    pub packages: &'static str,
    /// How long the build takes.
    pub duration: &'static str,
    /// The alternative for users without Go, as the end of a sentence.
    pub alternative: &'static str,
    /// Programs to rename, as Go names a program after its package.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Files that the module lacks.
    pub additions: &'static [Addition],
}

/// A file that is added to a module.
pub(crate) struct Addition {
    /// Its path in the module.
    pub path: &'static str,
    pub text: &'static str,
}

impl GoTools {
    /// Their version, like `v1.36.3`.
    pub fn version(&self) -> &'static str {
        let required = |line: &'static str| {
            let line = line.trim();
            let (module, version) = line.strip_prefix("require ").unwrap_or(line).split_once(' ')?;
            (module == self.module).then(|| version.split(' ').next()).flatten()
        };
        self.go_mod.lines().find_map(required).expect("the go.mod requires the module of its tools")
    }

    /// Builds the programs unless another process has, and returns their folder, which is in the cache folder
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
                print_uncaptured(format_args!("waiting for another process that builds {self}"));
                lock.lock()?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking the build of {self}"));
            }
        }
        if folder.exists() {
            return Ok(folder);
        }
        // The folder has another name until the build is complete. An existing one is from an interrupted build.
        let partial = parent.join(format!("{name}.partial"));
        drop(fs::remove_dir_all(&partial));
        fs::create_dir(&partial)?;
        self.go_build(&partial)?;
        for (built_name, name) in self.renamed {
            fs::rename(partial.join(built_name), partial.join(name))
                .with_context(|| format!("{name} was not built"))?;
        }
        fs::rename(&partial, &folder)?;
        Ok(folder)
    }

    /// The folder with the sources of the module. Downloads it if necessary.
    pub fn module_folder(&self) -> anyhow::Result<PathBuf> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Downloaded {
            dir: PathBuf,
        }
        let mut go = Command::new("go");
        go.args(["mod", "download", "-json", self.module]);
        let output = go.current_dir(self.source()).env("GOWORK", "off").output().context("running go")?;
        let downloaded = serde_json::from_slice::<Downloaded>(&output.stdout);
        let downloaded = downloaded.with_context(|| {
            let (stdout, stderr) = (&output.stdout, &output.stderr);
            format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
        });
        Ok(downloaded.with_context(|| format!("downloading {}", self.module))?.dir)
    }

    /// The folder of the go.mod.
    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder)
    }

    /// The arguments of `go build` for a module with added files. Go refuses to change its own copy of a module, but
    /// not one behind a link.
    fn with_additions(&self, folder: &Path) -> anyhow::Result<[String; 2]> {
        drop(fs::remove_dir_all(folder));
        fs::create_dir(folder)?;
        let module = folder.join("module");
        std::os::unix::fs::symlink(self.module_folder()?, &module)?;
        let mut files = BTreeMap::new();
        for (index, Addition { path, text }) in self.additions.iter().enumerate() {
            let added = folder.join(format!("addition-{index}"));
            fs::write(&added, text)?;
            files.insert(module.join(path), added);
        }
        let overlay = serde_json::json!({ "Replace": files });
        fs::write(folder.join("overlay.json"), overlay.to_string())?;
        let go_mod = fs::read_to_string(self.source().join("go.mod"))?;
        let replaced = format!("{go_mod}\nreplace {} => {}\n", self.module, module.display());
        fs::write(folder.join("go.mod"), replaced)?;
        fs::copy(self.source().join("go.sum"), folder.join("go.sum"))?;
        let argument = |flag: &str, file: &str| format!("-{flag}={}", folder.join(file).display());
        Ok([argument("modfile", "go.mod"), argument("overlay", "overlay.json")])
    }

    fn go_build(&self, output: &Path) -> anyhow::Result<()> {
        if !Command::new("go").arg("version").output().is_ok_and(|go| go.status.success()) {
            bail!(
                "Go is needed to build {self} once: install it (https://go.dev/dl; 1.21 or newer downloads the \
                 required release){}",
                self.alternative
            );
        }
        print_uncaptured(format_args!("building {self} once; this takes about {}", self.duration));
        let mut go = Command::new("go");
        go.args(["build", "-v"]).args(&self.flags);
        if !self.additions.is_empty() {
            go.args(self.with_additions(&output.with_extension("source"))?);
        }
        go.arg("-o").arg(output).arg(self.packages);
        go.current_dir(self.source()).env("CGO_ENABLED", "0").env("GOWORK", "off");
        let log = output.with_extension("log");
        drop(fs::remove_file(&log));
        let go = Process::spawn("go build", &go, log)?;
        let start = Instant::now();
        let mut printed = start;
        loop {
            match go.exit_status() {
                Some(status) if status.success() => break,
                Some(_) => go.check().with_context(|| format!("building {self}"))?,
                None => std::thread::sleep(Duration::from_millis(100)),
            }
            if printed.elapsed() >= Duration::from_secs(15) {
                printed = Instant::now();
                let log = go.log();
                let (seconds, packages) = (start.elapsed().as_secs(), log.lines().count());
                let last = log.lines().last().unwrap_or("nothing yet");
                print_uncaptured(format_args!(
                    "building {}: {seconds} s, {packages} packages, last {last}",
                    self.name
                ));
            }
        }
        print_uncaptured(format_args!("built {} in {:.0?}", self.name, start.elapsed()));
        Ok(())
    }
}

impl std::fmt::Display for GoTools {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.name, self.version())
    }
}
