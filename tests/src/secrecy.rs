//! Whether a token was said where it may be read by others.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use mcsa_client::contract::IMPORT_NAME;

use crate::cluster::Cluster;

/// The tokens of all imports and links of a target, now.
pub async fn tokens(target: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let secrets = Api::<Secret>::all(target.client());
    let secrets = secrets.list(&ListParams::default().labels(IMPORT_NAME)).await?;
    let token = |secret: Secret| secret.data?.remove("token");
    let tokens = secrets.into_iter().map(|secret| token(secret).context("a Secret without a token"));
    tokens.map(|token| Ok(String::from_utf8(token?.0)?)).collect()
}

/// Makes sure that no text, each with what it is, has one of the tokens in any form.
pub fn unsaid(
    tokens: &BTreeSet<String>,
    texts: impl IntoIterator<Item = (String, String)>,
) -> anyhow::Result<()> {
    let forms = tokens.iter().map(|token| forms(token)).collect::<Result<Vec<_>, _>>()?.concat();
    for (what, mut text) in texts {
        ensure!(!text.is_empty(), "{what}: nothing to look at");
        text.retain(|character| !character.is_whitespace());
        ensure!(!forms.iter().any(|form| text.contains(form)), "a token stands in {what}");
    }
    Ok(())
}

/// All forms in which a token may stand in a text without spaces: as it is, in a larger text that was
/// encoded as base64, as in a printed Secret, and as bytes, as in a Secret that was printed for
/// debugging. Only the signature is looked for, which is what an attacker can't guess.
fn forms(token: &str) -> anyhow::Result<Vec<String>> {
    let (_, signature) = token.rsplit_once('.').context("a token without a signature")?;
    ensure!(signature.len() > 100, "a signature of {} characters", signature.len());
    let bytes: Vec<_> = signature.bytes().map(|byte| byte.to_string()).collect();
    let encoded = (0..3).map(|before| {
        let encoded = BASE64_STANDARD_NO_PAD.encode(" ".repeat(before) + signature);
        // The first and last characters depend on the neighbours, too.
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
    fn a_token_is_found_in_any_form() -> anyhow::Result<()> {
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
