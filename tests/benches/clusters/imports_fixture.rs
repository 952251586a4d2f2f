//! Imports of service accounts of many clusters, as the importer writes them.

use std::path::PathBuf;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream, try_join};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Config};
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::ServiceAccountImportSpec;
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_importer::{Metrics, Target};
use mcsa_tests::{Cluster, Proxy, kubeconfig_with_server, wait_for_default_service_account};
use prometheus_client::registry::Registry;

use crate::fixture::serve_imports;
use crate::one_import::{LoopKind, Source};

/// Number of imports to create at the same time.
const CONCURRENCY: usize = 16;

/// A cluster with imports, and the clusters of their service accounts.
pub struct ImportsFixture {
    /// `c1`, which has the imports and their Secrets. It logs its requests.
    pub home: Cluster,
    /// `c2`, the API server behind all proxies. It logs its requests.
    pub source: Cluster,
    /// Each is a cluster: a URL of its own, at which `c2` answers.
    pub proxies: Vec<Proxy>,
    /// The kubeconfig of a service account that may read the imports.
    pub reader: PathBuf,
}

impl ImportsFixture {
    pub async fn start(clusters: u32, imports: u32) -> anyhow::Result<Self> {
        let start = |name| Cluster::builder(name).audit_log().start();
        let (home, source) = try_join!(start("c1"), start("c2"))?;
        serve_imports(&home).await?;
        wait_for_default_service_account(&home, "default").await;
        let grant =
            "create clusterrolebinding bench --clusterrole=cluster-admin --serviceaccount=default:default";
        home.kubectl(grant.split(' ')).await?;
        let reader = home.kubeconfig_of("default", "default").await?;
        let address = ([127, 0, 0, 1], source.port()).into();
        let proxies = try_join_all((0..clusters).map(|_| Proxy::start(address))).await?;
        let fixture = Self { home, source, proxies, reader };
        fixture.create_accounts(imports.div_ceil(clusters)).await?;
        fixture.create_imports(clusters, imports).await?;
        Ok(fixture)
    }

    async fn create_accounts(&self, accounts: u32) -> anyhow::Result<()> {
        let api = Api::<ServiceAccount>::default_namespaced(self.source.client());
        for number in 0..accounts {
            let metadata = ObjectMeta { name: Some(account(number)), ..Default::default() };
            let account = ServiceAccount { metadata, ..Default::default() };
            api.create(&PostParams::default(), &account).await?;
        }
        Ok(())
    }

    async fn create_imports(&self, clusters: u32, imports: u32) -> anyhow::Result<()> {
        let links = self.proxies.iter().enumerate().map(|(number, proxy)| self.link(number, proxy));
        let links = links.collect::<anyhow::Result<Vec<_>>>()?;
        let sources = links.iter().map(Source::of).collect::<anyhow::Result<Vec<_>>>()?;
        let sources = sources.iter().cycle().zip(0..imports);
        let target = &Target::new(self.home.client(), Metrics::new(&mut Registry::default()));
        let api = &Api::<ServiceAccountImport>::default_namespaced(target.client.clone());
        let served = stream::iter(sources).map(async |(source, number)| {
            let spec = ServiceAccountImportSpec {
                cluster_name: source.name().to_owned(),
                namespace: "default".into(),
                name: account(number / clusters),
                expiration_seconds: 24 * 3600,
                ..Default::default()
            };
            let import = ServiceAccountImport::new(&format!("i{number}"), spec);
            let import = api.create(&PostParams::default(), &import).await?;
            source.serve(target, LoopKind::Lean, &import).await
        });
        served.buffer_unordered(CONCURRENCY).try_collect().await
    }

    fn link(&self, number: usize, proxy: &Proxy) -> anyhow::Result<Link> {
        let mut config =
            Config::try_from(kubeconfig_with_server(self.source.kubeconfig_value(), &proxy.url()))?;
        config.proxy_url = None;
        Ok(Link {
            cluster_name: format!("s{number}"),
            cluster_uid: Some(format!("00000000-0000-4000-8000-{number:012}")),
            endpoint: Endpoint {
                server: proxy.url(),
                ca_bundle: Some(self.source.ca_pem().to_owned()),
                tls_server_name: None,
                proxy_url: None,
            },
            config,
        })
    }
}

fn account(number: u32) -> String {
    format!("account-{number}")
}
