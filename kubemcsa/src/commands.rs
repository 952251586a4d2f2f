//! A module for each command, with `Args` and `run`.

pub(crate) mod allow;
pub(crate) mod bootstrap;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod export;
pub(crate) mod graph;
pub(crate) mod imports;
pub(crate) mod install;
pub(crate) mod launch;
pub(crate) mod links;
pub(crate) mod man;
pub(crate) mod reference;
pub(crate) mod rotate;
pub(crate) mod uninstall;
pub(crate) mod unlink;
pub(crate) mod version;

use crate::cluster::kubeconfig::ChosenContext;

/// A command of this program, with the flags for this context.
fn for_context(command: &str, chosen: &ChosenContext) -> String {
    chosen.kubectl().replacen("kubectl", &format!("kubemcsa {command}"), 1)
}
