//! What to try after the quickstart.

use anstream::println;

use crate::narrator::{Narrator, TITLE};
use crate::steps::Kept;

/// What to try next if the clusters are deleted.
pub fn print(narrator: &Narrator) {
    println!("\n{TITLE}What to try next{TITLE:#}");
    println!("   Keep the clusters running, and look around:");
    narrator.command("cargo run --example quickstart -- --keep");
    println!("   Link your own clusters: see \"Link your clusters\" in README.md.\n");
}

/// What to try next with the running clusters.
pub fn print_kept(narrator: &Narrator, kept: &Kept) {
    println!("\n{TITLE}What to try next{TITLE:#}");
    println!("   The clusters, the importer and the webhook keep running. Point kubectl at them:");
    narrator.command(&format!("export KUBECONFIG={}", kept.kubeconfig.display()));
    narrator.command("kubectl --context c1 get serviceaccountimports --all-namespaces");
    narrator.command("kubectl --context c1 -n demo describe serviceaccountimport c2-pod-lister");
    println!("   Delete the Secret, and watch the importer restore it:");
    narrator.command("kubectl --context c1 -n demo delete secret c2-pod-lister-token");
    narrator.command("kubectl --context c1 -n demo get secrets --watch");
    println!("   Use the mount with any Kubernetes client:");
    narrator.command(&format!("kubectl --kubeconfig {} get pods", kept.mounted_config.display()));
    println!("   Stop and delete everything:");
    narrator.command(&kept.stop_command);
    println!();
}
