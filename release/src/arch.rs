//! The architectures that releases are built for.

use std::fmt;

use anyhow::bail;

/// An architecture, named as images and Go name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The architecture of this machine.
    pub fn host() -> anyhow::Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("releases are built for amd64 and arm64, and this machine is {other}: set --arch"),
        }
    }

    /// The Rust target.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.cpu())
    }

    /// The architecture as Rust and GNU name it.
    pub(crate) fn cpu(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}
