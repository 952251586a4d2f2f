//! What is wrong on the way to a source, and there: as the importer finds it, and not who runs the command.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{CHECK_REQUESTED, SYSTEM_NAMESPACE};
use mcsa_tests::{
    AuditEvent, Cluster, Fault, Importer, Imports, Proxy, apply_link, eventually, install_and_link,
    kubemcsa_ok, pod_lister_import,
};
use serde_json::json;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_importer_says_whether_it_reaches_a_source() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (target, source) = (&world.target, &world.source);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, source.port()))).await?;
    let again = ["bootstrap", "--target-context", "c1", "--source-context", "c2", "--source-server"];
    kubemcsa_ok(&world.kubeconfig, again.into_iter().chain([&*proxy.url()]))?;
    let imports = world.namespace("team").await?;
    imports.create(&pod_lister_import("a", "c2", "team")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    eventually("all is well", async || world.check()?.all_well()).await;

    // From here, the source is to be reached all the while.
    proxy.set(Fault::Refuse);
    let checked = world.check()?;
    let mend = checked.problem("SourceUnreachable", "c2")?;
    ensure!(mend.contains("--source-server https://ADDRESS") && mend.contains("--target-name c1"), "{mend}");
    source.kubectl(["get", "namespaces"]).await?;
    let message = checked.finding("SourceUnreachable", "c2")?["message"].to_string();
    ensure!(message.contains(&proxy.url()) && message.contains("see first whether c2 is up"), "{message}");
    ensure!(!message.contains("ServiceError"), "{message}");
    // Whoever does not even answer is told of in time.
    proxy.set(Fault::Hang);
    world.check()?.problem("SourceUnreachable", "c2")?;
    proxy.set(Fault::Pass);
    world.check()?.all_well()?;

    // Revoked: the source takes the token for a while yet.
    source.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "secret", "c1"]).await?;
    let mend =
        eventually("the link is refused", async || world.check()?.problem("LinkUnauthorized", "c2")).await;
    ensure!(mend.contains(&format!("--source-server {}", proxy.url())), "{mend}");
    let words = mend.replace("SOURCE_CONTEXT", "c2");
    kubemcsa_ok(&world.kubeconfig, words.split(' ').skip(1))?;
    eventually("all is well again", async || world.check()?.all_well()).await;

    // Of its rights, nothing is left.
    let bindings = Api::<ClusterRoleBinding>::all(source.client());
    let ours = bindings.list(&Default::default()).await?.into_iter().filter(|binding| {
        let subjects = binding.subjects.iter().flatten();
        subjects.into_iter().any(|subject| subject.namespace.as_deref() == Some(SYSTEM_NAMESPACE))
    });
    for binding in ours.collect::<Vec<_>>() {
        bindings.delete(&binding.name_any(), &Default::default()).await?;
    }
    eventually("the link may do nothing", async || world.check()?.problem("Forbidden", "c2")).await;
    imports.create(&pod_lister_import("b", "c2", "team")).await?;
    let mend = eventually("an import is forbidden", async || world.check()?.problem("Forbidden", "b")).await;
    ensure!(
        mend == "kubemcsa allow team/pod-lister --target-name c1 --source-context SOURCE_CONTEXT",
        "{mend}"
    );
    kubemcsa_ok(&world.kubeconfig, again.into_iter().chain([&*proxy.url()]))?;
    eventually("all is well once more", async || world.check()?.all_well()).await;

    // Its connections of before go on.
    source.next_authority()?.activate().await?;
    let mend = world.check()?.problem("SourceNotTrusted", "c2")?;
    ensure!(mend.starts_with("kubemcsa bootstrap --target-context c1"), "{mend}");

    // Each request was answered once: the status says which.
    let link = world.links().api.get("c2").await?;
    let asked = link.annotations().get(CHECK_REQUESTED).context("request")?;
    ensure!(link.status.as_ref().and_then(|it| it.checked_request.as_ref()) == Some(asked), "{link:#?}");
    let version = link.resource_version();
    eventually("another import is seen", async || {
        target.kubectl(["-n", "team", "get", "serviceaccountimport", "a"]).await
    })
    .await;
    ensure!(world.links().api.get("c2").await?.resource_version() == version, "the status is written again");
    world.daemons.importer.check()
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_and_links_made_by_hand() -> anyhow::Result<()> {
    let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let kubeconfig = install_and_link(&target, &source)?;
    let importer = Importer::of(&target).await?;
    let links = Imports::of(target.client(), SYSTEM_NAMESPACE);
    eventually("the link is ready", async || links.ready("c2").await).await;
    // It takes part in no election, so the Lease is the test's.
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "importer" },
        "spec": { "holderIdentity": "test", "leaseDurationSeconds": 3600,
                  "renewTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string() },
    });
    let leases =
        Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(target.client(), SYSTEM_NAMESPACE);
    leases.patch("importer", &PatchParams::apply("test"), &Patch::Apply(lease)).await?;

    importer.clock.turn(SignedDuration::from_mins(-5));
    let checked = super::check(&kubeconfig, &[])?;
    let skewed = checked.finding("ClockSkewed", "c2")?;
    let message = skewed["message"].as_str().context("message")?;
    ensure!(skewed["severity"] == "Warning" && message.contains("s ahead of the importer's"), "{message}");

    // Nobody refreshes what a person made.
    let claims = json!({ "iat": 1000, "exp": 4600, "kubernetes.io": {
        "namespace": SYSTEM_NAMESPACE, "serviceaccount": { "name": "c1", "uid": "u" } } });
    let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut by_hand: Kubeconfig = source.kubeconfig_value();
    for user in by_hand.auth_infos.iter_mut() {
        user.auth_info = Some(serde_json::from_value(json!({ "token": token }))?);
    }
    apply_link(&target, "c3", &by_hand).await?;
    let checked = super::check(&kubeconfig, &[])?;
    let mend = checked.problem("LinkExpired", "c3")?;
    ensure!(mend.contains("--source-name c3") && mend.contains(&source.server()), "{mend}");
    ensure!(!format!("{:#}{}", checked.report, checked.said).contains(&token), "the token is said");

    importer.stop().await
}

/// How often a source was asked who it is, by a link.
fn asked(source: &Cluster) -> anyhow::Result<usize> {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:c1");
    let is_meant = |event: &AuditEvent| {
        let object = event.object_ref.as_ref();
        event.user.username == user
            && event.stage == "ResponseComplete"
            && object.is_some_and(|object| object.resource == "namespaces" && object.name == "kube-system")
    };
    Ok(source.audit_events()?.iter().filter(|event| is_meant(event)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_without_end_does_not_harm_a_source() -> anyhow::Result<()> {
    let source = Cluster::builder("c2").audit_log();
    let (target, source) = tokio::try_join!(Cluster::start("c1"), source.start())?;
    install_and_link(&target, &source)?;
    let importer = Importer::of(&target).await?;
    let links = Imports::of(target.client(), SYSTEM_NAMESPACE);
    eventually("the link is ready", async || links.ready("c2").await).await;
    let (before, start) = (asked(&source)?, Instant::now());
    let mut last = String::new();
    for second in 0..50 {
        last = Timestamp::from_second(1_800_000_000 + second)?.to_string();
        let request = json!({ "metadata": { "annotations": { CHECK_REQUESTED: last } } });
        links.api.patch_metadata("c2", &PatchParams::default(), &Patch::Merge(request)).await?;
    }
    let link = eventually("the last one is answered", async || {
        let link = links.condition("c2", "Reachable", "True", Some("Answered")).await?;
        let answered = link.status.as_ref().and_then(|status| status.checked_request.as_ref());
        ensure!(answered == Some(&last), "{answered:?}");
        Ok(link)
    })
    .await;
    // However slow this machine is: one at once, and one for each pause since.
    let most = 2 + usize::try_from(start.elapsed().as_secs() / 5)?;
    let count = asked(&source)? - before;
    ensure!((1..=most).contains(&count), "asked {count} times, and {most} are the most");

    // Nobody asks any more, and what is no request is none.
    let nonsense = json!({ "metadata": { "annotations": { CHECK_REQUESTED: "now" } } });
    links.api.patch_metadata("c2", &PatchParams::default(), &Patch::Merge(nonsense)).await?;
    let none = json!({ "metadata": { "annotations": { CHECK_REQUESTED: null } } });
    let unasked = links.api.patch_metadata("c2", &PatchParams::default(), &Patch::Merge(none)).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c3", "default")).await?;
    eventually("another import is seen", async || {
        imports.condition("a", "Ready", "False", Some("ClusterNotLinked")).await
    })
    .await;
    let now = links.api.get("c2").await?;
    ensure!(now.resource_version() == unasked.metadata.resource_version, "the status was written again");
    ensure!(now.status == link.status, "the answer is gone: {:#?}", now.status);
    importer.stop().await
}
