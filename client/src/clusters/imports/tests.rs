//! The feed of imports against a fake API server.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher::Event;
use rstest::rstest;

use super::feed::Feed;
use super::*;
use crate::clusters::Clusters;
use crate::clusters::set::Tasks;
use crate::config::read_secret;
use crate::contract;
use crate::live::{ClusterAccess, LiveConfig};
use crate::{ServiceAccountImport, ServiceAccountImportSpec, ServiceAccountImportStatus};

struct Scene {
    feed: Feed,
    set: Set,
    tasks: Arc<Tasks>,
    /// Whether requests for Secrets panic.
    panics: Arc<AtomicBool>,
    client: Client,
    /// The number of requests for Secrets.
    reads: Arc<AtomicUsize>,
    /// The source that all Secrets are for, if they have this annotation.
    source: Arc<Mutex<Option<String>>>,
}

/// A feed of all imports, named by their clusters. Each Secret has a config.
fn scene() -> Scene {
    let panics = Arc::<AtomicBool>::default();
    let source = Arc::<Mutex<Option<String>>>::default();
    let reads = Arc::<AtomicUsize>::default();
    let (panicking, annotation, counter) = (panics.clone(), source.clone(), reads.clone());
    let server = tower::service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let panics = panicking.load(Ordering::SeqCst);
        let source = annotation.lock().unwrap().clone();
        async move {
            assert!(!panics, "a bug");
            // Nothing listens on this port.
            let values = [("server", "https://127.0.0.1:1"), ("token", "t0ken")];
            let data = values.map(|(key, value)| (key.to_owned(), ByteString(value.into())));
            let mut secret = Secret { data: Some(data.into()), ..Default::default() };
            secret.metadata.annotations =
                source.map(|source| [(contract::CLUSTER_NAME.to_owned(), source)].into());
            Ok::<_, Infallible>(Response::new(Body::from(serde_json::to_vec(&secret).unwrap())))
        }
    });
    let client = Client::new(server, "default");
    let imports = Imports::in_all_namespaces(&client).named(|import| import.spec.cluster_name.clone());
    let (set, tasks) = Set::new();
    Scene { feed: Feed::new(imports, set.clone()), set, tasks, panics, client, reads, source }
}

impl Scene {
    async fn list(&mut self, imports: &[&ServiceAccountImport]) {
        self.feed.handle(Event::Init);
        for &import in imports {
            self.feed.handle(Event::InitApply(import.clone()));
        }
        self.feed.handle(Event::InitDone);
        self.finish_reads().await;
    }

    async fn handle(&mut self, event: Event<ServiceAccountImport>) {
        self.feed.handle(event);
        self.finish_reads().await;
    }

    async fn finish_reads(&mut self) {
        while self.feed.finish_read().await.is_some() {}
    }

    /// The names of the members, each with the Secret that its config comes from.
    fn members(&self) -> Vec<String> {
        let members = self.set.members.borrow();
        let line = |member: &crate::clusters::Member| {
            let shown = format!("{:?}", member.access());
            let secret = shown.split("Secret ").nth(1).and_then(|rest| rest.split('"').next());
            format!("{} from {}", member.name(), secret.unwrap())
        };
        members.values().map(line).collect()
    }
}

fn import(namespace: &str, name: &str, cluster: &str, created: i64) -> ServiceAccountImport {
    let spec = ServiceAccountImportSpec { cluster_name: cluster.into(), ..Default::default() };
    let mut import = ServiceAccountImport::new(name, spec);
    import.metadata.namespace = Some(namespace.into());
    import.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(created).unwrap()));
    import
}

fn link(cluster: &str) -> ServiceAccountImport {
    let mut link = import(contract::SYSTEM_NAMESPACE, cluster, cluster, 1);
    link.metadata.labels = Some([(contract::LINK_LABEL.to_owned(), "true".to_owned())].into());
    link
}

#[tokio::test]
async fn links_never_become_members() {
    let mut scene = scene();
    scene.list(&[&link("c2"), &import("team", "lister", "c2", 2)]).await;
    assert_eq!(scene.members(), ["c2 from team/lister-token"]);
    scene.handle(Event::Apply(link("c3"))).await;
    assert_eq!(scene.members(), ["c2 from team/lister-token"]);
}

#[tokio::test]
async fn import_that_becomes_a_link_leaves() {
    let mut scene = scene();
    scene.list(&[&import(contract::SYSTEM_NAMESPACE, "c2", "c2", 1)]).await;
    assert_eq!(scene.members(), ["c2 from multicluster-service-account/c2-token"]);
    scene.handle(Event::Apply(link("c2"))).await;
    assert!(scene.members().is_empty());
}

#[tokio::test]
async fn read_that_panics_is_retried() {
    let mut scene = scene();
    scene.panics.store(true, Ordering::SeqCst);
    scene.list(&[&import("team", "lister", "c2", 1)]).await;
    assert!(scene.members().is_empty() && scene.feed.is_synced());
    scene.panics.store(false, Ordering::SeqCst);
    scene.feed.retry_failed();
    scene.finish_reads().await;
    assert_eq!(scene.members(), ["c2 from team/lister-token"]);
}

#[rstest]
#[case::oldest_first(true)]
#[case::oldest_last(false)]
#[tokio::test]
async fn oldest_import_has_the_name_and_the_next_one_joins_when_it_leaves(#[case] is_oldest_first: bool) {
    let mut scene = scene();
    let (old, new) = (import("z", "old", "c2", 1), import("a", "new", "c2", 2));
    scene.list(&if is_oldest_first { [&old, &new] } else { [&new, &old] }).await;
    assert_eq!(scene.members(), ["c2 from z/old-token"]);
    scene.feed.retry_failed();
    scene.finish_reads().await;
    assert_eq!(scene.members(), ["c2 from z/old-token"]);
    scene.handle(Event::Delete(old.clone())).await;
    assert_eq!(scene.members(), ["c2 from a/new-token"]);
    // Not possible in a cluster, but the choice must not depend on the order of events.
    scene.handle(Event::Apply(old)).await;
    assert_eq!(scene.members(), ["c2 from z/old-token"]);
}

#[tokio::test]
async fn import_without_a_credential_keeps_its_name() {
    let mut scene = scene();
    scene.panics.store(true, Ordering::SeqCst);
    let old = import("z", "old", "c2", 1);
    scene.list(&[&old]).await;
    scene.panics.store(false, Ordering::SeqCst);
    scene.feed.handle(Event::Apply(import("a", "new", "c2", 2)));
    scene.finish_reads().await;
    assert_eq!(scene.members(), ["c2 from z/old-token"]);
}

#[tokio::test]
async fn renamed_import_joins_under_its_new_name() {
    let mut scene = scene();
    let (first, second) = (import("team", "lister", "c2", 1), import("team", "other", "c2", 2));
    scene.list(&[&first, &second]).await;
    scene.handle(Event::Apply(import("team", "lister", "c3", 1))).await;
    assert_eq!(scene.members(), ["c2 from team/other-token", "c3 from team/lister-token"]);
}

#[tokio::test]
async fn import_of_another_source_joins_when_its_secret_is_replaced() {
    let mut scene = scene();
    *scene.source.lock().unwrap() = Some("c2".into());
    scene.list(&[&import("team", "lister", "c2", 1)]).await;
    assert_eq!(scene.members(), ["c2 from team/lister-token"]);
    scene.handle(Event::Apply(import("team", "lister", "c3", 1))).await;
    assert!(scene.members().is_empty());
    *scene.source.lock().unwrap() = Some("c3".into());
    scene.feed.retry_failed();
    scene.finish_reads().await;
    assert_eq!(scene.members(), ["c3 from team/lister-token"]);
}

#[tokio::test]
async fn another_service_account_is_another_member() {
    let mut scene = scene();
    let mut import = import("team", "lister", "c2", 1);
    scene.list(&[&import]).await;
    let member = scene.set.get("c2").unwrap();
    import.spec.name = "other".into();
    scene.handle(Event::Apply(import)).await;
    assert!(scene.set.get("c2").is_some_and(|other| other != member));
}

#[tokio::test]
async fn recreated_import_is_the_youngest_of_its_name() {
    let mut scene = scene();
    let (first, second) = (import("team", "lister", "c2", 1), import("team", "other", "c2", 2));
    scene.list(&[&first, &second]).await;
    scene.list(&[&import("team", "lister", "c2", 3), &second]).await;
    assert_eq!(scene.members(), ["c2 from team/other-token"]);
}

#[tokio::test]
async fn member_has_the_latest_version_of_its_import() {
    let mut scene = scene();
    let mut import = import("team", "lister", "c2", 1);
    scene.list(&[&import]).await;
    let clusters = Clusters {
        set: scene.set.clone(),
        pending: tokio::sync::watch::Sender::new(0).subscribe(),
        _tasks: scene.tasks.clone(),
    };
    let [member] = &clusters.imported("team", "c2")[..] else { panic!("{:?}", scene.members()) };
    assert_eq!(*member.import().unwrap(), import);
    assert!(clusters.imported("team", "c3").is_empty() && clusters.imported("other", "c2").is_empty());

    import.metadata.labels = Some([("tier".to_owned(), "gold".to_owned())].into());
    scene.handle(Event::Apply(import.clone())).await;
    assert_eq!(*member.import().unwrap(), import);
}

#[tokio::test]
async fn secret_is_read_again_when_the_status_changes() {
    let mut scene = scene();
    let mut import = import("team", "lister", "c2", 1);
    scene.list(&[&import]).await;
    scene.feed.handle(Event::Apply(import.clone()));
    assert!(scene.feed.is_synced(), "a read without a reason");
    let refresh_time = Some(Time(jiff::Timestamp::from_second(9).unwrap()));
    import.status = Some(ServiceAccountImportStatus { refresh_time, ..Default::default() });
    scene.feed.handle(Event::Apply(import));
    assert!(!scene.feed.is_synced());
}

#[rstest]
#[case::observed_by_the_watch(true, 0)]
#[case::of_somebody_else(false, 5)]
#[tokio::test(start_paused = true)]
async fn secret_of_a_watched_import_is_not_read_at_an_interval(
    #[case] is_observed: bool,
    #[case] expected: usize,
) {
    let Scene { client, reads, .. } = scene();
    let live = match is_observed {
        true => {
            let config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
            LiveConfig::new(super::secret::origin(&client, "team", "lister-token", None), config)
        }
        false => LiveConfig::from_secret(&client, "team", "lister-token", read_secret).await,
    };
    let access = ClusterAccess::from(live.unwrap());
    let before = reads.load(Ordering::SeqCst);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(61)).await;
        // What each request does first.
        access.refresh();
    }
    // The last read ends.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reads.load(Ordering::SeqCst) - before, expected);
}

#[tokio::test(start_paused = true)]
async fn forbidden_list_is_retried_with_back_off() {
    let lists = Arc::<AtomicUsize>::default();
    let counter = lists.clone();
    let server = tower::service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::FORBIDDEN;
        async move { Ok::<_, Infallible>(response) }
    });
    let (set, _tasks) = Set::new();
    let watch = Imports::in_all_namespaces(&Client::new(server, "default")).watch(set, || {});
    assert!(tokio::time::timeout(Duration::from_secs(600), watch).await.is_err());
    let lists = lists.load(Ordering::SeqCst);
    assert!((10..40).contains(&lists), "{lists} lists in 10 minutes");
}
