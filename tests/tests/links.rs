//! Links, and what the importer does with them: each test harms its clusters, or counts their calls.

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

/// Two linked clusters of a test's own, and what serves the target.
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
        // Else its garbage collector learns of imports after half a minute.
        target.restart_controller_manager()?;
        let daemons = Daemons::start(&target, target.dir(), "debug").await?;
        Ok(Self { daemons, target, source, kubeconfig })
    }

    /// Those of a new namespace of the target.
    async fn imports(&self, namespace: &str) -> anyhow::Result<Imports> {
        self.target.kubectl(["create", "namespace", namespace]).await?;
        Ok(Imports::of(self.target.client(), namespace))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_lost_stays_so_until_bootstrap() -> anyhow::Result<()> {
    let linked = Linked::start().await?;
    let links = Imports::of(linked.target.client(), SYSTEM_NAMESPACE);
    // Bootstrap minted the first token; the importer takes over at once.
    let link = eventually("the link's import is ready", async || links.ready("c2").await).await;
    ensure!(link.status.context("status")?.refresh_time.is_some(), "not taken over");
    let before = links.values("c2-token").await?;

    // What goes out of the sight of one watch is there, as the other one tells.
    let no_label = json!({ "metadata": { "labels": { IMPORT_NAME: null } } });
    links.secrets.patch("c2-token", &PatchParams::default(), &Patch::Merge(no_label)).await?;
    eventually("the link's Secret has its label again", async || {
        let secret = links.secrets.get("c2-token").await?;
        ensure!(secret.labels().contains_key(IMPORT_NAME), "it has not");
        Ok(())
    })
    .await;

    links.secrets.delete("c2-token", &Default::default()).await?;
    eventually("the link's import says that there is no link", async || {
        links.condition("c2", "Refreshed", "False", Some("ClusterNotLinked")).await
    })
    .await;
    // By the time that another import is told the same, the importer has had its chance.
    let imports = linked.imports("unlinked").await?;
    imports.create(&pod_lister_import("a", "c2", "unlinked")).await?;
    eventually("an import says that there is no link", async || {
        imports.condition("a", "Ready", "False", Some("ClusterNotLinked")).await
    })
    .await;
    ensure!(links.secrets.get_opt("c2-token").await?.is_none(), "the link has made itself anew");

    bootstrap(&linked.kubeconfig, &linked.target, &linked.source)?;
    eventually("the link's import is ready again", async || {
        links.condition("c2", "Refreshed", "True", None).await
    })
    .await;
    let after = links.values("c2-token").await?;
    ensure!(before["token"] != after["token"] && before["server"] == after["server"]);
    // And it leads to the source.
    create_pod_lister(&linked.source, "unlinked").await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    Ok(())
}

/// Bootstrap writes the link's Secret, and so does the importer, which takes it over at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_bootstrap_says_stands() -> anyhow::Result<()> {
    let linked = Linked::start().await?;
    let links = Imports::of(linked.target.client(), SYSTEM_NAMESPACE);
    let api_server = SocketAddr::from((Ipv4Addr::LOCALHOST, linked.source.port()));
    let ways = [Proxy::start(api_server).await?, Proxy::start(api_server).await?];
    for way in ways.iter().cycle().take(10) {
        let (target, source) = (linked.target.name(), linked.source.name());
        let args = ["bootstrap", "--target-context", target, "--source-context", source];
        let server = way.url();
        kubemcsa_ok(&linked.kubeconfig, args.into_iter().chain(["--source-server", &server]))?;
        eventually("the importer has taken over", async || {
            let secret = links.secrets.get("c2-token").await?;
            ensure!(secret.annotations().contains_key(REFRESH_TIME), "it has not");
            Ok(())
        })
        .await;
        let now = &links.values("c2-token").await?["server"];
        ensure!(*now == server, "bootstrap said {server}, the link says {now}");
    }
    Ok(())
}

/// The answered requests of one caller, with what they were for.
fn requests(cluster: &Cluster, caller: &str) -> anyhow::Result<Vec<(AuditEvent, AuditObject)>> {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{caller}");
    let events = cluster.audit_events()?.into_iter().filter(|event| event.user.username == user);
    Ok(events.map(|event| (event.clone(), event.object_ref.unwrap_or_default())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_read_but_links_and_deleting_needs_no_source() -> anyhow::Result<()> {
    let linked = Linked::start().await?;
    let (target, source) = (&linked.target, &linked.source);
    let imports = linked.imports("consumers").await?;
    for name in ["quiet", "edited", "lost"] {
        create_pod_lister(source, name).await?;
        imports.create(&pod_lister_import(name, "c2", name)).await?;
        eventually(format!("import {name} is ready"), async || imports.ready(name).await).await;
    }
    let token = async |import: &str| {
        let mut values = imports.values(&format!("{import}-token")).await?;
        values.remove("token").context("no token")
    };
    let (edited, lost) = (token("edited").await?, token("lost").await?);
    let edit = json!({ "stringData": { "token": "edited" } });
    imports.secrets.patch("edited-token", &PatchParams::default(), &Patch::Merge(edit)).await?;
    imports.secrets.delete("lost-token", &Default::default()).await?;
    for (import, before) in [("edited", edited), ("lost", lost)] {
        eventually(format!("import {import} has another token"), async || {
            let token = token(import).await?;
            ensure!(token != before && token != "edited", "it has not");
            Ok(())
        })
        .await;
    }

    // In the source: one request for each token, of no more and no less than what was asked for.
    let asked = requests(source, "c1")?;
    let secrets: Vec<_> = asked.iter().filter(|(_, object)| object.resource == "secrets").collect();
    ensure!(secrets.is_empty(), "the link asks the source for Secrets: {secrets:#?}");
    let mut minted = BTreeMap::new();
    for (event, object) in asked.iter().filter(|(_, object)| object.subresource == "token") {
        ensure!(event.verb == "create", "{event:?}");
        if object.namespace != SYSTEM_NAMESPACE {
            *minted.entry((object.namespace.as_str(), object.name.as_str())).or_insert(0) += 1;
        }
    }
    let expected = [("quiet", 1), ("edited", 2), ("lost", 2)];
    ensure!(
        minted == expected.map(|(namespace, count)| ((namespace, "pod-lister"), count)).into(),
        "tokens were minted {minted:?}"
    );

    // In the target: what imports own is listed by metadata, which an audit log does not tell, created
    // and patched; nothing else is touched, and nothing looked at one by one.
    let asked = requests(target, "importer")?;
    let mut seen = BTreeMap::new();
    for (event, object) in asked.iter().filter(|(_, object)| object.resource == "secrets") {
        let is = |selector: &str| event.request_uri.replace("%2F", "/").contains(selector);
        let allowed = match (event.verb.as_str(), object.namespace.as_str()) {
            ("list" | "watch", "") => is(IMPORT_NAME),
            ("list" | "watch", SYSTEM_NAMESPACE) => is(LINK_LABEL),
            ("create" | "patch", "consumers") => true,
            ("patch", SYSTEM_NAMESPACE) => object.name == "c2-token",
            _ => false,
        };
        ensure!(allowed, "the importer asks for {event:#?}");
        *seen.entry((event.verb.as_str(), object.namespace.as_str())).or_insert(0) += 1;
    }
    ensure!(seen.contains_key(&("list", "")) && seen[&("create", "consumers")] == 4, "{seen:?}");
    ensure!(seen[&("patch", "consumers")] == 1, "{seen:?}");

    // Deleting, with the source away.
    source.stop_api_server();
    target.kubectl(["-n", "consumers", "delete", "serviceaccountimport", "quiet"]).await?;
    eventually("the import's Secret is gone", async || {
        let left = imports.secrets.get_opt("quiet-token").await?;
        ensure!(left.is_none(), "it is there");
        Ok(())
    })
    .await;
    target.kubectl(["delete", "namespace", "consumers", "--wait=false"]).await?;
    eventually("the namespace is gone, with all that is in it", async || {
        let left =
            target.kubectl(["get", "namespace", "consumers", "--ignore-not-found", "-o", "yaml"]).await?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
    .await;
    linked.daemons.importer.check()
}
