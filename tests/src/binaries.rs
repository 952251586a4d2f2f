//! Kubernetes' own binaries: those of envtest, or built here from its Go modules.

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_lc_rs::digest;
use tokio::sync::OnceCell;

use crate::process::Process;
use crate::{cache, note};

/// The one place that says which Kubernetes this is.
const GO_MOD: &str = include_str!("../kubernetes/go.mod");
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes");

/// Where Kubernetes' binaries are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controller manager.
    pub kube_controller_manager: PathBuf,
    /// etcd.
    pub etcd: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

/// Finds Kubernetes' binaries, or builds them: in `KUBEBUILDER_ASSETS` when that is set, else in the
/// cache folder (`MCSA_CACHE`, `$XDG_CACHE_HOME/mcsa` or `~/.cache/mcsa`).
pub async fn binaries() -> anyhow::Result<&'static Binaries> {
    static FOUND: OnceCell<Binaries> = OnceCell::const_new();
    FOUND.get_or_try_init(async || tokio::task::spawn_blocking(find).await?).await
}

/// The version of Kubernetes that is built here, as `v1.36.3`.
pub fn kubernetes_version() -> &'static str {
    let required = |line: &'static str| line.trim().strip_prefix("k8s.io/kubernetes ")?.split(' ').next();
    GO_MOD.lines().find_map(required).expect("tests/kubernetes/go.mod requires k8s.io/kubernetes")
}

fn find() -> anyhow::Result<Binaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let find = |name: &str| match &assets {
        Some(assets) if assets.join(name).exists() => Ok(assets.join(name)),
        Some(assets) => {
            note(format_args!("no {name} in KUBEBUILDER_ASSETS={}, taking our own", assets.display()));
            Ok(build()?.join(name))
        }
        None => Ok::<_, anyhow::Error>(build()?.join(name)),
    };
    Ok(Binaries {
        kube_apiserver: find("kube-apiserver")?,
        kube_controller_manager: find("kube-controller-manager")?,
        etcd: find("etcd")?,
        kubectl: find("kubectl")?,
    })
}

/// The folder of our own build, made by whichever process comes first.
fn build() -> anyhow::Result<PathBuf> {
    let parent = cache::folder("kubernetes")?;
    let hash = digest::digest(&digest::SHA256, GO_MOD.as_bytes());
    let short: String = hash.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{}-{short}", kubernetes_version());
    let folder = parent.join(&name);
    if folder.exists() {
        return Ok(folder);
    }
    let lock = cache::lock_file(&parent.join(format!("{name}.lock")))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            note(format_args!("waiting for another process that builds Kubernetes {}", kubernetes_version()));
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("locking the Kubernetes build"),
    }
    if folder.exists() {
        return Ok(folder);
    }
    // Under another name until it is whole. What is there now was interrupted.
    let partial = parent.join(format!("{name}.partial"));
    drop(fs::remove_dir_all(&partial));
    fs::create_dir(&partial)?;
    go_build(&partial)?;
    fs::rename(partial.join("server"), partial.join("etcd")).context("etcd was not built")?;
    fs::rename(&partial, &folder)?;
    Ok(folder)
}

fn go_build(output: &Path) -> anyhow::Result<()> {
    if !Command::new("go").arg("version").output().is_ok_and(|go| go.status.success()) {
        bail!(
            "Kubernetes {} has to be built once, and Go is missing: install it (https://go.dev/dl; 1.21 \
             or newer fetches the release that is needed), or set KUBEBUILDER_ASSETS to a folder with \
             kube-apiserver, kube-controller-manager, etcd and kubectl",
            kubernetes_version(),
        );
    }
    note(format_args!("building Kubernetes {}, once; this takes about five minutes", kubernetes_version()));
    let mut go = Command::new("go");
    go.args(["build", "-v", "-ldflags", &ldflags(), "-o"]).arg(output).arg("tool");
    go.current_dir(MODULE).env("CGO_ENABLED", "0").env("GOWORK", "off");
    let log = output.with_extension("log");
    drop(fs::remove_file(&log));
    let go = Process::spawn("go build", &go, log)?;
    let start = Instant::now();
    let mut said = start;
    loop {
        match go.exit_status() {
            Some(status) if status.success() => break,
            Some(_) => go.check().context("building Kubernetes")?,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
        if said.elapsed() >= Duration::from_secs(15) {
            said = Instant::now();
            let log = go.log();
            let (seconds, packages) = (start.elapsed().as_secs(), log.lines().count());
            let last = log.lines().last().unwrap_or("nothing yet");
            note(format_args!("building Kubernetes: {seconds} s, {packages} packages, last {last}"));
        }
    }
    note(format_args!("Kubernetes is built, after {:.0?}", start.elapsed()));
    Ok(())
}

/// Without these the server calls itself v0.0.0.
fn ldflags() -> String {
    let version = kubernetes_version();
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}
