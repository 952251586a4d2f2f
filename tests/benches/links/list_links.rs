//! `kubemcsa links` with many links, compared with kubectl reading the same objects.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};

use crate::fixture::Fixture;
use crate::table::{Goal, Row, Section};
use crate::units::{median, seconds};

const LIMIT: Duration = Duration::from_secs(1);

pub struct ListLinks {
    links: u32,
    kubemcsa: Vec<Duration>,
    kubectl: Vec<Duration>,
}

/// Copies the first link until `links` of them exist, and lists them.
pub async fn measure(fixture: &Fixture, links: u32, rounds: u32) -> anyhow::Result<ListLinks> {
    let client = fixture.target.client();
    let imports: Api<ServiceAccountImport> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let (import, secret) = (imports.get("s0").await?, secrets.get("s0-token").await?);
    let params = PostParams::default();
    for number in u32::try_from(fixture.sources.len())?..links {
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
    let mut list = ListLinks { links, kubemcsa: Vec::new(), kubectl: Vec::new() };
    let kinds = "serviceaccountimports,secrets";
    let label = format!("{LINK_LABEL}=true");
    let get = ["-n", SYSTEM_NAMESPACE, "get", kinds, "-l", &label, "-o", "json"];
    for _ in 0..rounds {
        list.kubemcsa.push(fixture.time(&["links", "--context", "c1"])?);
        let start = Instant::now();
        fixture.target.kubectl(get).await?;
        list.kubectl.push(start.elapsed());
    }
    Ok(list)
}

impl ListLinks {
    pub fn section(&self) -> Section {
        let (kubemcsa, kubectl) = (median(&self.kubemcsa), median(&self.kubectl));
        let ratio = kubemcsa.as_secs_f64() / kubectl.as_secs_f64();
        Section {
            title: "Listing links; median of all rounds",
            rows: vec![
                Row::new("links", seconds(kubemcsa), format!("{} kubectl get", seconds(kubectl))),
                Row::new("ratio", format!("{ratio:.2}"), "1.00"),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        let longest = self.kubemcsa.iter().max().copied().unwrap_or_default();
        let what = format!("listing {} links always below 1 s", self.links);
        Goal { what, figure: seconds(longest), is_met: longest < LIMIT }
    }
}
