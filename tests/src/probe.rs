//! Requests to the probe address of our binaries, which they log.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use kube::{Client, Config};

use crate::eventually::eventually;
use crate::process::Process;
use crate::prometheus::Scrape;

impl Process {
    /// Requests a path of the probe server. Fails if the status is an error, and before the program serves.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut config = Config::new(format!("http://{}", self.logged_address("/metrics")?).parse()?);
        // kube's client would retry.
        config.default_retry = false;
        let client = Client::try_from(config)?;
        Ok(client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// Reads the metrics, as Prometheus does.
    pub async fn scrape(&self) -> anyhow::Result<Scrape> {
        Ok(Scrape::new(self.get("/metrics").await?))
    }

    /// Waits for a scrape that matches, and returns it.
    pub async fn wait_for_scrape(&self, what: &str, matches: impl Fn(&Scrape) -> bool) -> Scrape {
        eventually(what, async || {
            let scrape = self.scrape().await?;
            ensure!(matches(&scrape), "the metrics are:\n{}", scrape.text());
            Ok(scrape)
        })
        .await
    }

    /// The address in the first line of the log that contains `text`.
    pub fn logged_address(&self, text: &str) -> anyhow::Result<SocketAddr> {
        self.check()?;
        let log = self.log();
        let address = log.lines().find(|line| line.contains(text)).and_then(address);
        Ok(address.with_context(|| format!("the log has no address: {log}"))?.parse()?)
    }
}

/// The address in a line of a text or JSON log.
fn address(line: &str) -> Option<String> {
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(line) => Some(line["address"].as_str()?.to_owned()),
        Err(_) => Some(line.split_once("address=")?.1.split_whitespace().next()?.to_owned()),
    }
}
