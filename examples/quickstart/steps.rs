//! The steps of the quickstart: what a user would do with kubectl and kubemcsa.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use mcsa_client::ServiceAccountImport;
use mcsa_client::config::MOUNT_ROOT_ENV;
use mcsa_tests::{Cluster, Daemons, Imports, mount, write_merged_kubeconfig};

/// The import that is declared.
pub const IMPORT: &str = include_str!("../import.yaml");

/// The pod that names it.
pub const POD: &str = include_str!("../pod.yaml");

/// Where import and pod live in c1.
const NAMESPACE: &str = "demo";

/// How long an import may take to be ready before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two clusters and a folder.
pub struct Demo {
    /// The target.
    pub c1: Cluster,
    /// The source.
    pub c2: Cluster,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

/// What stays with `--keep`.
pub struct Kept {
    /// With the contexts c1 and c2.
    pub kubeconfig: PathBuf,
    /// The kubeconfig that a pod would see.
    pub mounted_config: PathBuf,
    /// Ends all of it.
    pub stop_command: String,
}

impl Demo {
    /// Starts the clusters.
    pub async fn start() -> anyhow::Result<Self> {
        let (c1, c2) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        let folder = c1.dir().join("quickstart");
        std::fs::create_dir_all(&folder)?;
        let kubeconfig = folder.join("kubeconfig");
        write_merged_kubeconfig(&[&c1, &c2], &kubeconfig)?;
        Ok(Self { c1, c2, folder, kubeconfig })
    }

    /// Runs the real command line; returns what it said.
    pub fn kubemcsa(&self, args: &[&str]) -> anyhow::Result<String> {
        let program = mcsa_tests::program("kubemcsa")?;
        let output = Command::new(program).env("KUBECONFIG", &self.kubeconfig).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "kubemcsa {} failed:\n{said}", args.join(" "));
        Ok(said)
    }

    /// Starts the programs that would be pods of c1, and waits until they serve.
    pub async fn start_importer_and_webhook(&self) -> anyhow::Result<Daemons> {
        Daemons::start(&self.c1, &self.folder, "info").await
    }

    /// In c2: the service account with its rights, and something to list.
    pub async fn make_pod_lister(&self) -> anyhow::Result<()> {
        for args in [
            &["create", "serviceaccount", "pod-lister"][..],
            &["create", "role", "pod-lister", "--verb=list", "--resource=pods"],
            &[
                "create",
                "rolebinding",
                "pod-lister",
                "--role=pod-lister",
                "--serviceaccount=default:pod-lister",
            ],
            &["run", "nginx", "--image=nginx"],
            &["run", "redis", "--image=redis"],
        ] {
            self.c2.kubectl(args).await?;
        }
        Ok(())
    }

    /// In c1: the namespace and the import; returns how long it took to be ready.
    pub async fn declare_import(&self) -> anyhow::Result<Duration> {
        self.c1.kubectl(["create", "namespace", NAMESPACE]).await?;
        self.c1.kubectl(["label", "namespace", NAMESPACE, "multicluster-service-account=enabled"]).await?;
        let import: ServiceAccountImport = serde_saphyr::from_str(IMPORT)?;
        let api = Api::<ServiceAccountImport>::namespaced(self.c1.client(), NAMESPACE);
        // A rehearsal before the clock runs: the first create of a kind in a new namespace takes some
        // API servers two seconds, and no controller connects anew for each object.
        api.create(&PostParams { dry_run: true, ..Default::default() }, &import).await?;
        let declared = Instant::now();
        api.create(&PostParams::default(), &import).await?;
        let ready = await_condition(api, "c2-pod-lister", |import: Option<&ServiceAccountImport>| {
            let ready = import.and_then(|import| import.condition("Ready"));
            ready.is_some_and(|ready| ready.status == "True")
        });
        tokio::time::timeout(PATIENCE, ready)
            .await
            .context("the import is not ready; see the importer's log")??;
        Ok(declared.elapsed())
    }

    /// In c1: the annotated pod; returns what the API server made of it.
    pub async fn create_pod(&self) -> anyhow::Result<String> {
        let pod: Pod = serde_saphyr::from_str(POD)?;
        let pods = Api::<Pod>::namespaced(self.c1.client(), NAMESPACE);
        let pod = pods.create(&PostParams::default(), &pod).await?;
        let spec = pod.spec.context("a pod has a spec")?;
        let mut said = Vec::new();
        for volume in spec.volumes.iter().flatten() {
            if let Some(secret) = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_ref()) {
                said.push(format!("volume {} from Secret {secret}", volume.name));
            }
        }
        let mounts = |container: &Container| {
            let ours =
                container.volume_mounts.iter().flatten().find(|mount| mount.mount_path.contains("imports"));
            ours.map(|mount| format!("container {}: {} on {}", container.name, mount.name, mount.mount_path))
        };
        said.extend(spec.init_containers.iter().flatten().chain(&spec.containers).filter_map(mounts));
        Ok(said.join("\n"))
    }

    /// Puts the import's Secret where a kubelet would, and runs the newcomer's program there.
    pub async fn list_remote_pods(&self, program: &Path) -> anyhow::Result<String> {
        let imports = Imports::of(self.c1.client(), NAMESPACE);
        mount(&self.mount_root(), "c2-pod-lister", &imports.values("c2-pod-lister-token").await?)?;
        let output = Command::new(program).env(MOUNT_ROOT_ENV, self.mount_root()).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "list_remote_pods failed: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Leaves everything running.
    pub fn keep(self, daemons: Daemons) -> anyhow::Result<Kept> {
        let kubeconfig = self.kubeconfig.clone();
        let mounted_config = self.mount_root().join("c2-pod-lister/config");
        let stop_daemons = daemons.keep()?;
        let (c1, c2) = (self.c1.keep()?, self.c2.keep()?);
        let stop_command = format!("{stop_daemons}; {}; {}", c1.stop_command, c2.stop_command);
        Ok(Kept { kubeconfig, mounted_config, stop_command })
    }

    fn mount_root(&self) -> PathBuf {
        self.folder.join("serviceaccountimports")
    }
}
