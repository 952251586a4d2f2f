//! A target for one test at a time, linked to the shared source.

use std::sync::Arc;

use futures::try_join;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
use serde_json::json;

use crate::cluster::Cluster;
use crate::fixtures::{create_pod_lister, kubemcsa_ok};
use crate::links::create_manual_link;
use crate::pool::Pool;
use crate::shared_source::{shared_source, unique};

static TARGETS: Pool<Cluster> = Pool::empty();

/// A target `c1` with an installation but no running importer, and a link `c2` to the [`shared_source`], created
/// without kubemcsa. Both clusters write audit logs.
#[derive(Debug)]
pub struct LinkedTarget {
    /// The target, for this test only.
    pub target: Cluster,
    /// The source, shared with other tests.
    pub source: Arc<Cluster>,
    /// A namespace for this test only, in both clusters. In the source, it has the service account `pod-lister`; in the
    /// target, it is for imports.
    pub namespace: String,
}

impl LinkedTarget {
    /// Takes a target that another test has released, or starts one.
    pub async fn acquire() -> anyhow::Result<Self> {
        let target = async {
            match TARGETS.acquire() {
                Some(target) => Ok(target),
                None => start_target().await,
            }
        };
        let (target, source) = try_join!(target, shared_source())?;
        create_manual_link(&target, &source).await?;
        let namespace = unique("test");
        create_pod_lister(&source, &namespace).await?;
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        Api::all(target.client()).create(&PostParams::default(), &object).await?;
        Ok(Self { target, source, namespace })
    }

    /// Deletes all imports and links, and makes the target available to other tests. Stop the importer first.
    ///
    /// A test that made other changes to its target must drop it instead. A failing test drops it, too.
    pub async fn release(self) -> anyhow::Result<()> {
        self.target.kubectl(["delete", "serviceaccountimports", "--all", "--all-namespaces"]).await?;
        let links = Api::<Secret>::namespaced(self.target.client(), SYSTEM_NAMESPACE);
        links.delete_collection(&DeleteParams::default(), &ListParams::default().labels(LINK_LABEL)).await?;
        TARGETS.release(self.target);
        Ok(())
    }
}

/// Starts a target, and installs without waiting for pods: no node runs them.
async fn start_target() -> anyhow::Result<Cluster> {
    let target = Cluster::builder("c1").audit_log().start().await?;
    kubemcsa_ok(target.kubeconfig(), ["install", "--no-wait"])?;
    Ok(target)
}
