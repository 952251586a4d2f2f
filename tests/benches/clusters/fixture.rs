//! Real clusters that join, stop responding, and leave.

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
use mcsa_tests::{Cluster, Proxy, eventually, kubeconfig_with_server, write_merged_kubeconfig};
use serde_json::json;

/// The member behind the proxy.
pub const HANGING: &str = "hanging";

/// A target with imports, and a source that is a member under several names.
pub struct Fixture {
    /// `c1`, which has the imports.
    pub target: Cluster,
    /// `c2`, whose objects are reconciled.
    pub source: Cluster,
    /// The proxy between the member `hanging` and `c2`.
    pub proxy: Proxy,
    pub clusters: Clusters,
    kubeconfig: PathBuf,
}

impl Fixture {
    /// Starts the clusters. The members are `hanging`, the contexts of the kubeconfig, and the imports.
    pub async fn start() -> anyhow::Result<Self> {
        let (target, source) = try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        serve_imports(&target).await?;
        let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
        let mut config = Config::try_from(kubeconfig_with_server(source.kubeconfig_value(), &proxy.url()))?;
        config.proxy_url = None;
        let kubeconfig = target.dir().join("members");
        write_merged_kubeconfig(&[&target], &kubeconfig)?;
        let clusters = Clusters::builder()
            .member(HANGING, LiveConfig::fixed(config)?)
            .all_contexts(Contexts::from_file(&kubeconfig))
            .imports(Imports::in_namespace(&target.client(), "default"))
            .start()?;
        let fixture = Self { target, source, proxy, clusters, kubeconfig };
        fixture.change("0").await?;
        Ok(fixture)
    }

    /// Changes the watched ConfigMap, and returns its resource version.
    pub async fn change(&self, to: &str) -> anyhow::Result<String> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "watched" }, "data": { "key": to },
        });
        let params = PatchParams::apply("bench").force();
        let map = self.config_maps().patch("watched", &params, &Patch::Apply(map)).await?;
        map.resource_version().context("the ConfigMap has no resourceVersion")
    }

    /// The ConfigMaps of `c2`, at its own address.
    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.source.client())
    }

    /// The ConfigMaps of `c2`, through the proxy.
    pub fn hanging_config_maps(&self) -> anyhow::Result<Api<ConfigMap>> {
        let kubeconfig = kubeconfig_with_server(self.source.kubeconfig_value(), &self.proxy.url());
        Ok(Api::default_namespaced(mcsa_tests::client(kubeconfig)?))
    }

    /// The imports in `c1`.
    pub fn imports(&self) -> Api<ServiceAccountImport> {
        Api::default_namespaced(self.target.client())
    }

    /// Adds `c2` to the kubeconfig, or removes it.
    pub fn set_context_listed(&self, is_listed: bool) -> anyhow::Result<()> {
        let all = [&self.target, &self.source];
        write_merged_kubeconfig(if is_listed { &all } else { &all[..1] }, &self.kubeconfig)
    }
}

/// Creates the custom resource definition of imports, and waits until it is served.
pub async fn serve_imports(cluster: &Cluster) -> anyhow::Result<()> {
    let crd = cluster.dir().join("crd.json");
    std::fs::write(&crd, serde_json::to_vec(&ServiceAccountImport::crd())?)?;
    cluster.kubectl(["apply".into(), "--server-side".into(), "-f".into(), crd.into_os_string()]).await?;
    let imports = Api::<ServiceAccountImport>::default_namespaced(cluster.client());
    // The API server takes a moment to serve a new kind.
    eventually("imports to be served", async || imports.list(&Default::default()).await).await;
    Ok(())
}
