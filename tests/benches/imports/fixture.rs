//! Linked clusters with service accounts, and thousands of imports.

use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::Context;
use futures::future::{try_join, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_credentials::link::Link;
use mcsa_tests::{Cluster, bootstrap, kubemcsa_ok, write_merged_kubeconfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::client;
use crate::plan::{self, Group, Plan};

/// Number of objects to create at the same time.
const CONCURRENCY: usize = 32;

pub struct Fixture {
    pub target: Cluster,
    pub sources: Vec<Cluster>,
    pub plan: Plan,
}

/// Credentials for the importer and the baseline loops.
pub struct Access {
    /// The kubeconfig of the importer's own service account in the target.
    pub importer: PathBuf,
    /// A client of the target for the baseline loops. It has the importer's rights, and the right to patch a status.
    pub target: Client,
    /// The links to the sources, in the order of `sources`.
    pub links: Vec<Link>,
}

impl Fixture {
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let names: Vec<_> = (0..plan.sources).map(Plan::source_name).collect();
        let sources = try_join_all(names.iter().map(|name| Cluster::start(name)));
        let (target, sources) = try_join(Cluster::start("c1"), sources).await?;
        Ok(Self { target, sources, plan })
    }

    /// Installs the manifests in the target, and links it to each source.
    pub fn link(&self) -> anyhow::Result<()> {
        let all: Vec<_> = std::iter::once(&self.target).chain(&self.sources).collect();
        let kubeconfig = self.target.dir().join("kubeconfig-of-all");
        write_merged_kubeconfig(&all, &kubeconfig)?;
        kubemcsa_ok(&kubeconfig, ["install", "--context", self.target.name(), "--no-wait"])?;
        for source in &self.sources {
            bootstrap(&kubeconfig, &self.target, source)?;
        }
        // Otherwise its garbage collector would discover the new kind during a measurement.
        self.target.restart_controller_manager()
    }

    /// Creates all namespaces and service accounts.
    pub async fn create_accounts(&self) -> anyhow::Result<()> {
        let groups = [Group::Served, Group::Baseline, Group::Trickle, Group::Large];
        let namespaces = groups.into_iter().flat_map(Group::namespaces).map(plan::namespace);
        create_namespaces(&self.target.client(), namespaces).await?;
        for source in &self.sources {
            let client = source.client();
            create_namespaces(&client, Plan::account_namespaces().map(plan::namespace)).await?;
            create(&client, self.plan.accounts()).await.map(drop)?;
        }
        Ok(())
    }

    pub async fn create_imports(
        &self,
        imports: impl IntoIterator<Item = ServiceAccountImport>,
    ) -> anyhow::Result<Vec<ServiceAccountImport>> {
        create(&self.target.client(), imports).await
    }

    /// Changes the lifetime of the links' tokens, so that an importer refreshes them at once.
    pub async fn make_links_due(&self) -> anyhow::Result<()> {
        let links = Api::<ServiceAccountImport>::namespaced(self.target.client(), SYSTEM_NAMESPACE);
        for link in links.list(&ListParams::default()).await? {
            let shorter = json!({ "spec": { "expirationSeconds": link.spec.expiration_seconds - 60 } });
            links.patch(&link.name_any(), &PatchParams::default(), &Patch::Merge(shorter)).await?;
        }
        Ok(())
    }

    /// Deletes the imports of a group and their Secrets, so that the garbage collector doesn't affect the figures.
    pub async fn delete(&self, group: Group) -> anyhow::Result<()> {
        let client = self.target.client();
        let secrets = ListParams::default().labels(IMPORT_NAME);
        for namespace in group.namespaces() {
            let imports = Api::<ServiceAccountImport>::namespaced(client.clone(), &namespace);
            imports.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
            let of_namespace = Api::<Secret>::namespaced(client.clone(), &namespace);
            of_namespace.delete_collection(&DeleteParams::default(), &secrets).await?;
        }
        Ok(())
    }

    /// Creates the credentials for the linked clusters.
    pub async fn access(&self) -> anyhow::Result<Access> {
        let account = format!("{SYSTEM_NAMESPACE}:baseline");
        let status = "--resource=serviceaccountimports.multicluster.admiralty.io/status";
        let importer = "--clusterrole=multicluster-service-account-importer";
        for args in [
            &["create", "serviceaccount", "baseline", "--namespace", SYSTEM_NAMESPACE][..],
            &["create", "clusterrole", "baseline", "--verb=patch", status],
            &[
                "create",
                "clusterrolebinding",
                "baseline",
                "--clusterrole=baseline",
                "--serviceaccount",
                &account,
            ],
            &["create", "clusterrolebinding", "baseline-importer", importer, "--serviceaccount", &account],
        ] {
            self.target.kubectl(args).await?;
        }
        let kubeconfig = self.target.kubeconfig_of(SYSTEM_NAMESPACE, "baseline").await?;
        Ok(Access {
            importer: self.target.kubeconfig_of(SYSTEM_NAMESPACE, "importer").await?,
            target: client::of(&kubeconfig).await?,
            links: self.links().await?,
        })
    }

    async fn links(&self) -> anyhow::Result<Vec<Link>> {
        let secrets = Api::<Secret>::namespaced(self.target.client(), SYSTEM_NAMESPACE);
        let secrets = secrets.list(&ListParams::default().labels(LINK_LABEL)).await?;
        let links: Vec<_> = secrets.iter().map(Link::read).collect::<Result<_, _>>()?;
        let of = |source: &Cluster| links.iter().find(|link| link.cluster_name == source.name()).cloned();
        let links = self.sources.iter().map(|source| of(source).context("a source has no link"));
        links.collect()
    }
}

async fn create_namespaces(
    client: &Client,
    namespaces: impl IntoIterator<Item = Namespace>,
) -> anyhow::Result<()> {
    let api = &Api::<Namespace>::all(client.clone());
    let created = stream::iter(namespaces)
        .map(async |namespace| api.create(&PostParams::default(), &namespace).await.map(drop))
        .buffer_unordered(CONCURRENCY);
    Ok(created.try_collect().await?)
}

async fn create<K>(client: &Client, objects: impl IntoIterator<Item = K>) -> anyhow::Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    let created = stream::iter(objects)
        .map(async |object| {
            let api = Api::<K>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
            api.create(&PostParams::default(), &object).await
        })
        .buffer_unordered(CONCURRENCY);
    Ok(created.try_collect().await?)
}
