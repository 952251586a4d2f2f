//! The importer and links. Each test breaks its clusters, or counts their requests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::{IMPORT_NAME, LINK_LABEL, REFRESH_TIME, SYSTEM_NAMESPACE};
use mcsa_tests::{
    AuditEvent, AuditObject, Cluster, Daemons, Imports, Proxy, bootstrap, create_pod_lister, eventually,
    install_and_link, kubemcsa_ok, pod_lister_import,
};
use serde_json::json;

/// Two linked clusters with importer and webhook.
struct Linked {
    daemons: Daemons,
    target: Cluster,
    source: Cluster,
    kubeconfig: PathBuf,
}

impl Linked {
    async fn start() -> anyhow::Result<Self> {
        let cluster = |name| Cluster::builder(name).audit_log().start();
        let (target, source) = tokio::try_join!(cluster("c1"), cluster("c2"))?;
        let kubeconfig = install_and_link(&target, &source)?;
        // Otherwise, its garbage collector discovers imports only after 30 s.
        target.restart_controller_manager()?;
        let daemons = Daemons::start(&target, target.dir(), "debug").await?;
        Ok(Self { daemons, target, source, kubeconfig })
    }

    /// Creates a namespace in the target, and returns its imports.
    async fn create_namespace(&self, namespace: &str) -> anyhow::Result<Imports> {
        self.target.kubectl(["create", "namespace", namespace]).await?;
        Ok(Imports::of(self.target.client(), namespace))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_link_is_recreated_only_by_bootstrap() -> anyhow::Result<()> {
    let linked = Linked::start().await?;
    let links = Imports::of(linked.target.client(), SYSTEM_NAMESPACE);
    // Bootstrap minted the first token; the importer takes over at once.
    let link = eventually("the link's import is ready", async || links.ready("c2").await).await;
    ensure!(
        link.status.context("the import has no status")?.refresh_time.is_some(),
        "the importer has not taken over"
    );
    let before = links.values("c2-token").await?;

    // A Secret without the label is invisible to one watch, but not to the other.
    let no_label = json!({ "metadata": { "labels": { IMPORT_NAME: null } } });
    links.secrets.patch("c2-token", &PatchParams::default(), &Patch::Merge(no_label)).await?;
    eventually("the link's Secret has its label again", async || {
        let secret = links.secrets.get("c2-token").await?;
        ensure!(secret.labels().contains_key(IMPORT_NAME), "the label is missing");
        Ok(())
    })
    .await;

    links.secrets.delete("c2-token", &Default::default()).await?;
    eventually("the link's import reports that the link is missing", async || {
        links.condition("c2", "Refreshed", "False", Some("ClusterNotLinked")).await
    })
    .await;
    // Once another import reports the same, the importer has had time to recreate the link, and must not have.
    let imports = linked.create_namespace("unlinked").await?;
    imports.create(&pod_lister_import("a", "c2", "unlinked")).await?;
    eventually("an import reports that the link is missing", async || {
        imports.condition("a", "Ready", "False", Some("ClusterNotLinked")).await
    })
    .await;
    ensure!(links.secrets.get_opt("c2-token").await?.is_none(), "the importer recreated the link");

    bootstrap(&linked.kubeconfig, &linked.target, &linked.source)?;
    eventually("the link's import is ready again", async || {
        links.condition("c2", "Refreshed", "True", None).await
    })
    .await;
    let after = links.values("c2-token").await?;
    ensure!(before["token"] != after["token"] && before["server"] == after["server"]);
    // The new link works.
    create_pod_lister(&linked.source, "unlinked").await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    Ok(())
}

/// The importer takes over the link's Secret as soon as bootstrap has written it.
#[tokio::test(flavor = "multi_thread")]
async fn importer_keeps_the_server_that_bootstrap_wrote() -> anyhow::Result<()> {
    let linked = Linked::start().await?;
    let links = Imports::of(linked.target.client(), SYSTEM_NAMESPACE);
    let api_server = SocketAddr::from((Ipv4Addr::LOCALHOST, linked.source.port()));
    let proxies = [Proxy::start(api_server).await?, Proxy::start(api_server).await?];
    for proxy in proxies.iter().cycle().take(10) {
        let (target, source) = (linked.target.name(), linked.source.name());
        let args = ["bootstrap", "--target-context", target, "--source-context", source];
        let server = proxy.url();
        kubemcsa_ok(&linked.kubeconfig, args.into_iter().chain(["--source-server", &server]))?;
        eventually("the importer has taken over", async || {
            let secret = links.secrets.get("c2-token").await?;
            ensure!(secret.annotations().contains_key(REFRESH_TIME), "the refresh time is missing");
            Ok(())
        })
        .await;
        let now = &links.values("c2-token").await?["server"];
        ensure!(*now == server, "bootstrap wrote {server}, and the link has {now}");
    }
    Ok(())
}

/// The completed requests of a service account, with their objects.
fn requests(cluster: &Cluster, caller: &str) -> anyhow::Result<Vec<(AuditEvent, AuditObject)>> {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{caller}");
    let events = cluster.audit_events()?.into_iter().filter(|event| event.user.username == user);
    Ok(events.map(|event| (event.clone(), event.object_ref.unwrap_or_default())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_reads_only_link_secrets_and_deletion_needs_no_source() -> anyhow::Result<()> {
    let linked = Linked::start().await?;
    let (target, source) = (&linked.target, &linked.source);
    let imports = linked.create_namespace("consumers").await?;
    for name in ["quiet", "edited", "lost"] {
        create_pod_lister(source, name).await?;
        imports.create(&pod_lister_import(name, "c2", name)).await?;
        eventually(format!("import {name} is ready"), async || imports.ready(name).await).await;
    }
    let token = async |import: &str| {
        let mut values = imports.values(&format!("{import}-token")).await?;
        values.remove("token").context("the Secret has no token")
    };
    let (edited, lost) = (token("edited").await?, token("lost").await?);
    let edit = json!({ "stringData": { "token": "edited" } });
    imports.secrets.patch("edited-token", &PatchParams::default(), &Patch::Merge(edit)).await?;
    imports.secrets.delete("lost-token", &Default::default()).await?;
    for (import, before) in [("edited", edited), ("lost", lost)] {
        eventually(format!("import {import} has another token"), async || {
            let token = token(import).await?;
            ensure!(token != before && token != "edited", "the token has not changed");
            Ok(())
        })
        .await;
    }

    // In the source: one request for each token, only for imported service accounts.
    let in_source = requests(source, "c1")?;
    let secrets: Vec<_> = in_source.iter().filter(|(_, object)| object.resource == "secrets").collect();
    ensure!(secrets.is_empty(), "the importer requested Secrets of the source: {secrets:#?}");
    let mut minted = BTreeMap::new();
    for (event, object) in in_source.iter().filter(|(_, object)| object.subresource == "token") {
        ensure!(event.verb == "create", "{event:?}");
        if object.namespace != SYSTEM_NAMESPACE {
            *minted.entry((object.namespace.as_str(), object.name.as_str())).or_insert(0) += 1;
        }
    }
    let expected = [("quiet", 1), ("edited", 2), ("lost", 2)];
    ensure!(
        minted == expected.map(|(namespace, count)| ((namespace, "pod-lister"), count)).into(),
        "the minted tokens are {minted:?}"
    );

    // In the target: Secrets of imports are listed (as metadata, which the audit log doesn't show), created and
    // patched. Only the metadata of the deleted one is fetched: it might have lost its label. Other Secrets are not
    // accessed.
    let in_target = requests(target, "importer")?;
    let mut counts = BTreeMap::new();
    for (event, object) in in_target.iter().filter(|(_, object)| object.resource == "secrets") {
        let selects = |selector: &str| event.request_uri.replace("%2F", "/").contains(selector);
        let allowed = match (event.verb.as_str(), object.namespace.as_str()) {
            ("list" | "watch", "") => selects(IMPORT_NAME),
            ("list" | "watch", SYSTEM_NAMESPACE) => selects(LINK_LABEL),
            ("create" | "patch", "consumers") => true,
            ("get", "consumers") => object.name == "lost-token",
            ("patch", SYSTEM_NAMESPACE) => object.name == "c2-token",
            _ => false,
        };
        ensure!(allowed, "a request that is not allowed: {event:#?}");
        *counts.entry((event.verb.as_str(), object.namespace.as_str())).or_insert(0) += 1;
    }
    ensure!(counts.contains_key(&("list", "")) && counts[&("create", "consumers")] == 4, "{counts:?}");
    ensure!(counts[&("patch", "consumers")] == 1, "{counts:?}");

    // Imports can be deleted while the source is down.
    source.stop_api_server();
    target.kubectl(["-n", "consumers", "delete", "serviceaccountimport", "quiet"]).await?;
    eventually("the import's Secret is gone", async || {
        let left = imports.secrets.get_opt("quiet-token").await?;
        ensure!(left.is_none(), "the Secret still exists");
        Ok(())
    })
    .await;
    target.kubectl(["delete", "namespace", "consumers", "--wait=false"]).await?;
    eventually("the namespace is deleted with its contents", async || {
        let left =
            target.kubectl(["get", "namespace", "consumers", "--ignore-not-found", "-o", "yaml"]).await?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
    .await;
    linked.daemons.importer.check()
}
