//! Leader election between importers.

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

/// Two linked clusters with audit logs.
struct Fixture {
    target: Cluster,
    source: Cluster,
}

impl Fixture {
    async fn start() -> anyhow::Result<Self> {
        let cluster = |name| Cluster::builder(name).audit_log().start();
        let (target, source) = tokio::try_join!(cluster("c1"), cluster("c2"))?;
        install_and_link(&target, &source)?;
        create_pod_lister(&source, "lister").await?;
        Ok(Self { target, source })
    }

    /// Starts an importer with its own service account, so that the audit log distinguishes importers, and waits until
    /// it is ready.
    async fn importer(&self, name: &str) -> anyhow::Result<Replica> {
        let replica = self.importer_with_roles(name, &["importer", "importer-policies"]).await?;
        eventually(format!("{name} is ready"), async || ensure_logged(&replica.process, "ready")).await;
        Ok(replica)
    }

    /// Starts an importer that has only these cluster roles, and the right to acquire the Lease.
    async fn importer_with_roles(&self, name: &str, roles: &[&str]) -> anyhow::Result<Replica> {
        let account = format!("--serviceaccount={SYSTEM_NAMESPACE}:{name}");
        for role in roles {
            let (binding, role) = (format!("{name}-{role}"), format!("{SYSTEM_NAMESPACE}-{role}"));
            let create = ["create", "clusterrolebinding", &binding, "--clusterrole", &role, &account];
            self.target.kubectl(create).await?;
        }
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
            let spec = leases.get("importer").await?.spec.context("the lease has no spec")?;
            let holder = spec.holder_identity.unwrap_or_default();
            ensure!(holder.starts_with(&format!("{}_", replica.name)), "the holder is {holder:?}");
            anyhow::Ok(())
        })
        .await;
    }

    /// The completed requests to the target, in order.
    fn requests(&self) -> anyhow::Result<Vec<Request>> {
        let events =
            self.target.audit_events()?.into_iter().filter(|event| event.stage == "ResponseComplete");
        let caller =
            |event: &AuditEvent| event.user.username.rsplit(':').next().unwrap_or_default().to_owned();
        Ok(events
            .filter_map(|event| {
                let resource = event.object_ref.as_ref()?.resource.clone();
                let code = event.response_status.as_ref()?.code;
                Some(Request { code, caller: caller(&event), verb: event.verb.clone(), resource })
            })
            .collect())
    }
}

#[derive(Debug)]
struct Request {
    code: u16,
    caller: String,
    verb: String,
    resource: String,
}

impl Request {
    /// Whether the request changed something. A frozen process may still send buffered requests, which are refused.
    fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str()) && self.code < 300
    }
}

struct Replica {
    name: String,
    process: Process,
}

fn ensure_logged(process: &Process, text: &str) -> anyhow::Result<()> {
    process.check()?;
    ensure!(process.log().contains(text), "{} has not logged {text:?}", process.name());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_that_cannot_list_does_not_lead() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let blind = fixture.importer_with_roles("blind", &[]).await?;
    eventually("the importer can't list", async || ensure_logged(&blind.process, "watch interrupted")).await;
    // All imports would seem to be permitted to one that only lacks the right on policies.
    let unaware = fixture.importer_with_roles("unaware", &["importer"]).await?;
    let missing = "the importer lacks a right, run kubemcsa install again";
    eventually("the missing right is logged", async || ensure_logged(&unaware.process, missing)).await;
    let able = fixture.importer("able").await?;
    fixture.wait_for_leader(&able).await;
    for replica in [&blind, &unaware] {
        ensure!(!replica.process.log().contains("holds the lease"), "{}", replica.process.log());
        let error = replica.process.get("/readyz").await.err().context("it reports that it is ready")?;
        ensure!(error.to_string().contains("503") || error.to_string().contains("not listed"), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_writes_even_after_it_was_frozen() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let imports = Imports::of(fixture.target.client(), "default");
    let first = fixture.importer("first").await?;
    fixture.wait_for_leader(&first).await;
    let second = fixture.importer("second").await?;
    // Both are ready, and one leads.
    for (replica, leads) in [(&first, "1"), (&second, "0")] {
        let ready = eventually("the replica is ready", async || replica.process.get("/readyz").await).await;
        ensure!(replica.process.get("/healthz").await? == "ok\n" && ready == "ok\n");
        let metrics = replica.process.get("/metrics").await?;
        ensure!(metrics.contains(&format!("mcsa_importer_leader {leads}\n")), "{metrics}");
    }
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;

    // The leader is suspended while it has work, for longer than the lease.
    let names: Vec<_> = (0..60).map(|i| format!("load-{i}")).collect();
    for name in &names {
        imports.create(&pod_lister_import(name, "c2", "lister")).await?;
    }
    first.process.suspend()?;
    fixture.wait_for_leader(&second).await;
    for name in &names {
        eventually(format!("{name} is ready"), async || imports.ready(name).await).await;
    }
    first.process.resume()?;
    eventually("the first no longer leads", async || ensure_logged(&first.process, "no longer leading"))
        .await;
    eventually("the first waits for the lease", async || {
        ensure_logged(&first.process, "waiting for the lease")
    })
    .await;
    imports.create(&pod_lister_import("b", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("b").await).await;

    let requests = fixture.requests()?;
    let acquired =
        requests.iter().position(|it| it.caller == "second" && it.resource == "leases" && it.is_write());
    let (before, after) = requests.split_at(acquired.context("the second has not written the lease")?);
    let written = |requests: &[Request], caller: &str| {
        let writes =
            requests.iter().filter(|it| it.caller == caller && it.resource != "leases" && it.is_write());
        writes.map(|it| format!("{it:?}")).collect::<Vec<_>>()
    };
    ensure!(
        !written(before, "first").is_empty() && !written(after, "second").is_empty(),
        "a leader wrote nothing"
    );
    ensure!(written(before, "second").is_empty(), "the second wrote: {:?}", written(before, "second"));
    ensure!(written(after, "first").is_empty(), "the first wrote: {:?}", written(after, "first"));
    // Only tokens that the first had not written yet were minted again.
    let minted = tokens_minted_in(&fixture.source, "lister")?;
    ensure!((62..=70).contains(&minted), "{minted} tokens for 62 imports");

    // On SIGTERM, the second releases the lease, and the first leads again.
    let status = second.process.terminate().await?;
    ensure!(
        status.success() && second.process.log().contains("released the lease"),
        "{}",
        second.process.log_tail(5)
    );
    fixture.wait_for_leader(&first).await;
    imports.create(&pod_lister_import("c", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("c").await).await;

    // Each line is JSON. Each line about an import names the import and a reason.
    let mut absent = pod_lister_import("absent", "c2", "lister");
    absent.spec.name = "nobody".into();
    imports.create(&absent).await?;
    eventually("the failure is logged", async || ensure_logged(&first.process, "ServiceAccountNotFound"))
        .await;
    for line in first.process.log().lines().chain(second.process.log().lines()) {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let has = |field: &str| line[field].is_string();
        let is_complete = ["cluster", "namespace", "reason"].into_iter().all(has);
        ensure!(!has("import") || is_complete, "{line}");
    }
    Ok(())
}
