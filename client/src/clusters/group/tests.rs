//! Groups of members against fake clusters.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::config::ExecConfig;
use kube::{Client, Config};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::clusters::member::NewMember;
use crate::live::LiveConfig;

/// How a cluster treats the requests of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Respond(u16),
    Refuse,
    Hang,
    Panic,
}

const OK: Mode = Mode::Respond(200);

/// A member of a group, and the cluster as it sees it.
struct Scene {
    membership: Membership,
    mode: watch::Sender<Mode>,
    checks: Arc<AtomicUsize>,
}

impl Scene {
    fn join(group: &Arc<Group>, name: &str, mode: Mode) -> Self {
        let (mode, checks) = (watch::Sender::new(mode), Arc::<AtomicUsize>::default());
        let (current, counter) = (mode.clone(), checks.clone());
        let server = tower::service_fn(move |request: Request<Body>| {
            if request.uri().path() == "/readyz" {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            let mode = *current.borrow();
            async move {
                match mode {
                    Mode::Respond(code) => {
                        let mut response = Response::new(Body::empty());
                        *response.status_mut() = StatusCode::from_u16(code).unwrap();
                        Ok(response)
                    }
                    Mode::Refuse => Err(std::io::Error::other("refused")),
                    Mode::Hang => pending().await,
                    Mode::Panic => panic!("broken"),
                }
            }
        });
        let member = Member::new(NewMember::new(name, Client::new(server, "default")));
        group.shared.add(&member);
        let membership = Membership { member, group: group.clone() };
        Self { membership, mode, checks }
    }

    fn member(&self) -> &Member {
        &self.membership.member
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    async fn wait_for(&self, expected: impl FnMut(&Health) -> bool) {
        let mut health = self.member().watch_health();
        let waited = timeout(Duration::from_secs(60), health.wait_for(expected)).await;
        assert!(waited.is_ok(), "{:?}", self.member());
    }
}

fn group(modes: [Mode; 3]) -> (Arc<Group>, [Scene; 3]) {
    let group = Arc::new(Group::new(None));
    let [c1, c2, c3] = modes;
    let scenes = [("c1", c1), ("c2", c2), ("c3", c3)].map(|(name, mode)| Scene::join(&group, name, mode));
    (group, scenes)
}

#[tokio::test(start_paused = true)]
async fn at_rest_members_take_turns() {
    let (_group, scenes) = group([OK; 3]);
    for scene in &scenes {
        scene.wait_for(Health::is_ready).await;
        assert_eq!(scene.checks(), 1);
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    let checks = scenes.each_ref().map(Scene::checks);
    assert!(checks.iter().all(|checks| (10..=12).contains(checks)), "{checks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_to_one_member_postpones_the_check_of_all() {
    let (_group, scenes) = group([OK; 3]);
    for scene in &scenes {
        scene.wait_for(Health::is_ready).await;
    }
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        scenes[0].member().client().send(Request::new(Body::empty())).await.unwrap();
    }
    assert_eq!(scenes.each_ref().map(Scene::checks), [1; 3]);
}

#[tokio::test(start_paused = true)]
async fn refused_credential_concerns_one_member() {
    let (_group, [c1, c2, c3]) = group([Mode::Respond(401), OK, OK]);
    c2.wait_for(Health::is_ready).await;
    c3.wait_for(Health::is_ready).await;
    assert_eq!(c1.member().health(), Health::Unauthorized);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(c2.member().health().is_ready() && c3.member().health().is_ready());
}

#[rstest]
#[case::unresponsive(Mode::Hang, true)]
#[case::unreachable(Mode::Refuse, false)]
#[case::not_ready(Mode::Respond(503), false)]
#[tokio::test(start_paused = true)]
async fn unavailable_cluster_is_so_for_all_members_until_it_responds(
    #[case] mode: Mode,
    #[case] is_unresponsive: bool,
) {
    let (group, scenes) = group([OK; 3]);
    for scene in &scenes {
        scene.wait_for(Health::is_ready).await;
        scene.mode.send_replace(mode);
    }
    for scene in &scenes {
        scene.wait_for(Health::is_unavailable).await;
        assert_eq!(scene.member().health().is_unresponsive(), is_unresponsive);
    }
    let late = Scene::join(&group, "late", mode);
    assert!(late.member().health().is_unavailable());

    for scene in scenes.iter().chain([&late]) {
        scene.mode.send_replace(OK);
    }
    for scene in scenes.iter().chain([&late]) {
        scene.wait_for(Health::is_ready).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_to_one_member_proves_that_the_cluster_is_available() {
    let (_group, [c1, c2, c3]) = group([OK; 3]);
    for scene in [&c1, &c2, &c3] {
        scene.wait_for(Health::is_ready).await;
        scene.mode.send_replace(Mode::Refuse);
    }
    c3.wait_for(Health::is_unavailable).await;
    let checks = [&c1, &c2, &c3].map(Scene::checks);
    c1.mode.send_replace(OK);
    c1.member().client().send(Request::new(Body::empty())).await.unwrap();
    c3.wait_for(Health::is_ready).await;
    assert_eq!([&c1, &c2, &c3].map(Scene::checks), checks, "no check was necessary");
}

#[rstest]
#[case::is_never_answered(Mode::Hang, true)]
#[case::can_not_connect(Mode::Refuse, false)]
#[case::gets_errors(Mode::Respond(500), false)]
#[case::panics(Mode::Panic, false)]
#[tokio::test(start_paused = true)]
async fn a_member_that_fails_alone_is_unavailable_alone(#[case] mode: Mode, #[case] is_unresponsive: bool) {
    let (_group, [c1, c2, c3]) = group([mode, OK, OK]);
    c1.wait_for(Health::is_unavailable).await;
    assert_eq!(c1.member().health().is_unresponsive(), is_unresponsive);
    c2.wait_for(Health::is_ready).await;
    c3.wait_for(Health::is_ready).await;
    let mut others = [c2.member().watch_health(), c3.member().watch_health()];
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!others.iter_mut().any(|health| health.has_changed().unwrap()));
    // It does not wait for its turn.
    c1.mode.send_replace(OK);
    timeout(Duration::from_secs(21), c1.wait_for(Health::is_ready)).await.unwrap();
}

#[rstest]
#[case::are_never_answered(Mode::Hang)]
#[case::can_not_connect(Mode::Refuse)]
#[case::get_errors(Mode::Respond(500))]
#[tokio::test(start_paused = true)]
async fn members_that_fail_together_leave_the_others_available(#[case] mode: Mode) {
    let (_group, [c1, c2, c3]) = group([OK; 3]);
    for scene in [&c1, &c2, &c3] {
        scene.wait_for(Health::is_ready).await;
    }
    let mut health = c3.member().watch_health();
    for scene in [&c1, &c2] {
        scene.mode.send_replace(mode);
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(c1.member().health().is_unavailable() || c2.member().health().is_unavailable());
    assert!(!health.has_changed().unwrap() && health.borrow_and_update().is_ready());
}

#[tokio::test(start_paused = true)]
async fn task_ends_with_the_last_member() {
    let (group, [c1, c2, c3]) = group([OK; 3]);
    c3.wait_for(Health::is_ready).await;
    let shared = Arc::downgrade(&group.shared);
    drop((group, c1, c2));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(shared.upgrade().is_some() && c3.checks() > 1);
    drop(c3);
    // The runtime drops an aborted task soon.
    while shared.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
}

fn live(server: &str, change: impl FnOnce(&mut Config)) -> LiveConfig {
    let mut config = Config::new(server.parse().unwrap());
    change(&mut config);
    LiveConfig::fixed(config).unwrap()
}

#[tokio::test]
async fn members_of_one_endpoint_share_a_group() {
    let mut groups = Groups::default();
    let join =
        |groups: &mut Groups, live: &LiveConfig| groups.join(&Member::new(NewMember::new("c", live.clone())));
    let (c1, c2) = ("https://127.0.0.1:1", "https://127.0.0.1:2");
    let moves = live(c1, |_| {});
    let mut first = join(&mut groups, &moves);
    let second = join(&mut groups, &live(c1, |config| config.default_namespace = "other".into()));
    let third = join(&mut groups, &live(c2, |_| {}));
    let client = || Member::new(NewMember::new("c", Client::from(live(c2, |_| {}))));
    let (fourth, fifth) = (groups.join(&client()), groups.join(&client()));
    assert!(Arc::ptr_eq(&first.group, &second.group));
    assert!(!Arc::ptr_eq(&first.group, &third.group));
    assert!(!Arc::ptr_eq(&third.group, &fourth.group) && !Arc::ptr_eq(&fourth.group, &fifth.group));

    let mut elsewhere = Config::new(c2.parse().unwrap());
    elsewhere.default_namespace = "other".into();
    first.member.health_state().set(Health::Ready);
    moves.update(elsewhere).unwrap();
    groups.update(&mut first);
    assert!(Arc::ptr_eq(&first.group, &third.group));
    assert_eq!(first.member.health(), Health::Unknown);
    assert_eq!(second.group.shared.state().entries.len(), 1);
}

/// Starts a server that responds to all requests. Returns its URL.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(1..) = socket.read(&mut [0; 4096]).await {
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

#[rstest]
#[case::hangs("exec sleep 1000", "did not end within 5s")]
#[case::fails("exit 1", "failed")]
#[tokio::test]
async fn a_credential_plugin_concerns_one_member(#[case] script: &str, #[case] expected: &str) {
    let url = server().await;
    let exec = ExecConfig {
        command: Some("sh".into()),
        args: Some(vec!["-c".into(), script.into()]),
        ..serde_json::from_value(serde_json::json!({})).unwrap()
    };
    let with_plugin = live(&url, |config| config.auth_info.exec = Some(exec));
    let mut groups = Groups::default();
    let bad = groups.join(&Member::new(NewMember::new("bad", with_plugin)));
    let good = groups.join(&Member::new(NewMember::new("good", live(&url, |_| {}))));
    assert!(Arc::ptr_eq(&bad.group, &good.group));
    for member in [&good.member, &bad.member] {
        let mut health = member.watch_health();
        health.wait_for(|health| !matches!(health, Health::Unknown)).await.unwrap();
    }
    assert!(good.member.health().is_ready(), "{:?}", good.member);
    match bad.member.health() {
        Health::Unavailable { problem, .. } => assert!(problem.contains(expected), "{problem}"),
        health => panic!("{health:?}"),
    }
}
