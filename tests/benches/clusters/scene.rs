//! Real clusters that come, hang, and go.

use std::path::PathBuf;

use anyhow::Context;
use futures::try_join;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Config, CustomResourceExt, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::clusters::{Clusters, Imports};
use mcsa_client::config::Contexts;
use mcsa_client::live::LiveConfig;
use mcsa_tests::{Cluster, Proxy, eventually, kubeconfig_at, merged_kubeconfig};
use serde_json::json;

/// The member that is reached through a network that fails.
pub const HANGING: &str = "hanging";

/// A cluster where imports are, and one that is a member by several names.
pub struct Scene {
    /// `c1`, where imports are.
    pub home: Cluster,
    /// `c2`, whose objects are watched.
    pub away: Cluster,
    /// Before `c2`, as `hanging` reaches it.
    pub proxy: Proxy,
    /// All members.
    pub clusters: Clusters,
    kubeconfig: PathBuf,
}

impl Scene {
    /// Starts it. Members are `hanging`, and those who join by the kubeconfig or by imports.
    pub async fn start() -> anyhow::Result<Self> {
        let (home, away) = try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        let crd = home.dir().join("crd.json");
        std::fs::write(&crd, serde_json::to_vec(&ServiceAccountImport::crd())?)?;
        home.kubectl(["apply".into(), "--server-side".into(), "-f".into(), crd.into_os_string()]).await?;
        let proxy = Proxy::start(([127, 0, 0, 1], away.port()).into()).await?;
        let mut config = Config::try_from(kubeconfig_at(away.kubeconfig_value(), &proxy.url()))?;
        config.proxy_url = None;
        let kubeconfig = home.dir().join("members");
        merged_kubeconfig(&[&home], &kubeconfig)?;
        let clusters = Clusters::builder()
            .member(HANGING, LiveConfig::fixed(config)?)
            .all_contexts(Contexts::at(&kubeconfig))
            .imports(Imports::of(&home.client(), "default"))
            .start()?;
        let scene = Self { home, away, proxy, clusters, kubeconfig };
        // Kubernetes takes a moment to serve a new kind.
        eventually("imports to be served", async || scene.imports().list(&Default::default()).await).await;
        scene.change("0").await?;
        Ok(scene)
    }

    /// Changes the config map that is watched, and gives its version.
    pub async fn change(&self, to: &str) -> anyhow::Result<String> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "watched" }, "data": { "key": to },
        });
        let params = PatchParams::apply("bench").force();
        let map = self.config_maps().patch("watched", &params, &Patch::Apply(map)).await?;
        map.resource_version().context("it has no version")
    }

    /// Those of `c2`, at its own address.
    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.away.client())
    }

    /// Those of `c2`, by the way that hangs.
    pub fn hanging_config_maps(&self) -> anyhow::Result<Api<ConfigMap>> {
        let kubeconfig = kubeconfig_at(self.away.kubeconfig_value(), &self.proxy.url());
        Ok(Api::default_namespaced(mcsa_tests::client(kubeconfig)?))
    }

    /// Imports in `c1`.
    pub fn imports(&self) -> Api<ServiceAccountImport> {
        Api::default_namespaced(self.home.client())
    }

    /// Has the kubeconfig name `c2`, or not.
    pub fn list(&self, is_listed: bool) -> anyhow::Result<()> {
        let all = [&self.home, &self.away];
        merged_kubeconfig(if is_listed { &all } else { &all[..1] }, &self.kubeconfig)
    }
}
