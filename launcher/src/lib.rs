//! Runs pods of this cluster in others.
//!
//! For each source cluster that has launch imports, there is a virtual node. The scheduler binds pods to it, and the
//! launcher runs them in the source, as a kubelet runs them in a container runtime. A pod passes through these steps,
//! each a file:
//!
//! | step | question |
//! | --- | --- |
//! | `resolve` | which launch import runs the pod, and in which namespace? |
//! | `forge` | what does the remote pod look like? |
//! | `create` | create it once, and never again |
//! | `mirror` | which status does the home pod get? |
//! | `finish` | delete both pods, whichever is deleted first |
//!
//! `forge` and `mirror` are pure functions; I/O is in the other steps.
//!
//! Beside them, `node` maintains the Node object, and `endpoint` serves what the API server asks of a kubelet: logs,
//! exec, attach and port-forward.

mod args;
mod endpoint;
// Temporary: their callers follow.
#[allow(dead_code, unused_imports)]
mod forge;
#[allow(dead_code, unused_imports)]
mod mirror;
mod node;
mod remote_pod;

pub use crate::args::Args;

/// Runs the launcher until it receives a signal.
///
/// # Errors
/// If the target's config can't be loaded, an address can't be bound, or a task ends unexpectedly.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let _config = args.cluster.config().await?;
    Ok(())
}
