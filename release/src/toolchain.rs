//! Finds what a machine needs to build static binaries.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::ensure;

use crate::Arch;

/// The C compiler that compiles and links for an architecture.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub cc: String,
    /// Whether it is this machine's own compiler, which cargo finds without help.
    pub native: bool,
}

impl Toolchain {
    /// Fails with everything that is missing and how to install it.
    pub fn find(arch: Arch) -> anyhow::Result<Self> {
        let native = cfg!(target_os = "linux") && Arch::host().is_ok_and(|host| host == arch);
        let cc = if native { "cc".into() } else { format!("{}-linux-gnu-gcc", arch.cpu()) };
        let mut missing = Vec::new();
        if !has_rust_target(&arch.target()) {
            missing.push(format!("Rust's standard library for {arch} (rustup target add {})", arch.target()));
        }
        if !runs(&cc) {
            missing
                .push(format!("the C compiler {cc} (on Debian: apt-get install {})", packages(arch, native)));
        } else if !has_static_libc(&cc) {
            let packages = packages(arch, native);
            missing.push(format!(
                "the static C library of {cc}, libc.a (on Debian: apt-get install {packages})"
            ));
        } else if glibc_minor(&cc).is_none_or(|minor| minor < MIN_GLIBC_MINOR) {
            missing.push(format!(
                "glibc 2.{MIN_GLIBC_MINOR} or newer for {cc}, as static programs of older ones can't resolve \
                 names (build on a newer distribution)"
            ));
        }
        ensure!(
            missing.is_empty(),
            "to build static binaries for {arch}, install {}",
            missing.join(", and ")
        );
        Ok(Self { cc, native })
    }
}

/// Since 2.34, glibc reads /etc/hosts and queries DNS servers without loading libraries.
const MIN_GLIBC_MINOR: u32 = 34;

/// The Debian packages of the C compiler and the static C library.
fn packages(arch: Arch, native: bool) -> &'static str {
    match arch {
        _ if native => "gcc libc6-dev",
        Arch::Amd64 => "gcc-x86-64-linux-gnu libc6-dev-amd64-cross",
        Arch::Arm64 => "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    }
}

fn has_rust_target(target: &str) -> bool {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", target]));
    folder.is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

fn runs(cc: &str) -> bool {
    output(Command::new(cc).arg("--version")).is_some()
}

/// If the compiler has no such file, it prints the name without a folder.
fn has_static_libc(cc: &str) -> bool {
    let path = output(Command::new(cc).arg("-print-file-name=libc.a"));
    path.is_some_and(|path| Path::new(path.trim()).is_absolute())
}

fn glibc_minor(cc: &str) -> Option<u32> {
    let macros =
        output(Command::new(cc).args(["-dM", "-E", "-include", "features.h", "-x", "c", "/dev/null"]))?;
    macros.lines().find_map(|line| line.strip_prefix("#define __GLIBC_MINOR__ ")?.trim().parse().ok())
}

/// A program's stdout, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    // rustc reads the work tree's rust-toolchain.toml.
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_compiler_has_nothing() {
        let missing = "no-such-linux-gnu-gcc";
        assert!(!runs(missing) && !has_static_libc(missing) && glibc_minor(missing).is_none());
        assert!(!has_rust_target("no-such-target"));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn native_compiler_is_found() {
        assert!(runs("cc"));
        assert!(glibc_minor("cc").is_some());
        assert!(has_rust_target(&Arch::host().unwrap().target()));
    }
}
