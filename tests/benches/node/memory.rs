//! Measures the memory of the pods.

use anyhow::Context;
use mcsa_tests::Node;

/// Resident memory in KiB: for each program, that of the pod with the most.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The leader uses more than the other importer.
    pub importer: u64,
    pub webhook: u64,
    /// For comparison, because every node runs it.
    pub kube_proxy: u64,
}

impl Memory {
    pub fn of(node: &Node) -> anyhow::Result<Self> {
        let resident = |program: &str| {
            let statuses = node.pids_of(program)?.into_iter().map(|id| format!("/proc/{id}/status"));
            let text = statuses.map(|status| node.run("cat", &[&status])).collect::<Result<String, _>>()?;
            let figures = text
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
