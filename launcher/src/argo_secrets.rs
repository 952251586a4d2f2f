//! Runs pods with the Secrets of Argo Workflows' multi-cluster designs, without launch imports.
//!
//! `watch` observes the Secrets. `plan`, a pure function, computes which namespaces they let run pods in which
//! clusters. `members` adds these launches to the set of clusters, each with an import that exists in no API server, so
//! that all other files treat them like launch imports.

mod members;
mod plan;
mod watch;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;

use futures::{Stream, StreamExt};
use kube::Client;
use mcsa_client::clusters::{Change, Clusters};
use mcsa_runtime::argo::ArgoArgs;
use tokio::sync::watch::{Receiver, Sender, channel};

use self::members::Members;
pub(crate) use self::members::is_made_up;
use self::plan::plan;
use self::watch::Lists;

/// Adds and removes members as the Secrets change. `synced` becomes true when those of the first lists have joined.
pub(crate) async fn run(
    args: ArgoArgs,
    client: Client,
    clusters: Clusters,
    synced: Sender<bool>,
) -> Infallible {
    let Some(controller) = args.controller_namespace() else { return pending().await };
    let namespaces = args.namespaces();
    let (lists, observed) = channel(Lists::new(controller, &namespaces));
    tokio::select! {
        never = watch::run(&client, &lists) => never,
        never = apply((controller, &namespaces), clusters, observed, &synced) => never,
    }
}

async fn apply(
    (controller, namespaces): (&str, &BTreeSet<String>),
    clusters: Clusters,
    mut observed: Receiver<Lists>,
    synced: &Sender<bool>,
) -> Infallible {
    // Launch imports precede the Secrets.
    clusters.wait_until_synced().await;
    let mut changes = clusters.watch();
    let mut members = Members::new(clusters);
    loop {
        let (plan, is_complete) = {
            let lists = observed.borrow_and_update();
            // Before, a launch of an earlier generation could join for a moment.
            let plan = lists.are_tried().then(|| plan(controller, namespaces, &lists.secrets()));
            (plan, lists.are_complete())
        };
        if let Some(plan) = plan {
            members.apply(plan);
        }
        if is_complete {
            synced.send_replace(true);
        }
        tokio::select! {
            // The sender lives as long as this loop.
            _ = observed.changed() => {}
            () = launch_import_changed(&mut changes, namespaces) => {}
        }
    }
}

/// Waits until a launch import of one of these namespaces joins, changes or leaves.
async fn launch_import_changed(
    changes: &mut (impl Stream<Item = Change> + Unpin),
    namespaces: &BTreeSet<String>,
) {
    while let Some(change) = changes.next().await {
        let (Change::Joined(member) | Change::Updated(member) | Change::Left(member)) = change;
        if members::imported(&member).is_some_and(|launch| namespaces.contains(&launch.namespace)) {
            return;
        }
    }
    // The set has ended.
    pending().await
}
