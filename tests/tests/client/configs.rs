//! Clients from all origins keep working while their configs change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, anyhow, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use mcsa_client::config::{self, Contexts, Mounts};
use mcsa_client::live::LiveConfig;
use mcsa_tests::{Cluster, Fault, Imports, Proxy, eventually, mount, pod_lister_import, shared_clusters};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::identity::{Identity, write_secret};

const IMPORT: &str = "c2-pod-lister";

/// All origins of configs that a test can write to.
struct Origins {
    folder: PathBuf,
    home: Cluster,
}

impl Origins {
    async fn new(home: Cluster, folder: &Path) -> anyhow::Result<Self> {
        let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crd.yaml");
        home.kubectl(["apply", "-f", crd]).await?;
        home.kubectl(["wait", "--for=condition=Established", "-f", crd]).await?;
        home.kubectl(["create", "namespace", "home"]).await?;
        Imports::of(home.client(), "home").create(&pod_lister_import(IMPORT, "c2", "default")).await?;
        Ok(Self { folder: folder.into(), home })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn token_file(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// Writes a credential to all origins.
    async fn write(&self, values: &BTreeMap<String, String>) -> anyhow::Result<()> {
        mount(&self.folder.join("mounts"), IMPORT, values)?;
        // A rename replaces the file atomically.
        for (file, key) in [(self.kubeconfig(), "kubeconfig"), (self.token_file(), "token")] {
            let Some(value) = values.get(key) else { continue };
            let next = file.with_extension("next");
            std::fs::write(&next, value)?;
            std::fs::rename(next, file)?;
        }
        let name = format!("{IMPORT}-token");
        write_secret(&Api::namespaced(self.home.client(), "home"), &name, values, None).await
    }

    async fn configs(&self) -> anyhow::Result<Vec<(&'static str, LiveConfig)>> {
        let mut fixed = kube::Config::try_from(Kubeconfig::read_from(self.kubeconfig())?)?;
        fixed.auth_info.token = None;
        fixed.auth_info.token_file =
            Some(self.token_file().to_str().context("the path is not UTF-8")?.into());
        Ok(vec![
            ("the mount", Mounts::in_dir(self.folder.join("mounts")).import(IMPORT)?),
            ("the Secret", config::from_import(&self.home.client(), "home", IMPORT).await?),
            ("the context", Contexts::from_file(self.kubeconfig()).context(Some(IMPORT))?),
            ("the token file", LiveConfig::fixed(fixed)?),
        ])
    }
}

/// A task that keeps listing pods.
struct Lister {
    origin: &'static str,
    listed: Arc<AtomicUsize>,
    stop: watch::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Lister {
    fn start(origin: &'static str, config: &LiveConfig) -> Self {
        let pods = Api::<Pod>::default_namespaced(config.client());
        let (listed, (stop, stopped)) = (Arc::<AtomicUsize>::default(), watch::channel(()));
        let count = listed.clone();
        let task = tokio::spawn(async move {
            while stopped.has_changed().is_ok() {
                pods.list(&Default::default()).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { origin, listed, stop, task }
    }

    /// Waits for twenty more responses.
    async fn keeps_listing(&self) {
        let before = self.listed.load(Ordering::Relaxed);
        eventually(format!("the client from {} lists pods", self.origin), async || {
            ensure!(!self.task.is_finished(), "the task has ended");
            let more = self.listed.load(Ordering::Relaxed) - before;
            if more >= 20 { Ok(()) } else { Err(anyhow!("{more} more responses")) }
        })
        .await;
    }

    /// Stops the task. Fails if a request has failed.
    async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.task.await?.with_context(|| format!("the client from {}", self.origin))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_tokens_addresses_and_authorities_change() -> anyhow::Result<()> {
    let (home, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let folder = tempfile::tempdir()?;
    let identity = Identity::new(&source, "default-lister").await?;
    let proxy = async || Proxy::start(([127, 0, 0, 1], source.port()).into()).await;
    let (first_proxy, second_proxy, third_proxy) = (proxy().await?, proxy().await?, proxy().await?);
    let origins = Origins::new(home, folder.path()).await?;

    let first = identity.token(&source, "first").await?;
    let identity = identity.with_server(&first_proxy.url());
    origins.write(&identity.values(&first)?).await?;
    let listers: Vec<_> =
        origins.configs().await?.iter().map(|(what, config)| Lister::start(what, config)).collect();
    let keep_listing = async |step| {
        eprintln!("{step}");
        futures::future::join_all(listers.iter().map(Lister::keeps_listing)).await;
    };
    keep_listing("with the first token").await;

    let second = identity.token(&source, "second").await?;
    origins.write(&identity.values(&second)?).await?;
    identity.revoke(&source, "first", &first).await?;
    keep_listing("with another token").await;

    // An invalid config is ignored.
    let invalid = ["config", "kubeconfig", "server"].map(|key| (key.to_owned(), "nonsense".to_owned()));
    origins.write(&invalid.into()).await?;
    keep_listing("with an invalid config").await;

    // A fixed config never changes its address.
    let mut listers = listers;
    let fixed = listers.pop().context("there is no fixed config")?;
    fixed.stop().await?;
    let keep_listing = async |step| {
        eprintln!("{step}");
        futures::future::join_all(listers.iter().map(Lister::keeps_listing)).await;
    };
    let identity = identity.with_server(&second_proxy.url());
    origins.write(&identity.values(&second)?).await?;
    first_proxy.set(Fault::Refuse);
    keep_listing("at another address").await;

    let next = source.next_authority()?;
    let both = format!("{}{}", source.ca_pem(), next.ca_pem());
    origins.write(&identity.with_ca_bundle(&both).values(&second)?).await?;
    next.activate().await?;
    let identity = identity.with_server(&third_proxy.url()).with_ca_bundle(&next.ca_pem());
    origins.write(&identity.values(&second)?).await?;
    second_proxy.set(Fault::Refuse);
    keep_listing("with another authority").await;

    for lister in listers {
        lister.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn error_for_an_unusable_import_gives_the_reason() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crd.yaml");
    c1.kubectl(["apply", "--server-side", "-f", crd]).await?;
    c1.kubectl(["wait", "--for=condition=Established", "-f", crd]).await?;
    c1.kubectl(["create", "namespace", "why"]).await?;
    let imports = Imports::of(c1.client(), "why");
    let message = async |client: &Client, name: &str| match config::from_import(client, "why", name).await {
        Ok(config) => format!("{config:?}"),
        Err(error) => error.to_string(),
    };
    let error = message(&c1.client(), "absent").await;
    ensure!(error.contains("import why/absent") && error.contains("not found"), "{error}");

    imports.create(&pod_lister_import("waiting", "c2", "why")).await?;
    let condition = json!({
        "type": "Refreshed", "status": "False", "reason": "ClusterNotLinked", "message": "link it",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = json!({ "status": { "conditions": [condition] } });
    imports.api.patch_status("waiting", &PatchParams::default(), &Patch::Merge(status)).await?;
    let error = message(&c1.client(), "waiting").await;
    ensure!(error.contains("waiting-token") && error.contains("the importer reports: link it"), "{error}");

    let identity = Identity::new(c2, "why").await?;
    let token = identity.token(c2, "bound").await?;
    let mut invalid = identity.values(&token)?;
    invalid.insert("kubeconfig".into(), "users: nonsense".into());
    write_secret(&imports.secrets, "waiting-token", &invalid, None).await?;
    let error = message(&c1.client(), "waiting").await;
    ensure!(
        error.contains("Secret why/waiting-token: key kubeconfig: line 1, column 8: it is not a kubeconfig"),
        "{error}"
    );

    // If the Secret has its default name, the right to get that Secret is enough.
    write_secret(&imports.secrets, "waiting-token", &identity.values(&token)?, None).await?;
    for object in [
        &["serviceaccount", "reader"][..],
        &["role", "reads", "--verb=get", "--resource=secrets", "--resource-name=waiting-token"],
        &["rolebinding", "reads", "--role=reads", "--serviceaccount=why:reader"],
    ] {
        c1.kubectl(["-n", "why", "create"].iter().chain(object)).await?;
    }
    let reader = c1.client_of("why", "reader").await?;
    let remote = config::from_import(&reader, "why", "waiting").await?;
    Api::<Pod>::default_namespaced(remote.client()).list(&Default::default()).await?;
    ensure!(!format!("{remote:?}").contains("eyJ"), "the Debug output contains the token");
    Ok(())
}
