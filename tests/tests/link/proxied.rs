//! A link through a proxy with a password.

use mcsa_tests::{eventually, pod_lister_import};

use super::Fixture;
use crate::kubeconfigs::proxies::{PASSWORD, Proxies, USER, escaped};

/// kube's own client sends no password to a SOCKS5 proxy.
#[tokio::test(flavor = "multi_thread")]
async fn importer_reaches_a_source_through_a_socks5_proxy_with_a_password() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    let proxies = Proxies::start(&fixture.source).await?;
    let proxy = format!("socks5://{USER}:{}@{}", escaped(PASSWORD), proxies.socks);
    // Only the proxy knows this host.
    let server = format!("https://kubernetes:{}", fixture.source.port());
    fixture.run(&["bootstrap", "--allow", "team-a", "--source-server", &server, "--proxy-url", &proxy])?;
    let daemons = fixture.daemons().await?;
    imports.create(&pod_lister_import("pods", "c2", "team-a")).await?;
    eventually("the import is ready", async || imports.ready("pods").await).await;
    drop(daemons);
    fixture.release().await
}
