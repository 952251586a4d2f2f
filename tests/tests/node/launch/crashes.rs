//! Crashes of the launcher between two steps, and a second replica.

use std::collections::BTreeMap;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::DeleteParams;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::{LAUNCHER, REMOTE_UID};

use super::*;

const NAMESPACE: &str = "crashes";

/// Pods that run to completion while the launcher is killed.
const ONCE: usize = 12;

/// All pods of these tests.
const PODS: usize = ONCE + 10;

pub(super) async fn each_pod_runs_once(launched: &mut Launched) -> anyhow::Result<()> {
    the_launcher_is_killed_while_it_launches(launched).await?;
    the_launcher_is_killed_before_it_records_a_pod(launched).await?;
    pods_change_while_no_launcher_runs(launched).await?;
    a_suspended_leader_is_replaced(launched).await?;
    created_once(launched)?;
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, NAMESPACE).await;
    Ok(())
}

/// Each pod was created once in the source.
fn created_once(launched: &Launched) -> anyhow::Result<()> {
    let created = launched.source.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.clone().unwrap_or_default();
        event.verb == "create"
            && object.resource == "pods"
            && object.subresource.is_empty()
            && object.namespace == NAMESPACE
    });
    let mut counts = BTreeMap::new();
    for event in created {
        // If the launcher is killed before it gets the response, the API server logs a timeout, and may have created the
        // pod.
        let is_created = event.response_status.as_ref().is_some_and(|status| status.code == 201);
        *counts.entry(event.object_ref.unwrap_or_default().name).or_insert(0) += u32::from(is_created);
    }
    ensure!(counts.len() == PODS && counts.values().all(|count| *count <= 1), "{counts:?}");
    Ok(())
}

async fn the_launcher_is_killed_while_it_launches(launched: &mut Launched) -> anyhow::Result<()> {
    let there = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE);
    for number in 0..ONCE {
        create(launched.home.client(), NAMESPACE, &shell(&format!("once-{number}"), "echo ran")).await?;
        if number % 3 == 2 {
            // The process leads, and is about to create the others, or to record them.
            let first = format!("once-{}", number - 2);
            eventually_within(DEADLINE, format!("pod {first} exists in the source"), async || {
                anyhow::Ok(there.get(&first).await?)
            })
            .await;
            launched.restart_launcher().await?;
        }
    }
    for number in 0..ONCE {
        phase(launched, NAMESPACE, &format!("once-{number}"), "Succeeded").await;
    }
    Ok(())
}

/// The pod was created, and its UID was not recorded: the next launcher recognizes the pod by its owner.
async fn the_launcher_is_killed_before_it_records_a_pod(launched: &mut Launched) -> anyhow::Result<()> {
    let there = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE);
    let here = Api::<Pod>::namespaced(launched.home.client(), NAMESPACE);
    may_report(launched, false).await?;
    create(launched.home.client(), NAMESPACE, &shell("unrecorded", "sleep 600")).await?;
    let remote = eventually_within(DEADLINE, "the pod exists in the source", async || {
        anyhow::Ok(there.get("unrecorded").await?)
    })
    .await;
    launched.launcher().kill();
    ensure!(here.get("unrecorded").await?.annotations().get(REMOTE_UID).is_none());
    may_report(launched, true).await?;
    launched.restart_launcher().await?;
    let home = phase(launched, NAMESPACE, "unrecorded", "Running").await;
    ensure!(home.annotations().get(REMOTE_UID) == remote.uid().as_ref());
    Ok(())
}

/// Allows or forbids the launcher to write statuses.
async fn may_report(launched: &Launched, allowed: bool) -> anyhow::Result<()> {
    let verbs = if allowed { json!(["patch"]) } else { json!(["get"]) };
    let patch = json!([
        { "op": "test", "path": "/rules/4/resources", "value": ["pods/status"] },
        { "op": "replace", "path": "/rules/4/verbs", "value": verbs },
    ]);
    let role = ["patch", "clusterrole", "multicluster-service-account-launcher", "--type=json", "-p"];
    launched.home.kubectl([&role[..], &[&patch.to_string()]].concat()).await?;
    let reviews = Api::<SubjectAccessReview>::all(launched.home.client());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{LAUNCHER}")),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(NAMESPACE.into()),
                verb: Some("patch".into()),
                resource: Some("pods".into()),
                subresource: Some("status".into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    eventually_within(DEADLINE, "the API server knows the rights", async || {
        let found = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        ensure!(found.allowed == allowed, "{found:?}");
        anyhow::Ok(())
    })
    .await;
    Ok(())
}

async fn pods_change_while_no_launcher_runs(launched: &mut Launched) -> anyhow::Result<()> {
    let there = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE);
    let here = Api::<Pod>::namespaced(launched.home.client(), NAMESPACE);
    for name in ["evicted", "deleted", "forced"] {
        create(launched.home.client(), NAMESPACE, &shell(name, "sleep 600")).await?;
        phase(launched, NAMESPACE, name, "Running").await;
    }
    launched.launcher().kill();
    create(launched.home.client(), NAMESPACE, &shell("created", "true")).await?;
    there.delete("evicted", &DeleteParams::default().grace_period(0)).await?;
    here.delete("deleted", &DeleteParams::default()).await?;
    here.delete("forced", &DeleteParams::default().grace_period(0)).await?;
    launched.restart_launcher().await?;
    phase(launched, NAMESPACE, "created", "Succeeded").await;
    // It is not run again.
    phase(launched, NAMESPACE, "evicted", "Failed").await;
    gone(&here, "deleted").await;
    for name in ["deleted", "forced"] {
        gone(&there, name).await;
    }
    Ok(())
}

/// A leader that does not respond for longer than its lease writes nothing when it continues.
async fn a_suspended_leader_is_replaced(launched: &mut Launched) -> anyhow::Result<()> {
    let there = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE);
    create(launched.home.client(), NAMESPACE, &shell("server", "echo started; sleep 600")).await?;
    phase(launched, NAMESPACE, "server", "Running").await;
    let replica = launched.start_replica().await?;
    launched.launcher().suspend()?;
    for number in 0..3 {
        create(launched.home.client(), NAMESPACE, &shell(&format!("failover-{number}"), "sleep 600")).await?;
    }
    for number in 0..3 {
        phase(launched, NAMESPACE, &format!("failover-{number}"), "Running").await;
    }
    // The API server asks the new leader.
    eventually_within(DEADLINE, "the new leader has the log", async || {
        let log = launched.home.kubectl(["-n", NAMESPACE, "logs", "server"]).await?;
        ensure!(log == "started\n", "{log:?}");
        anyhow::Ok(())
    })
    .await;
    launched.launcher().resume()?;
    create(launched.home.client(), NAMESPACE, &shell("resumed", "true")).await?;
    phase(launched, NAMESPACE, "resumed", "Succeeded").await;
    // The first one takes over again.
    replica.process.kill();
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pod", "server", "--wait=false"]).await?;
    gone(&there, "server").await;
    launched.launcher().check()
}

/// Waits until the pod is gone.
async fn gone(pods: &Api<Pod>, name: &str) {
    eventually_within(DEADLINE, format!("pod {name} is gone"), async || {
        let left = pods.get_opt(name).await?;
        ensure!(left.is_none(), "{:?}", left.map(|pod| pod.status));
        anyhow::Ok(())
    })
    .await;
}
