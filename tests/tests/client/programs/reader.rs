//! `list_remote_pods` while its token is replaced.

use std::process::Command;

use anyhow::ensure;
use mcsa_tests::{Process, example, mount, shared_clusters, wait_for_default_service_account};

use super::super::identity::Identity;
use super::prints;

#[tokio::test(flavor = "multi_thread")]
async fn reader_lists_without_an_error_while_its_token_is_replaced() -> anyhow::Result<()> {
    let (_, c2) = shared_clusters().await;
    let identity = Identity::new(c2, "read").await?;
    wait_for_default_service_account(c2, "read").await;
    let folder = tempfile::tempdir()?;
    let first = identity.token(c2, "first").await?;
    mount(folder.path(), "c2-reader", &identity.values(&first)?)?;
    let mut command = Command::new(example("list_remote_pods")?);
    command.args(["c2-reader", "1"]).env("MCSA_MOUNT_ROOT", folder.path());
    let process = Process::spawn("reader", &command, folder.path().join("log"))?;
    prints(&process, 0, &["0 pods in namespace read"]).await;

    let second = identity.token(c2, "second").await?;
    mount(folder.path(), "c2-reader", &identity.values(&second)?)?;
    identity.revoke(c2, "first", &first).await?;
    c2.kubectl(["-n", "read", "run", "new", "--image=none"]).await?;
    prints(&process, 0, &["read/new Pending"]).await;
    let expected = |line: &str| line.contains(" pods in namespace read of ") || line == "read/new Pending";
    ensure!(process.log().lines().all(expected), "{}", process.log());
    Ok(())
}
