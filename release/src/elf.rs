//! Checks that a binary runs in an image without libraries.

use std::path::Path;

use anyhow::{Context, ensure};
use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_X86_64, PT_INTERP};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};

use crate::Arch;

/// Fails if a binary needs a loader, which an image from scratch does not have, or is for another architecture.
pub(crate) fn ensure_static(path: &Path, arch: Arch) -> anyhow::Result<()> {
    let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    check(&content, arch).with_context(|| format!("{} can't be in an image", path.display()))
}

fn check(content: &[u8], arch: Arch) -> anyhow::Result<()> {
    let elf = ElfFile64::<LittleEndian>::parse(content).context("it is not a 64-bit ELF file")?;
    let machine = match arch {
        Arch::Amd64 => EM_X86_64,
        Arch::Arm64 => EM_AARCH64,
    };
    ensure!(elf.elf_header().e_machine(LittleEndian) == machine, "it is not for {arch}");
    let loader = elf.elf_program_headers().iter().any(|header| header.p_type(LittleEndian) == PT_INTERP);
    ensure!(!loader, "it is linked dynamically, although it was built with crt-static");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn dynamic_binary_is_refused() {
        let own = std::env::current_exe().unwrap();
        let error = ensure_static(&own, Arch::host().unwrap()).unwrap_err();
        assert!(format!("{error:#}").ends_with("although it was built with crt-static"), "{error:#}");
    }

    #[test]
    fn script_is_refused() {
        let error = check(b"#!/bin/sh", Arch::Amd64).unwrap_err();
        assert!(error.to_string().starts_with("it is not a 64-bit ELF file"), "{error:#}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn binary_for_another_architecture_is_refused() {
        let other = match Arch::host().unwrap() {
            Arch::Amd64 => Arch::Arm64,
            Arch::Arm64 => Arch::Amd64,
        };
        let error = ensure_static(&std::env::current_exe().unwrap(), other).unwrap_err();
        assert!(format!("{error:#}").ends_with(&format!("it is not for {other}")), "{error:#}");
    }
}
