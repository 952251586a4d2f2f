//! Release binaries, whose bytes depend on nothing but the work tree, the toolchain and the C library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::toolchain::Toolchain;
use crate::{Arch, elf, say};

/// What cargo is asked for, and the file that comes of it.
pub(crate) struct Program {
    selection: &'static [&'static str],
    file: &'static str,
    linking: Linking,
}

/// Who brings the C library.
#[derive(PartialEq, Eq)]
enum Linking {
    /// The program: it runs in an image that has nothing else.
    Static,
    /// The machine. On people's machines, names are resolved by whatever libraries nsswitch.conf lists, and
    /// a program that is linked statically crashes when they belong to another glibc than its own.
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

/// This work tree.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Builds a program, by itself: what others have cargo add to the dependencies that they share is no part
/// of it.
pub(crate) fn compile(arch: Arch, program: &Program) -> anyhow::Result<PathBuf> {
    let toolchain = Toolchain::find(arch)?;
    let target = arch.target();
    // Not where cargo builds otherwise: the flags differ, and neither is to throw away the other's work.
    let folder = metadata()?.target_directory.join("portable");
    say(format_args!("building {} for {arch}", program.file));
    let mut cargo = cargo(&["rustc", "--release", "--locked", "--target", &target, "--target-dir"]);
    cargo.arg(&folder).args(program.selection).stdout(Stdio::null());
    if program.linking == Linking::Static {
        // How the program is linked is its own affair, and all share what they depend upon.
        cargo.args(["--", "-Ctarget-feature=+crt-static"]);
    }
    // This overrules all other variables and files, and does not concern build scripts, as a target is named.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(&folder)?);
    if !toolchain.own {
        let variable = target.replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), &toolchain.cc);
        cargo.env(format!("CC_{variable}"), &toolchain.cc);
    }
    let status = cargo.status().context("running cargo")?;
    ensure!(status.success(), "cargo could not build {} for {arch}: see above", program.file);
    let binary = folder.join(target).join("release").join(program.file);
    if program.linking == Linking::Static {
        elf::ensure_static(&binary, arch)?;
    }
    Ok(binary)
}

/// Cargo, as it was run itself, in the work tree.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root()).stdin(Stdio::null());
    cargo
}

/// rustc's flags. Where things are on this machine is not in the binaries: another checkout gives the same.
fn flags(target_folder: &Path) -> anyhow::Result<OsString> {
    let cargo_home = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let cargo_home = cargo_home.context("neither CARGO_HOME nor HOME is set: where are cargo's sources?")?;
    // Of several that apply, rustc takes the last.
    let remaps =
        [(root(), "/src"), (&cargo_home, "/cargo"), (target_folder, "/target")].map(|(is, called)| {
            let mut remap = OsString::from("--remap-path-prefix=");
            remap.push(is);
            remap.push("=");
            remap.push(called);
            remap
        });
    Ok(remaps.join("\u{1f}".as_ref()))
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// What cargo says of the work tree.
fn metadata() -> anyhow::Result<Metadata> {
    let output = cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"])
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("reading what cargo metadata says")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_tree_is_where_the_lock_file_is() {
        assert!(root().join("Cargo.lock").is_file());
    }

    #[test]
    fn no_path_of_this_machine_is_in_a_binary() {
        let flags = flags(Path::new("/elsewhere/portable")).unwrap().into_string().unwrap();
        let flags: Vec<_> = flags.split('\u{1f}').collect();
        assert_eq!(flags[0], format!("--remap-path-prefix={}=/src", root().display()));
        assert!(flags[1].ends_with("=/cargo"));
        assert_eq!(flags[2], "--remap-path-prefix=/elsewhere/portable=/target");
    }

    #[test]
    fn cargo_says_where_it_builds() {
        assert!(metadata().unwrap().target_directory.is_absolute());
    }
}
