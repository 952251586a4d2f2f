//! Several importers, of which one works.

use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{
    AuditEvent, Cluster, Imports, Process, create_pod_lister, eventually, install_and_link,
    pod_lister_import, program, tokens_minted_in,
};
use serde_json::Value;

/// Two clusters that count their calls, and a way for several importers to be told apart.
struct Scene {
    target: Cluster,
    source: Cluster,
}

impl Scene {
    async fn start() -> anyhow::Result<Self> {
        let cluster = |name| Cluster::builder(name).audit_log().start();
        let (target, source) = tokio::try_join!(cluster("c1"), cluster("c2"))?;
        install_and_link(&target, &source)?;
        create_pod_lister(&source, "lister").await?;
        Ok(Self { target, source })
    }

    /// An importer with an identity of its own, which the audit log knows it by, ready to work.
    async fn importer(&self, name: &str) -> anyhow::Result<Replica> {
        let account = format!("--serviceaccount={SYSTEM_NAMESPACE}:{name}");
        let role = "--clusterrole=multicluster-service-account-importer";
        self.target.kubectl(["create", "clusterrolebinding", name, role, &account]).await?;
        let replica = self.candidate(name).await?;
        eventually(format!("{name} is ready"), async || said(&replica.process, "ready")).await;
        Ok(replica)
    }

    /// One that may take the lease, and nothing else.
    async fn candidate(&self, name: &str) -> anyhow::Result<Replica> {
        let account = format!("--serviceaccount={SYSTEM_NAMESPACE}:{name}");
        let create = ["-n", SYSTEM_NAMESPACE, "create"];
        self.target.kubectl([&create[..], &["serviceaccount", name]].concat()).await?;
        self.target
            .kubectl([&create[..], &["rolebinding", name, "--role=importer", &account]].concat())
            .await?;
        let kubeconfig = self.target.kubeconfig_of(SYSTEM_NAMESPACE, name).await?;
        let mut command = Command::new(program("mcsa-importer")?);
        command.arg("--kubeconfig").arg(kubeconfig).env("HOSTNAME", name);
        command.args(["--lease-duration", "3", "--probe-address", "127.0.0.1:0", "--log-format", "json"]);
        let process = Process::spawn(name, &command, self.target.dir().join(format!("{name}.log")))?;
        Ok(Replica { name: name.into(), process })
    }

    async fn wait_for_leader(&self, replica: &Replica) {
        let leases = Api::<Lease>::namespaced(self.target.client(), SYSTEM_NAMESPACE);
        eventually(format!("{} leads", replica.name), async || {
            let spec = leases.get("importer").await?.spec.context("spec")?;
            let holder = spec.holder_identity.unwrap_or_default();
            ensure!(holder.starts_with(&format!("{}_", replica.name)), "{holder:?} does");
            anyhow::Ok(())
        })
        .await;
    }

    /// What was asked by each caller, but for leases, in the order of the answers.
    fn asked(&self) -> anyhow::Result<Vec<Asked>> {
        let events =
            self.target.audit_events()?.into_iter().filter(|event| event.stage == "ResponseComplete");
        let caller =
            |event: &AuditEvent| event.user.username.rsplit(':').next().unwrap_or_default().to_owned();
        Ok(events
            .filter_map(|event| {
                let resource = event.object_ref.as_ref()?.resource.clone();
                let code = event.response_status.as_ref()?.code;
                Some(Asked { code, caller: caller(&event), verb: event.verb.clone(), resource })
            })
            .collect())
    }
}

#[derive(Debug)]
struct Asked {
    code: u16,
    caller: String,
    verb: String,
    resource: String,
}

impl Asked {
    /// Whether it has changed anything. What was already with a connection of the frozen process may
    /// still be sent; it comes too late, and is refused.
    fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str()) && self.code < 300
    }
}

struct Replica {
    name: String,
    process: Process,
}

fn said(process: &Process, what: &str) -> anyhow::Result<()> {
    process.check()?;
    ensure!(process.log().contains(what), "{} has not said {what:?}", process.name());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_list_does_not_lead() -> anyhow::Result<()> {
    let scene = Scene::start().await?;
    let blind = scene.candidate("blind").await?;
    eventually("it finds out that it can't", async || said(&blind.process, "watch interrupted")).await;
    let able = scene.importer("able").await?;
    scene.wait_for_leader(&able).await;
    ensure!(!blind.process.log().contains("holds the lease"), "{}", blind.process.log());
    let error = blind.process.get("/readyz").await.err().context("it calls itself ready")?;
    ensure!(error.to_string().contains("503") || error.to_string().contains("not listed"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_works_and_one_that_was_frozen_works_no_more() -> anyhow::Result<()> {
    let scene = Scene::start().await?;
    let imports = Imports::of(scene.target.client(), "default");
    let first = scene.importer("first").await?;
    scene.wait_for_leader(&first).await;
    let second = scene.importer("second").await?;
    // Both are well; one works.
    for (replica, leads) in [(&first, "1"), (&second, "0")] {
        let ready = eventually("it is ready", async || replica.process.get("/readyz").await).await;
        ensure!(replica.process.get("/healthz").await? == "ok\n" && ready == "ok\n");
        let metrics = replica.process.get("/metrics").await?;
        ensure!(metrics.contains(&format!("mcsa_importer_leader {leads}\n")), "{metrics}");
    }
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;

    // Frozen at work, and for longer than the lease lasts.
    let names: Vec<_> = (0..60).map(|i| format!("load-{i}")).collect();
    for name in &names {
        imports.create(&pod_lister_import(name, "c2", "lister")).await?;
    }
    first.process.suspend()?;
    scene.wait_for_leader(&second).await;
    for name in &names {
        eventually(format!("{name} is ready"), async || imports.ready(name).await).await;
    }
    first.process.resume()?;
    eventually("the first knows that it does not lead", async || said(&first.process, "no longer leading"))
        .await;
    eventually("the first stands by", async || said(&first.process, "waiting for the lease")).await;
    imports.create(&pod_lister_import("b", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("b").await).await;

    let asked = scene.asked()?;
    let taken = asked.iter().position(|it| it.caller == "second" && it.resource == "leases" && it.is_write());
    let (before, after) = asked.split_at(taken.context("the second has written no lease")?);
    let written = |asked: &[Asked], caller: &str| {
        let writes =
            asked.iter().filter(|it| it.caller == caller && it.resource != "leases" && it.is_write());
        writes.map(|it| format!("{it:?}")).collect::<Vec<_>>()
    };
    ensure!(
        !written(before, "first").is_empty() && !written(after, "second").is_empty(),
        "they did not work"
    );
    ensure!(written(before, "second").is_empty(), "the second wrote: {:?}", written(before, "second"));
    ensure!(written(after, "first").is_empty(), "the first wrote: {:?}", written(after, "first"));
    // What the first had under way was minted again, and nothing else.
    let minted = tokens_minted_in(&scene.source, "lister")?;
    ensure!((62..=70).contains(&minted), "{minted} tokens for 62 imports");

    // Told to stop, the second gives the lease back, and the first works again.
    let status = second.process.terminate().await?;
    ensure!(
        status.success() && second.process.log().contains("released the lease"),
        "{}",
        second.process.log_tail(5)
    );
    scene.wait_for_leader(&first).await;
    imports.create(&pod_lister_import("c", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("c").await).await;

    // Each line is for machines, and each about an import says which, and why.
    let mut absent = pod_lister_import("absent", "c2", "lister");
    absent.spec.name = "nobody".into();
    imports.create(&absent).await?;
    eventually("the failure is logged", async || said(&first.process, "ServiceAccountNotFound")).await;
    for line in first.process.log().lines().chain(second.process.log().lines()) {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let says = |field: &str| line[field].is_string();
        let is_whole = ["cluster", "namespace", "reason"].into_iter().all(says);
        ensure!(!says("import") || is_whole, "{line}");
    }
    Ok(())
}
