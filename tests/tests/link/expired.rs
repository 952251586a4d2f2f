//! A link whose token expired because no importer refreshed it.

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use k8s_openapi::ByteString;
use mcsa_client::contract::key;
use mcsa_tests::kubemcsa;
use serde_json::Value;

use super::Fixture;

/// The token with times a day and a minute earlier, so that it has expired according to its own claims.
fn aged(token: &str) -> anyhow::Result<String> {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(&parts[1])?)?;
    for claim in ["iat", "nbf", "exp"] {
        let time = claims[claim].as_i64().with_context(|| format!("{claim} is not a time"))?;
        claims[claim] = (time - 86_460).into();
    }
    parts[1] = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    Ok(parts.join("."))
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_link_is_reported_by_check_and_renewed_by_bootstrap() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.run(&["bootstrap"])?;
    let mut secret = fixture.links().secrets.get("c2-token").await?;
    let data = secret.data.as_mut().context("no data")?;
    let token = String::from_utf8(data[key::TOKEN].0.clone())?;
    for value in data.values_mut() {
        let text = String::from_utf8(value.0.clone())?;
        *value = ByteString(text.replace(&token, &aged(&token)?).into_bytes());
    }
    fixture.links().secrets.replace("c2-token", &Default::default(), &secret).await?;

    let table = mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, ["links", "--context", "c1"])?;
    ensure!(table.contains("Expired") && table.contains(" ago"), "{table}");
    let output = kubemcsa(&fixture.kubeconfig, ["check", "--context", "c1", "-o", "json"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().context("no findings")?;
    let finding = findings.iter().find(|finding| finding["reason"] == "LinkExpired");
    let fix = finding.with_context(|| format!("{report:#}"))?["fix"].as_str().context("no fix")?;

    // The command that check prints renews the link. Only the source's context is a placeholder.
    let args: Vec<_> = fix.split_whitespace().map(|word| word.replace("SOURCE_CONTEXT", "c2")).collect();
    ensure!(args[0] == "kubemcsa", "{fix}");
    mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, args[1..].iter().map(String::as_str))?;
    fixture.stolen().await?.apiserver_version().await?;
    let table = mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, ["links", "--context", "c1"])?;
    ensure!(!table.contains("Expired"), "{table}");
    fixture.release().await
}
