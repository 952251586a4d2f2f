//! Starts a cluster, prints its folder and process IDs, and waits to be killed.
//!
//! With the argument `keep`, it exits and keeps the cluster running. The last line is the command that stops the
//! cluster.

use mcsa_tests::Cluster;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cluster = Cluster::start("held").await?;
    println!("{}", cluster.dir().display());
    println!("{}", cluster.pids().map(|pid| pid.to_string()).join(" "));
    if std::env::args().nth(1).as_deref() == Some("keep") {
        println!("{}", cluster.keep()?.stop_command);
        return Ok(());
    }
    std::future::pending().await
}
