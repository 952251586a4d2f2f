//! Panics of the caller's code.

use std::sync::atomic::{AtomicUsize, Ordering};

use rstest::rstest;

use super::*;
use crate::clusters::Member;

#[tokio::test(start_paused = true)]
async fn a_panic_of_modify_skips_one_object_and_is_retried() {
    let server = FakeServer::with(&["bad", "good"]);
    let clusters = Clusters::fixed([("c1", server.client())]);
    let panics = Arc::new(AtomicUsize::new(0));
    let count = panics.clone();
    let controller =
        Controller::new(&clusters, watcher::Config::default()).modify(move |object: &mut ConfigMap| {
            if object.metadata.name.as_deref() == Some("bad") && count.fetch_add(1, Ordering::Relaxed) < 3 {
                panic!("broken")
            }
        });
    let mut running = Running::of(controller);
    running.started("c1/default/good").await;
    for _ in 0..3 {
        running.error("handling ConfigMap c1/default/bad panicked: broken").await;
    }
    running.started("c1/default/bad").await;
    assert!(running.errors.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_modify_leaves_the_previous_version_in_the_store() {
    let server = FakeServer::with(&["a"]);
    let clusters = Clusters::fixed([("c1", server.client())]);
    let panics = Arc::new(AtomicUsize::new(0));
    let count = panics.clone();
    let controller =
        Controller::new(&clusters, watcher::Config::default()).modify(move |_: &mut ConfigMap| {
            if count.load(Ordering::Relaxed) > 0 {
                panic!("broken")
            }
        });
    let mut running = Running::of(controller);
    running.started("c1/default/a").await;
    panics.store(1, Ordering::Relaxed);
    // Ends the watch, which lists again.
    server.hang();
    let member = clusters.get("c1").unwrap();
    let mut health = member.watch_health();
    health.wait_for(|health| health.is_unresponsive()).await.unwrap();
    server.set(&["a"]);
    running.error("handling ConfigMap c1/default/a panicked").await;
    running.error("handling ConfigMap c1/default/a panicked").await;
    assert!(running.stores.get(&Key::new("c1", Some("default"), "a")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_mapper_is_retried() {
    let server = FakeServer::with(&["a"]);
    let clusters = Clusters::fixed([("c1", server.client())]);
    let count = AtomicUsize::new(0);
    let mapper = move |_: &Member, _: Secret| {
        if count.fetch_add(1, Ordering::Relaxed) < 2 {
            panic!("broken")
        }
        Some(Key::new("c1", Some("default"), "a"))
    };
    let controller = Controller::new(&clusters, watcher::Config::default())
        .watches::<Secret, _>(watcher::Config::default(), mapper);
    let mut running = Running::of(controller);
    running.started("c1/default/a").await;
    running.error("handling Secret c1/default/a panicked: broken").await;
    running.error("handling Secret c1/default/a panicked: broken").await;
    running.started("c1/default/a").await;
}

#[rstest]
#[case::filter(true)]
#[case::namespace(false)]
#[tokio::test(start_paused = true)]
async fn a_panic_on_a_member_affects_only_this_member_and_is_retried(#[case] of_the_filter: bool) {
    let (bad, good) = (FakeServer::with(&["a"]), FakeServer::with(&["b"]));
    let clusters = Clusters::fixed([("bad", bad.client()), ("good", good.client())]);
    let count = AtomicUsize::new(0);
    let check = move |member: &Member| {
        if &**member.name() == "bad" && count.fetch_add(1, Ordering::Relaxed) < 3 {
            panic!("broken")
        }
    };
    let controller = Controller::new(&clusters, watcher::Config::default());
    let mut running = Running::of(match of_the_filter {
        true => controller.members(move |member| {
            check(member);
            true
        }),
        false => controller.namespace_of(move |member| {
            check(member);
            None
        }),
    });
    running.started("good/default/b").await;
    for _ in 0..3 {
        running.error("choosing what to watch in cluster bad panicked: broken").await;
    }
    running.started("bad/default/a").await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_trigger_is_reported() {
    let server = FakeServer::with(&["a"]);
    let clusters = Clusters::fixed([("c1", server.client())]);
    let controller = Controller::new(&clusters, watcher::Config::default())
        .reconcile_on(futures::stream::poll_fn(|_| panic!("broken")));
    let mut running = Running::of(controller);
    running.error("a stream that triggers reconciliations panicked, and has ended: broken").await;
    running.started("c1/default/a").await;
}
