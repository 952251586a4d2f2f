//! Prints the custom resource definitions: `cargo run --package mcsa-client --example crd > manifests/crd.yaml`.

use kube::CustomResourceExt;
use mcsa_client::{ImportPolicy, ServiceAccountImport};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("# Generated: cargo run --package mcsa-client --example crd > manifests/crd.yaml");
    print!("{}", serde_saphyr::to_string(&ServiceAccountImport::crd())?);
    println!("---");
    print!("{}", serde_saphyr::to_string(&ImportPolicy::crd())?);
    Ok(())
}
