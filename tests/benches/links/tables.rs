//! `links` with many links, beside kubectl reading the same objects.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};

use crate::scene::Scene;
use crate::table::{Aim, Row, Section};
use crate::words::{median, seconds};

const LIMIT: Duration = Duration::from_secs(1);

pub struct Tables {
    links: u32,
    kubemcsa: Vec<Duration>,
    kubectl: Vec<Duration>,
}

/// Copies the first link until there are `links`, and lists them.
pub async fn measure(scene: &Scene, links: u32, rounds: u32) -> anyhow::Result<Tables> {
    let client = scene.target.client();
    let imports: Api<ServiceAccountImport> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let (import, secret) = (imports.get("s0").await?, secrets.get("s0-token").await?);
    let params = PostParams::default();
    for number in u32::try_from(scene.sources.len())?..links {
        let name = format!("copy-{number}");
        let mut copy = ServiceAccountImport::new(&name, import.spec.clone());
        copy.spec.cluster_name = name.clone();
        copy.metadata.labels = import.metadata.labels.clone();
        let owner = imports.create(&params, &copy).await?.owner_reference();
        let mut copy = Secret { data: secret.data.clone(), ..Default::default() };
        copy.metadata.name = Some(format!("{name}-token"));
        copy.metadata.labels = Some(secret.labels().clone());
        copy.metadata.owner_references = Some(owner.into_iter().collect());
        secrets.create(&params, &copy).await?;
    }
    let mut tables = Tables { links, kubemcsa: Vec::new(), kubectl: Vec::new() };
    let kinds = "serviceaccountimports,secrets";
    let label = format!("{LINK_LABEL}=true");
    let get = ["-n", SYSTEM_NAMESPACE, "get", kinds, "-l", &label, "-o", "json"];
    for _ in 0..rounds {
        tables.kubemcsa.push(scene.time(&["links", "--context", "c1"])?);
        let start = Instant::now();
        scene.target.kubectl(get).await?;
        tables.kubectl.push(start.elapsed());
    }
    Ok(tables)
}

impl Tables {
    pub fn section(&self) -> Section {
        let (kubemcsa, kubectl) = (median(&self.kubemcsa), median(&self.kubectl));
        let ratio = kubemcsa.as_secs_f64() / kubectl.as_secs_f64();
        Section {
            title: "The table of links; median of all rounds",
            rows: vec![
                Row::new("links", seconds(kubemcsa), format!("{} kubectl get", seconds(kubectl))),
                Row::new("ratio", format!("{ratio:.2}"), "1.00"),
            ],
        }
    }

    pub fn aim(&self) -> Aim {
        let most = self.kubemcsa.iter().max().copied().unwrap_or_default();
        let what = format!("listing {} links always below 1 s", self.links);
        Aim { what, figure: seconds(most), is_met: most < LIMIT }
    }
}
