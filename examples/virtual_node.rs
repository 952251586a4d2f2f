//! Makes c2 a virtual node of c1, for the examples that run pods there.

use std::ops::Deref;
use std::process::Command;

use anyhow::ensure;
use mcsa_tests::{Cluster, Launched, eventually, wait_for_default_service_account};

use crate::narrator::Narrator;

/// Creates a namespace in c1, and waits until pods can be created in it.
pub async fn create_namespace(home: &Cluster, namespace: &str) -> anyhow::Result<()> {
    home.kubectl(["create", "namespace", namespace]).await?;
    wait_for_default_service_account(home, namespace).await;
    Ok(())
}

/// Runs `kubemcsa launch` for a namespace, with additional flags, and waits until c2 is a node of c1.
pub async fn launch<S: Deref<Target = Cluster>>(
    narrator: &Narrator,
    launched: &Launched<S>,
    namespace: &str,
    flags: &[&str],
) -> anyhow::Result<()> {
    let mut arguments = vec!["launch", namespace];
    arguments.extend(flags);
    arguments.extend(["--target-context", "c1", "--source-context", "c2"]);
    narrator.command(&format!("kubemcsa {}", arguments.join(" ")));
    let mut launch = Command::new(mcsa_tests::program("kubemcsa")?);
    let output = launch.args(&arguments).env("KUBECONFIG", &launched.kubeconfig).output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubemcsa launch failed:\n{messages}");
    narrator.output(&messages);
    let nodes = eventually("c2 is a node", async || {
        let nodes = launched.home.kubectl(["get", "nodes"]).await?;
        ensure!(nodes.contains(" Ready"), "{nodes}");
        anyhow::Ok(nodes)
    });
    let nodes = nodes.await;
    narrator.command("kubectl --context c1 get nodes");
    narrator.output(&nodes);
    narrator.done("c2 is a node of c1");
    Ok(())
}
