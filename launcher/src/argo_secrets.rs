//! Runs pods with the Secrets of Argo Workflows' multi-cluster designs, without launch imports.
//!
//! `watch` observes the Secrets, and `lists` has what it observed. `plan`, a pure function, computes which namespaces
//! they let run pods in which clusters. `members` adds these launches to the set of clusters, each with an import that
//! exists in no API server, so that all other files treat them like launch imports.

mod lists;
mod members;
mod plan;
mod watch;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Client;
use mcsa_client::argo::Reader;
use mcsa_client::clusters::{Change, Clusters};
use mcsa_runtime::argo::ArgoArgs;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::time::sleep;

use self::lists::Lists;
use self::members::Members;
use self::plan::{Secrets, plan};

/// Shortest time between two plans. When a member joins or leaves, all pods of its source are reconciled, so a user who
/// writes a Secret again and again must not cause that at each write.
const PAUSE: Duration = Duration::from_secs(5);

/// How often annotations of launch imports are read: no event reports that they have changed.
const RECHECK: Duration = Duration::from_secs(10);

/// Adds and removes members as the Secrets change. `synced` becomes true when those of the first lists have joined.
pub(crate) async fn run(
    args: ArgoArgs,
    reader: Reader,
    client: Client,
    clusters: Clusters,
    synced: Sender<bool>,
) -> Infallible {
    let Some(controller) = args.controller_namespace() else { return pending().await };
    let namespaces = args.namespaces();
    let (lists, observed) = channel(Lists::new(controller, &namespaces));
    tokio::select! {
        never = watch::run(&client, &lists) => never,
        never = apply((controller, &namespaces, reader), clusters, observed, &synced) => never,
    }
}

async fn apply(
    (controller, namespaces, reader): (&str, &BTreeSet<String>, Reader),
    clusters: Clusters,
    mut observed: Receiver<Lists>,
    synced: &Sender<bool>,
) -> Infallible {
    // Launch imports precede the Secrets.
    clusters.wait_until_synced().await;
    // A plan of only some of the lists could let a launch of an earlier design join. The sender lives as long as this
    // function.
    drop(observed.wait_for(Lists::are_listed).await);
    let plan_of = |lists: &Lists| plan(controller, namespaces, &Secrets { reader, ..lists.secrets() });
    let mut current = plan_of(&observed.borrow_and_update());
    let mut changes = clusters.watch();
    let mut members = Members::new(clusters);
    loop {
        members.apply(&current);
        synced.send_replace(true);
        sleep(PAUSE).await;
        let is_changed = tokio::select! {
            biased;
            changed = observed.changed() => changed.is_ok(),
            () = launch_import_changed(&mut changes, namespaces) => false,
            () = sleep(RECHECK) => false,
        };
        if is_changed {
            current = plan_of(&observed.borrow_and_update());
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

#[cfg(test)]
mod tests;
