//! The binaries of this workspace, built when a test needs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};

use crate::print_uncaptured;

const PROGRAMS: [&str; 4] = ["kubemcsa", "mcsa-importer", "mcsa-launcher", "mcsa-webhook"];

/// The path of a binary of this workspace (`kubemcsa`, `mcsa-importer`, `mcsa-launcher`, `mcsa-webhook`), with the
/// caller's profile and target folder.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    ensure!(PROGRAMS.contains(&name), "there is no program {name:?}: choose one of {PROGRAMS:?}");
    Ok(build_once()?.join(name))
}

/// The path of an example of this workspace, built like a [`program()`]. Benchmarks have none.
pub fn example(name: &str) -> anyhow::Result<PathBuf> {
    Ok(build_once()?.join("examples").join(name))
}

/// Builds the binaries and examples, once per process, and returns the folder of the caller's profile.
pub(crate) fn build_once() -> anyhow::Result<&'static Path> {
    static FOLDER: LazyLock<Result<PathBuf, String>> =
        LazyLock::new(|| build().map_err(|error| format!("{error:#}")));
    FOLDER.as_deref().map_err(|error| anyhow!("building this workspace's programs: {error}"))
}

/// Builds the binaries and examples at once. Because there is an example, this selects the same features of
/// dependencies as `cargo test --workspace` and `cargo bench`, so that nothing is compiled twice.
fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = profile_folder(&own)?;
    let (target, profile) = (folder.parent(), folder.file_name());
    let (target, profile) =
        target.zip(profile).with_context(|| format!("{} is in no target folder", own.display()))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--target-dir"]).arg(target);
    if profile == "debug" {
        cargo.args(["--examples", "--profile", "dev"]);
    } else {
        // For benchmarks. All examples would take minutes with the optimizations of a release.
        cargo.args(["--example", "list_remote_pods", "--profile"]).arg(profile);
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    // .ci/timed sets this variable for libtest. Build scripts would mistake the compiler for a nightly one.
    cargo.env_remove("RUSTC_BOOTSTRAP");

    let output = announce_if_slow("cargo build", || cargo.output()).context("running cargo")?;
    if !output.status.success() {
        bail!("cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(folder.to_path_buf())
}

/// Prints what is being done if that takes longer than a second.
fn announce_if_slow<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, finished) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if finished.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
                print_uncaptured(format_args!("{what} ..."));
            }
        });
        let value = work();
        drop(done);
        value
    })
}

/// The caller's target folder.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = profile_folder(&own)?.parent();
    target.map(Path::to_path_buf).with_context(|| format!("{} is in no target folder", own.display()))
}

/// Whether the caller was built with the dev profile.
pub(crate) fn is_debug() -> anyhow::Result<bool> {
    Ok(profile_folder(&std::env::current_exe()?)?.ends_with("debug"))
}

/// Whether this is a test, not an example or a tool.
pub(crate) fn is_test() -> bool {
    let own = std::env::current_exe();
    own.is_ok_and(|own| own.parent().is_some_and(|folder| folder.ends_with("deps")))
}

/// `target/debug` for `target/debug/deps/some_test`, `target/debug/examples/some` and
/// `target/debug/some`.
fn profile_folder(executable: &Path) -> anyhow::Result<&Path> {
    let folder = executable.parent().context("this executable has no folder")?;
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => folder.parent().context("the target folder has no parent"),
        _ => Ok(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_folder_is_found_from_tests_examples_and_tools() {
        for executable in ["/t/debug/deps/end_to_end-0123", "/t/debug/examples/quickstart", "/t/debug/tool"] {
            assert_eq!(profile_folder(Path::new(executable)).unwrap(), Path::new("/t/debug"));
        }
    }
}
