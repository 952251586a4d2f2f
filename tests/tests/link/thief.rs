//! What a thief of a link's token can do: the tests try it.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::token;
use mcsa_tests::{create_pod_lister, eventually_within};

use super::Fixture;

/// Requests a token; returns the source's status code if it is refused.
async fn mint(
    thief: &Client,
    namespace: &str,
    name: &str,
    seconds: i64,
    bound: Option<&str>,
) -> Result<(), u16> {
    let accounts: Api<ServiceAccount> = Api::namespaced(thief.clone(), namespace);
    let request = token::request(seconds, &[], bound);
    match accounts.create_token_request(name, &PostParams::default(), &request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(_) => Err(0),
    }
}

async fn may_read<K>(api: Api<K>) -> bool
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.list(&ListParams::default().limit(1)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_token_allows_what_was_granted_and_no_more() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    // Another target of the same source.
    let other = ["bootstrap", "--target-name", "other"];
    fixture.run(&other)?;
    fixture.run(&["unlink", "--local-only", "--source-name", "c2"])?;

    fixture.run(&["bootstrap"])?;
    let thief = fixture.stolen().await?;
    ensure!(mint(&thief, "team-a", "pod-lister", 86_400, None).await == Ok(()), "that is what a link is for");
    let refused = [
        ("kube-system", "default", 3600, None),
        ("kube-public", "default", 3600, None),
        (SYSTEM_NAMESPACE, "other", 3600, Some("other")),
        // A token of its own identity that would outlive the deletion of the Secret.
        (SYSTEM_NAMESPACE, "c1", 3600, None),
        (SYSTEM_NAMESPACE, "c1", 3600, Some("other")),
        ("team-a", "pod-lister", 86_401, None),
    ];
    for (namespace, name, seconds, bound) in refused {
        let minted = mint(&thief, namespace, name, seconds, bound).await;
        ensure!(minted == Err(403), "{namespace}/{name} for {seconds} s: {minted:?}");
    }
    ensure!(!may_read(Api::<Secret>::all(thief.clone())).await, "it reads Secrets");
    ensure!(!may_read(Api::<Pod>::all(thief.clone())).await, "it reads pods");
    ensure!(!may_read(Api::<Namespace>::all(thief.clone())).await, "it reads namespaces");
    ensure!(may_read(Api::<ServiceAccount>::all(thief.clone())).await, "that is what a link may read");

    // Narrower grants apply to the same token.
    fixture.run(&["bootstrap", "--allow", "team-a/pod-lister"])?;
    let minted = async || mint(&thief, "team-b", "pod-lister", 3600, None).await;
    eventually_within(std::time::Duration::from_secs(30), "the rights are gone", async || {
        let minted = minted().await;
        ensure!(minted == Err(403), "{minted:?}");
        Ok(())
    })
    .await;
    ensure!(mint(&thief, "team-a", "pod-lister", 3600, None).await == Ok(()));
    create_pod_lister(&fixture.source, "team-c").await?;
    ensure!(mint(&thief, "team-c", "pod-lister", 3600, None).await == Err(403));
    ensure!(mint(&thief, "team-a", "default", 3600, None).await == Err(403));
    ensure!(mint(&thief, SYSTEM_NAMESPACE, "other", 3600, Some("other")).await == Err(403));
    ensure!(mint(&thief, SYSTEM_NAMESPACE, "c1", 3600, Some("c1")).await == Ok(()), "it must refresh itself");
    ensure!(!may_read(Api::<ServiceAccount>::all(thief.clone())).await, "it reads what it must not import");
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_token_is_refused_after_rotate_and_unlink() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    for end in ["rotate", "unlink"] {
        fixture.run(&["bootstrap"])?;
        let thief = fixture.stolen().await?;
        // The thief has requested a second token.
        let own: Api<ServiceAccount> = Api::namespaced(thief.clone(), SYSTEM_NAMESPACE);
        let request = token::request(3600, &[], Some("c1"));
        let made = own.create_token_request("c1", &PostParams::default(), &request).await?;
        let made = made.status.context("no token")?.token;
        fixture.run(&[end])?;
        // The command has waited until the source refuses the token.
        let minted = mint(&thief, "team-a", "pod-lister", 3600, None).await;
        ensure!(minted == Err(401), "after {end}: {minted:?}");
        let mut config = kube::Config::new(fixture.source.server().parse()?);
        config.root_cert = Some(pem(fixture.source.ca_pem())?);
        config.auth_info.token = Some(made.into());
        let second = Client::try_from(config)?;
        let minted = mint(&second, "team-a", "pod-lister", 3600, None).await;
        ensure!(minted == Err(401), "after {end}, by the second token: {minted:?}");
    }
    fixture.release().await
}

fn pem(text: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    Ok(vec![BASE64_STANDARD.decode(body)?])
}
