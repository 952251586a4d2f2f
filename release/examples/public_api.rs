//! Prints the public API of the client crate, without blanket, derived and automatic implementations of traits:
//!
//! ```sh
//! cargo run --package mcsa-release --example public_api > client/public-api.txt
//! ```

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package has no parent folder")?;
    let target = root.join("target");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["rustdoc", "--package", "mcsa-client", "--features", "argo,controller", "--locked", "--quiet"])
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTDOC", root.join(".ci/rustdoc-json"))
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "cargo rustdoc failed");
    let api = public_api::Builder::from_rustdoc_json(target.join("doc/mcsa_client.json"))
        .omit_blanket_impls(true)
        .omit_auto_derived_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    print!("{api}");
    Ok(())
}
