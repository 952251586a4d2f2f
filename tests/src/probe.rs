//! What one of our binaries answers at the address for probes and metrics, which it logs.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use kube::{Client, Config};

use crate::eventually::eventually;
use crate::process::Process;
use crate::prometheus::Scrape;

impl Process {
    /// What it answers; an error where it answers with one, and before it serves.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut config = Config::new(format!("http://{}", self.address("/metrics")?).parse()?);
        // Else a client waits for better times by itself.
        config.default_retry = false;
        let client = Client::try_from(config)?;
        Ok(client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// What a Prometheus would read now.
    pub async fn scrape(&self) -> anyhow::Result<Scrape> {
        Ok(Scrape::new(self.get("/metrics").await?))
    }

    /// The first scrape that is as `awaited`.
    pub async fn says(&self, what: &str, awaited: impl Fn(&Scrape) -> bool) -> Scrape {
        eventually(what, async || {
            let scrape = self.scrape().await?;
            ensure!(awaited(&scrape), "it says:\n{}", scrape.text());
            Ok(scrape)
        })
        .await
    }

    /// The address in the first line of its log that says `what`.
    pub fn address(&self, what: &str) -> anyhow::Result<SocketAddr> {
        self.check()?;
        let log = self.log();
        let address = log.lines().find(|line| line.contains(what)).and_then(address);
        Ok(address.with_context(|| format!("no address in: {log}"))?.parse()?)
    }
}

/// In logs for people, and in those for machines.
fn address(line: &str) -> Option<String> {
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(line) => Some(line["address"].as_str()?.to_owned()),
        Err(_) => Some(line.split_once("address=")?.1.split_whitespace().next()?.to_owned()),
    }
}
