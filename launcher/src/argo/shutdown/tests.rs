use mcsa_client::clusters::Clusters;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_UID};
use mcsa_runtime::lease::Fence;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::fake_clusters::{FakeClusters, delete, read};
use super::*;
use crate::controller;
use crate::event::Events;
use crate::node::NodeState;

/// Runs the controller of a source with a launch import of the namespace `team-a`, and `test` meanwhile. Time advances
/// only while both wait. The controller reconciles no pods, because the node is not the launcher's.
async fn run(servers: &FakeClusters, test: impl AsyncFnOnce(&Source, &Member)) {
    let clusters = Clusters::builder().local(HOME, servers.home()).start().unwrap();
    let member = join(&clusters, servers, "team-a");
    let (_node, node) = watch::channel(NodeState::default());
    let (_stop, stopped) = watch::channel(false);
    let (fence, events) = (Fence::always_open(), Events::new(servers.home()));
    let (controller, source) =
        controller::build(&Arc::from("c2"), &clusters, &Arc::default(), (&fence, node), &events);
    let running = controller::run(controller, source.clone(), stopped);
    tokio::select! {
        () = running => panic!("the controller has ended"),
        () = test(source.as_ref(), &member) => {}
    }
}

/// Adds a launch import for the namespace `remote` of the source.
fn join(clusters: &Clusters, servers: &FakeClusters, namespace: &str) -> Member {
    let spec = ServiceAccountImportSpec {
        cluster_name: "c2".into(),
        namespace: "remote".into(),
        ..Default::default()
    };
    let mut import = ServiceAccountImport::new("launch-c2", spec);
    import.metadata.namespace = Some(namespace.into());
    clusters.join_as_import(format!("{namespace}.launch-c2"), servers.source(), import).unwrap()
}

/// Waits until this holds, at most for half of the interval of the paused clock: until the first look has ended.
async fn soon(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(INTERVAL / 2, wait).await.is_ok(), "{what}");
}

#[rstest]
#[case::runs(json!({}), json!({ "phase": "Running" }), &["step", "exit"])]
#[case::terminated(json!({ "shutdown": "Terminate" }), json!({}), &[])]
#[case::stopped(json!({ "shutdown": "Stop" }), json!({}), &["exit"])]
#[case::finished(json!({}), json!({ "finishedAt": "2026-01-01T00:00:00Z" }), &[])]
#[case::shutdown_is_no_string(json!({ "shutdown": 7 }), json!({}), &["step", "exit"])]
#[tokio::test(start_paused = true)]
async fn steps_that_run_on_are_ended(#[case] spec: Value, #[case] status: Value, #[case] left: &[&str]) {
    let servers = FakeClusters::default();
    servers.set_workflow("w", &spec, &status);
    servers.add_step("team-a", "w", "step", false);
    servers.add_step("team-a", "w", "exit", true);
    run(&servers, async |_, _| {
        soon("the workflow is read", || servers.received(&read("w"))).await;
        sleep(INTERVAL / 2).await;
        assert_eq!(servers.left(), left);
        let notes = servers.state().notes.clone();
        assert_eq!(notes.len(), 2 - left.len(), "{notes:?}");
        assert!(notes.iter().all(|note| note.starts_with("workflow w ")), "{notes:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn argo_has_time_to_end_a_step() {
    let servers = FakeClusters::default();
    servers.set_workflow("w", &json!({ "shutdown": "Terminate" }), &json!({}));
    servers.add_step("team-a", "w", "step", false);
    run(&servers, async |_, _| {
        soon("the workflow is read", || servers.received(&read("w"))).await;
        servers.end_remote_pods();
        sleep(INTERVAL / 2).await;
        assert_eq!(servers.left(), ["step"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_remote_pod_is_left_alone() {
    let servers = FakeClusters::default();
    servers.set_workflow("w", &json!({ "shutdown": "Terminate" }), &json!({}));
    servers.add_step("team-a", "w", "step", false);
    run(&servers, async |_, _| {
        soon("the workflow is read", || servers.received(&read("w"))).await;
        servers.replace_remote_pods();
        sleep(INTERVAL / 2).await;
        assert!(!servers.received(&delete("step")));
    })
    .await;
}

/// The source seems to be ready all the time.
#[rstest]
#[case::running(None)]
#[case::may_not_be_read(Some(403))]
#[tokio::test(start_paused = true)]
async fn later_look_finds_a_lost_kill(#[case] code: Option<u16>) {
    let servers = FakeClusters::default();
    servers.set_workflow("w", &json!({}), &json!({}));
    servers.add_step("team-a", "w", "step", false);
    servers.state().refused.extend(code.map(|code| (read("w"), code)));
    run(&servers, async |_, _| {
        soon("the workflow is read", || servers.received(&read("w"))).await;
        servers.set_workflow("w", &json!({ "shutdown": "Terminate" }), &json!({}));
        servers.state().refused.clear();
        sleep(INTERVAL).await;
        soon("the step is ended", || servers.left().is_empty()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn recovery_of_the_source_triggers_a_look() {
    let servers = FakeClusters::default();
    servers.set_workflow("w", &json!({}), &json!({}));
    servers.add_step("team-a", "w", "step", false);
    run(&servers, async |_, member| {
        soon("the workflow is read", || servers.received(&read("w"))).await;
        servers.state().is_source_down = true;
        soon("the source is unavailable", || member.health().is_unavailable()).await;
        servers.set_workflow("w", &json!({ "shutdown": "Terminate" }), &json!({}));
        servers.state().is_source_down = false;
        soon("the step is ended", || servers.left().is_empty()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_do_not_block_others_and_are_repeated() {
    let servers = FakeClusters::default();
    let names: Vec<_> = (0..4 * DELETIONS).map(|number| format!("step-{number}")).collect();
    for workflow in ["w", "unreadable"] {
        servers.set_workflow(workflow, &json!({ "shutdown": "Terminate" }), &json!({}));
    }
    for name in &names {
        servers.add_step("team-a", "w", name, false);
    }
    servers.add_step("team-a", "unreadable", "unknown", false);
    // Of each workflow, some calls fail.
    servers.state().refused.insert(read("unreadable"), 500);
    let refused: Vec<_> = names.iter().take(DELETIONS).cloned().collect();
    servers.state().refused.extend(refused.iter().map(|name| (delete(name), 403)));
    run(&servers, async |_, _| {
        soon("the others are ended", || servers.left().len() == refused.len() + 1).await;
        servers.state().refused.clear();
        soon("they are ended", || servers.left().is_empty()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn launch_import_ends_only_steps_of_its_own_namespace() {
    let servers = FakeClusters::default();
    servers.add_step("team-a", "w", "of-a", false);
    servers.add_step("team-b", "w", "of-b", false);
    run(&servers, async |source, member| {
        soon("the pods are listed", || source.home.is_listed(HOME) && source.remote.is_listed(member.name()))
            .await;
        let steps = running_steps(source, member);
        let namespaces: Vec<_> = steps.keys().map(|workflow| workflow.namespace.as_str()).collect();
        assert_eq!(namespaces, ["team-a"]);
    })
    .await;
}

#[rstest]
#[case::running("home", "/status/phase", json!("Running"), true)]
#[case::home_pod_ended("home", "/status/phase", json!("Failed"), false)]
#[case::home_pod_deleted("home", "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), false)]
#[case::record_of_a_copied_pod("home", "/metadata/uid", json!("copy"), false)]
#[case::remote_pod_ended("remote", "/status/phase", json!("Succeeded"), false)]
#[case::remote_pod_deleted("remote", "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), false)]
#[case::another_remote_pod("remote", "/metadata/uid", json!("other"), false)]
fn only_running_pods_are_ended(
    #[case] changed: &str,
    #[case] path: &str,
    #[case] value: Value,
    #[case] expected: bool,
) {
    let pod = |name: &str, annotations: Value| -> Pod {
        let metadata = json!({ "uid": name, "annotations": annotations, "deletionTimestamp": null });
        let mut pod = json!({ "metadata": metadata, "status": { "phase": "Running" } });
        if name == changed {
            *pod.pointer_mut(path).unwrap() = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    };
    let home = pod("home", json!({ HOME_UID: "home", REMOTE_UID: "remote" }));
    assert_eq!(is_running(&home, &pod("remote", json!({}))), expected);
}
