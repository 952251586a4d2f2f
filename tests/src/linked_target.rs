//! A target that one test has at a time, linked to the shared source.

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

/// A target `c1` with an installation but no running importer, and a link `c2` to the [`shared_source`], made by hand.
/// Both clusters record their requests.
#[derive(Debug)]
pub struct LinkedTarget {
    /// The target, which no other test uses meanwhile.
    pub target: Cluster,
    /// The source, which other tests use at the same time.
    pub source: Arc<Cluster>,
    /// A namespace of this test alone, in both clusters: in the source with the service account `pod-lister`, in the
    /// target for imports.
    pub namespace: String,
}

impl LinkedTarget {
    /// Takes a target that another test has released, or starts one.
    pub async fn acquire() -> anyhow::Result<Self> {
        let target = async {
            match TARGETS.acquire() {
                Some(target) => Ok(target),
                None => installed().await,
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

    /// Deletes all imports and links, and offers the target to other tests. Stop the importer before.
    ///
    /// A test that harms its target doesn't call this, and one that fails doesn't get here: the target ends with it.
    pub async fn release(self) -> anyhow::Result<()> {
        self.target.kubectl(["delete", "serviceaccountimports", "--all", "--all-namespaces"]).await?;
        let links = Api::<Secret>::namespaced(self.target.client(), SYSTEM_NAMESPACE);
        links.delete_collection(&DeleteParams::default(), &ListParams::default().labels(LINK_LABEL)).await?;
        TARGETS.release(self.target);
        Ok(())
    }
}

async fn installed() -> anyhow::Result<Cluster> {
    let target = Cluster::builder("c1").audit_log().start().await?;
    kubemcsa_ok(target.kubeconfig(), ["install", "--no-wait"])?;
    Ok(target)
}
