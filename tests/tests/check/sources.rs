//! Problems of links and sources, as seen from the importer.

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
    AuditEvent, Cluster, Fault, Importer, Imports, Proxy, apply_link, eventually, kubemcsa_ok,
    pod_lister_import,
};
use serde_json::json;

use super::{Fixture, Linked};

#[tokio::test(flavor = "multi_thread")]
async fn importer_reports_whether_it_reaches_a_source() -> anyhow::Result<()> {
    let fixture = Fixture::with_own_source().await?;
    let (target, source) = (&fixture.target, &fixture.source);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, source.port()))).await?;
    let again = ["bootstrap", "--target-context", "c1", "--source-context", "c2", "--source-server"];
    kubemcsa_ok(&fixture.kubeconfig, again.into_iter().chain([&*proxy.url()]))?;
    let imports = fixture.namespace("team").await?;
    imports.create(&pod_lister_import("a", "c2", "team")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    eventually("there are no findings", async || fixture.check()?.no_findings()).await;

    // The importer does not reach the source; this machine still does.
    proxy.set(Fault::Refuse);
    let checked = fixture.check()?;
    let fix = checked.problem("SourceUnreachable", "c2")?;
    ensure!(fix.contains("--source-server https://ADDRESS") && fix.contains("--target-name c1"), "{fix}");
    source.kubectl(["get", "namespaces"]).await?;
    let message = checked.finding("SourceUnreachable", "c2")?["message"].to_string();
    ensure!(message.contains(&proxy.url()) && message.contains("check that c2 is up"), "{message}");
    ensure!(!message.contains("ServiceError"), "{message}");
    // A source that hangs is reported within the timeout.
    proxy.set(Fault::Hang);
    fixture.check()?.problem("SourceUnreachable", "c2")?;
    proxy.set(Fault::Pass);
    fixture.check()?.no_findings()?;

    // Revoke the link. The source accepts the token for a while.
    source.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "secret", "c1"]).await?;
    let fix =
        eventually("the link is refused", async || fixture.check()?.problem("LinkUnauthorized", "c2")).await;
    ensure!(fix.contains(&format!("--source-server {}", proxy.url())), "{fix}");
    let command = fix.replace("SOURCE_CONTEXT", "c2");
    kubemcsa_ok(&fixture.kubeconfig, command.split(' ').skip(1))?;
    eventually("there are no findings again", async || fixture.check()?.no_findings()).await;

    // Remove the rights of the link.
    let bindings = Api::<ClusterRoleBinding>::all(source.client());
    let ours = bindings.list(&Default::default()).await?.into_iter().filter(|binding| {
        let subjects = binding.subjects.iter().flatten();
        subjects.into_iter().any(|subject| subject.namespace.as_deref() == Some(SYSTEM_NAMESPACE))
    });
    for binding in ours.collect::<Vec<_>>() {
        bindings.delete(&binding.name_any(), &Default::default()).await?;
    }
    let fix =
        eventually("the link is forbidden", async || fixture.check()?.problem("LinkForbidden", "c2")).await;
    // That may be a revocation, so bootstrap does not grant everything again by default.
    let command = format!("{} --allow-everything", fix.replace("SOURCE_CONTEXT", "c2"));
    kubemcsa_ok(&fixture.kubeconfig, command.split(' ').skip(1))?;
    eventually("there are no findings once more", async || fixture.check()?.no_findings()).await;

    // Existing connections would still work: the check opens a new one.
    source.next_authority()?.activate().await?;
    let fix = fixture.check()?.problem("SourceNotTrusted", "c2")?;
    ensure!(fix.starts_with("kubemcsa bootstrap --target-context c1"), "{fix}");

    // The status has the last request, and is not written again.
    let link = fixture.links().api.get("c2").await?;
    let requested = link.annotations().get(CHECK_REQUESTED).context("request")?;
    ensure!(link.status.as_ref().and_then(|it| it.checked_request.as_ref()) == Some(requested), "{link:#?}");
    let version = link.resource_version();
    eventually("another import exists", async || {
        target.kubectl(["-n", "team", "get", "serviceaccountimport", "a"]).await
    })
    .await;
    ensure!(
        fixture.links().api.get("c2").await?.resource_version() == version,
        "the status was written again"
    );
    fixture.daemons.importer.check()
}

#[tokio::test(flavor = "multi_thread")]
async fn skewed_clocks_and_expired_links_by_hand_are_reported() -> anyhow::Result<()> {
    let Linked { target, source, kubeconfig, .. } = Linked::start().await?;
    let importer = Importer::of(&target).await?;
    let links = Imports::of(target.client(), SYSTEM_NAMESPACE);
    eventually("the link is ready", async || links.ready("c2").await).await;
    // This importer has no leader election, so the test creates the Lease.
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "importer" },
        "spec": { "holderIdentity": "test", "leaseDurationSeconds": 3600,
                  "renewTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string() },
    });
    let leases =
        Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(target.client(), SYSTEM_NAMESPACE);
    leases.patch("importer", &PatchParams::apply("test"), &Patch::Apply(lease)).await?;

    importer.clock.advance(SignedDuration::from_mins(-5));
    let checked = super::check(&kubeconfig, &[])?;
    let skewed = checked.finding("ClockSkewed", "c2")?;
    let message = skewed["message"].as_str().context("message")?;
    ensure!(skewed["severity"] == "Warning" && message.contains("s ahead of the importer's"), "{message}");

    // A link that was created by hand is not refreshed.
    let claims = json!({ "iat": 1000, "exp": 4600, "kubernetes.io": {
        "namespace": SYSTEM_NAMESPACE, "serviceaccount": { "name": "c1", "uid": "u" } } });
    let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut by_hand: Kubeconfig = source.kubeconfig_value();
    for user in by_hand.auth_infos.iter_mut() {
        user.auth_info = Some(serde_json::from_value(json!({ "token": token }))?);
    }
    apply_link(&target, "c3", &by_hand).await?;
    let checked = super::check(&kubeconfig, &[])?;
    let fix = checked.problem("LinkExpired", "c3")?;
    ensure!(fix.contains("--source-name c3") && fix.contains(&source.server()), "{fix}");
    ensure!(!format!("{:#}{}", checked.report, checked.stderr).contains(&token), "the token is printed");

    importer.stop().await
}

/// Number of checks: how often the link of a target read the identity of the source.
fn checks(source: &Cluster, target_name: &str) -> anyhow::Result<usize> {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{target_name}");
    let is_check = |event: &AuditEvent| {
        let object = event.object_ref.as_ref();
        event.user.username == user
            && event.stage == "ResponseComplete"
            && object.is_some_and(|object| object.resource == "namespaces" && object.name == "kube-system")
    };
    Ok(source.audit_events()?.iter().filter(|event| is_check(event)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn frequent_requests_cause_few_checks() -> anyhow::Result<()> {
    let Linked { target, source, target_name, .. } = Linked::start().await?;
    let importer = Importer::of(&target).await?;
    let links = Imports::of(target.client(), SYSTEM_NAMESPACE);
    eventually("the link is ready", async || links.ready("c2").await).await;
    let (before, start) = (checks(&source, &target_name)?, Instant::now());
    let mut last = String::new();
    for second in 0..50 {
        last = Timestamp::from_second(1_800_000_000 + second)?.to_string();
        let request = json!({ "metadata": { "annotations": { CHECK_REQUESTED: last } } });
        links.api.patch_metadata("c2", &PatchParams::default(), &Patch::Merge(request)).await?;
    }
    let link = eventually("the last request has a result", async || {
        let link = links.condition("c2", "Reachable", "True", Some("Answered")).await?;
        let checked = link.status.as_ref().and_then(|status| status.checked_request.as_ref());
        ensure!(checked == Some(&last), "{checked:?}");
        Ok(link)
    })
    .await;
    // One check at once, and at most one in five seconds, however slow this machine is.
    let max = 2 + usize::try_from(start.elapsed().as_secs() / 5)?;
    let count = checks(&source, &target_name)? - before;
    ensure!((1..=max).contains(&count), "{count} checks, at most {max} expected");

    // Invalid and deleted requests cause no check.
    let nonsense = json!({ "metadata": { "annotations": { CHECK_REQUESTED: "now" } } });
    links.api.patch_metadata("c2", &PatchParams::default(), &Patch::Merge(nonsense)).await?;
    let none = json!({ "metadata": { "annotations": { CHECK_REQUESTED: null } } });
    let unrequested = links.api.patch_metadata("c2", &PatchParams::default(), &Patch::Merge(none)).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c3", "default")).await?;
    eventually("another import is reconciled", async || {
        imports.condition("a", "Ready", "False", Some("ClusterNotLinked")).await
    })
    .await;
    let now = links.api.get("c2").await?;
    ensure!(now.resource_version() == unrequested.metadata.resource_version, "the status was written again");
    ensure!(now.status == link.status, "the result is gone: {:#?}", now.status);
    importer.stop().await
}
