//! Builds release binaries. Their bytes depend only on the work tree, the toolchain and the C library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::toolchain::Toolchain;
use crate::{Arch, elf, progress};

/// A profile of cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Compiles fast: for tests.
    Dev,
    /// Small and fast to run: for releases.
    Release,
}

/// A program to build with cargo.
pub(crate) struct Program {
    selection: &'static [&'static str],
    file: &'static str,
    linking: Linking,
}

/// Where the C library comes from.
#[derive(PartialEq, Eq)]
enum Linking {
    /// From the program itself, which runs in an image without libraries.
    Static,
    /// From the user's machine, where glibc resolves names with the libraries that nsswitch.conf lists. A static
    /// program crashes if these libraries are for another glibc.
    Dynamic,
}

pub(crate) const IMPORTER: Program = Program {
    selection: &["-p", "mcsa-importer", "--bin", "mcsa-importer"],
    file: "mcsa-importer",
    linking: Linking::Static,
};
pub(crate) const WEBHOOK: Program = Program {
    selection: &["-p", "mcsa-webhook", "--bin", "mcsa-webhook"],
    file: "mcsa-webhook",
    linking: Linking::Static,
};
pub(crate) const LAUNCHER: Program = Program {
    selection: &["-p", "mcsa-launcher", "--bin", "mcsa-launcher"],
    file: "mcsa-launcher",
    linking: Linking::Static,
};
pub(crate) const LIST_REMOTE_PODS: Program = Program {
    selection: &["-p", "mcsa-client", "--example", "list_remote_pods"],
    file: "examples/list_remote_pods",
    linking: Linking::Static,
};
pub(crate) const KUBEMCSA: Program = Program {
    selection: &["-p", "kubemcsa", "--bin", "kubemcsa"],
    file: "kubemcsa",
    linking: Linking::Dynamic,
};

/// The root of this work tree.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Builds each program separately. Otherwise, cargo would build dependencies with the features of all programs.
pub(crate) fn compile_release<const N: usize>(
    arch: Arch,
    programs: [&Program; N],
) -> anyhow::Result<[PathBuf; N]> {
    let folder = target_folder()?;
    for program in programs {
        progress(format_args!("building {} for {arch}", program.file));
        let mut cargo = portable_cargo("rustc", arch, &folder, &[])?;
        cargo.args(["--profile", "release"]).args(program.selection).stdout(Stdio::null());
        if program.linking == Linking::Static {
            // These flags apply only to the program itself, so that static and dynamic programs share dependencies.
            cargo.arg("--").args(STATIC);
        }
        run(&mut cargo, program.file)?;
    }
    binaries(arch, programs, &folder, "release")
}

/// Builds static programs with the dev profile and all at once, so that each dependency is compiled once.
pub(crate) fn compile_dev<const N: usize>(
    arch: Arch,
    programs: [&Program; N],
) -> anyhow::Result<[PathBuf; N]> {
    progress(format_args!("building debug versions of {} programs for {arch}", programs.len()));
    let folder = target_folder()?;
    let mut cargo = portable_cargo("build", arch, &folder, &STATIC)?;
    cargo.args(["--profile", "dev"]).args(programs.iter().flat_map(|program| program.selection));
    run(&mut cargo, "the debug versions")?;
    binaries(arch, programs, &folder, "debug")
}

/// The files of programs that were built.
fn binaries<const N: usize>(
    arch: Arch,
    programs: [&Program; N],
    folder: &Path,
    profile: &str,
) -> anyhow::Result<[PathBuf; N]> {
    let folder = folder.join(arch.target()).join(profile);
    for program in programs.iter().filter(|program| program.linking == Linking::Static) {
        elf::ensure_static(&folder.join(program.file), arch)?;
    }
    Ok(programs.map(|program| folder.join(program.file)))
}

/// Flags of rustc for a static program.
const STATIC: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Cstrip=symbols"];

/// A separate folder: in a shared one, cargo would rebuild everything whenever the flags change.
fn target_folder() -> anyhow::Result<PathBuf> {
    Ok(metadata()?.target_directory.join("portable"))
}

/// Cargo for an architecture, with `flags` of rustc for dependencies and programs.
fn portable_cargo(subcommand: &str, arch: Arch, folder: &Path, flags: &[&str]) -> anyhow::Result<Command> {
    let toolchain = Toolchain::find(arch)?;
    let target = arch.target();
    let mut cargo = cargo(&[subcommand, "--locked", "--target", &target, "--target-dir"]);
    cargo.arg(folder);
    // Overrides flags from all other variables and config files. With --target, it does not apply to build scripts.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", encoded(remaps(folder)?, flags));
    if !toolchain.native {
        let variable = target.replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), &toolchain.cc);
        cargo.env(format!("CC_{variable}"), &toolchain.cc);
    }
    Ok(cargo)
}

fn run(cargo: &mut Command, what: &str) -> anyhow::Result<()> {
    let status = cargo.status().context("running cargo")?;
    ensure!(status.success(), "cargo could not build {what}: see above");
    Ok(())
}

/// The cargo that runs this program, in the work tree.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root()).stdin(Stdio::null());
    // .ci/timed sets it for libtest. Build scripts would take the compiler for a nightly one.
    cargo.env_remove("RUSTC_BOOTSTRAP");
    cargo
}

/// Flags of rustc that keep this machine's paths out of the binaries, so that a checkout in any folder gives the same
/// bytes.
fn remaps(target_folder: &Path) -> anyhow::Result<[OsString; 3]> {
    let cargo_home = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let cargo_home = cargo_home
        .context("neither CARGO_HOME nor HOME is set: set CARGO_HOME to the folder with cargo's sources")?;
    // If several prefixes match, rustc applies the last.
    Ok([(root(), "/src"), (&cargo_home, "/cargo"), (target_folder, "/target")].map(|(path, name)| {
        let mut remap = OsString::from("--remap-path-prefix=");
        remap.push(path);
        remap.push("=");
        remap.push(name);
        remap
    }))
}

/// Flags of rustc as cargo reads them from a variable.
fn encoded(remaps: [OsString; 3], flags: &[&str]) -> OsString {
    let flags: Vec<OsString> = remaps.into_iter().chain(flags.iter().map(OsString::from)).collect();
    flags.join("\u{1f}".as_ref())
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

fn metadata() -> anyhow::Result<Metadata> {
    let output = cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"])
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_the_lock_file() {
        assert!(root().join("Cargo.lock").is_file());
    }

    #[test]
    fn flags_remap_the_paths_of_this_machine() {
        let flags =
            encoded(remaps(Path::new("/elsewhere/portable")).unwrap(), &STATIC).into_string().unwrap();
        let flags: Vec<_> = flags.split('\u{1f}').collect();
        assert_eq!(flags[0], format!("--remap-path-prefix={}=/src", root().display()));
        assert!(flags[1].ends_with("=/cargo"));
        assert_eq!(flags[2], "--remap-path-prefix=/elsewhere/portable=/target");
        assert_eq!(flags[3..], STATIC);
    }

    #[test]
    fn cargo_metadata_has_the_target_folder() {
        assert!(metadata().unwrap().target_directory.is_absolute());
    }
}
