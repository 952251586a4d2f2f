//! Searches output, logs and objects for tokens.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use mcsa_client::contract::IMPORT_NAME;

use crate::cluster::Cluster;

/// The current tokens of all imports and links of a target.
pub async fn stored_tokens(target: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let secrets = Api::<Secret>::all(target.client());
    let secrets = secrets.list(&ListParams::default().labels(IMPORT_NAME)).await?;
    let token = |secret: Secret| secret.data?.remove("token");
    let tokens = secrets.into_iter().map(|secret| token(secret).context("a Secret without a token"));
    tokens.map(|token| Ok(String::from_utf8(token?.0)?)).collect()
}

/// Fails if a text contains a token in any form. `texts` are pairs of a description for the error, and the text.
pub fn ensure_no_tokens_in(
    tokens: &BTreeSet<String>,
    texts: impl IntoIterator<Item = (String, String)>,
) -> anyhow::Result<()> {
    let forms = tokens.iter().map(|token| forms(token)).collect::<Result<Vec<_>, _>>()?.concat();
    for (what, mut text) in texts {
        ensure!(!text.is_empty(), "{what} is empty, so there is nothing to search");
        text.retain(|character| !character.is_whitespace());
        ensure!(!forms.iter().any(|form| text.contains(form)), "{what} contains a token");
    }
    Ok(())
}

/// All forms of a token in a text without spaces: plain, as part of base64 data (as in a printed Secret), and as a list
/// of bytes (as in the `Debug` output of a Secret). Only the signature is secret, so only that is searched for.
fn forms(token: &str) -> anyhow::Result<Vec<String>> {
    let (_, signature) = token.rsplit_once('.').context("a token without a signature")?;
    ensure!(signature.len() > 100, "a signature of {} characters", signature.len());
    let bytes: Vec<_> = signature.bytes().map(|byte| byte.to_string()).collect();
    let encoded = (0..3).map(|before| {
        let encoded = BASE64_STANDARD_NO_PAD.encode(" ".repeat(before) + signature);
        // The first and last characters depend on adjacent bytes, too.
        encoded[4..encoded.len() - 4].to_owned()
    });
    Ok(encoded.chain([signature.to_owned(), bytes.join(",")]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD;
    use k8s_openapi::ByteString;

    #[test]
    fn tokens_are_found_in_any_form() -> anyhow::Result<()> {
        let token = format!("header.claims.{}", "Signature-0123_".repeat(20));
        let forms = forms(&token)?;
        for before in ["", "1", "12", "123"] {
            let text = BASE64_STANDARD.encode(format!("{before}{token} and more"));
            ensure!(forms.iter().any(|form| text.contains(form)), "not found after {before:?}");
        }
        let text = format!("{:?}", ByteString(token.into_bytes())).replace(' ', "");
        ensure!(forms.iter().any(|form| text.contains(form)), "not found in {text}");
        Ok(())
    }
}
