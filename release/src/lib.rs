//! Builds the files of a release from this work tree, including images, without a container engine.
//!
//! Tests build our images and their own with it:
//!
//! ```no_run
//! use mcsa_release::{Arch, Image, Profile, images};
//! # use std::path::Path;
//!
//! # fn main() -> anyhow::Result<()> {
//! let arch = Arch::host()?;
//! let importer = images(arch, Profile::Release, Path::new("dist"))?.importer.archive;
//! let kubectl = Image::new("test/kubectl:1", arch)
//!     .file("/kubectl", "/usr/local/bin/kubectl", 0o755)
//!     .entrypoint(["/kubectl"])
//!     .write(Path::new("kubectl.tar"))?;
//! # Ok(())
//! # }
//! ```

mod arch;
mod archive;
mod certificates;
mod changelog;
mod chart;
mod compile;
mod digest;
mod elf;
mod image;
mod images;
mod krew;
mod kubemcsa;
mod monitoring;
mod release;
mod toolchain;

pub use arch::Arch;
pub use changelog::Changes;
pub use compile::Profile;
pub use image::{Image, ImageArchive};
pub use images::{Images, NONROOT, folders, images};
pub use release::release;

/// The version of a release: that of the workspace, in the root `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints progress to stderr. A closed stderr is no failure.
fn progress(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "{line}"));
}
