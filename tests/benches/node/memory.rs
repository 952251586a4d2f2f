//! What the pods have in memory.

use anyhow::Context;
use mcsa_tests::Node;

/// Resident memory in KiB, of the pod that has most.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Of the importers; the one that works has more than the one that waits.
    pub importer: u64,
    /// Of the webhooks.
    pub webhook: u64,
    /// Of a neighbour that every node has, written by others.
    pub kube_proxy: u64,
}

impl Memory {
    /// Now.
    pub fn of(node: &Node) -> anyhow::Result<Self> {
        let resident = |program: &str| {
            let statuses = node.processes(program)?.into_iter().map(|id| format!("/proc/{id}/status"));
            let said = statuses.map(|status| node.run("cat", &[&status])).collect::<Result<String, _>>()?;
            let figures = said
                .lines()
                .filter_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
            figures.max().with_context(|| format!("no {program} runs on the node"))
        };
        Ok(Self {
            importer: resident("importer")?,
            webhook: resident("webhook")?,
            kube_proxy: node.kube_proxy_rss_kib().context("kube-proxy has ended")?,
        })
    }
}
