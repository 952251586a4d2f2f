//! A module for each command, with `Args` and `run`.

pub mod allow;
pub mod bootstrap;
pub mod check;
pub mod completion;
pub mod export;
pub mod graph;
pub mod imports;
pub mod install;
pub mod links;
pub mod man;
pub mod reference;
pub mod rotate;
pub mod uninstall;
pub mod unlink;
pub mod version;

use crate::cluster::kubeconfig::ChosenContext;

/// A command of this program, with the flags for this context.
fn for_context(command: &str, chosen: &ChosenContext) -> String {
    chosen.kubectl().replacen("kubectl", &format!("kubemcsa {command}"), 1)
}
