//! Auth providers of kubeconfigs. Kubernetes has removed all but `oidc`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-kubectl>).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use kube::config::AuthProviderConfig;
use serde::Deserialize;

use super::field_problem::FieldProblem;

/// The ID token of the provider. An expired one is not refreshed: the provider may issue a new refresh token, which only
/// kubectl writes back to the kubeconfig.
///
/// # Errors
/// If there is no valid token. The message says how to get one.
pub(crate) fn id_token(provider: &AuthProviderConfig, now: Timestamp) -> Result<String, FieldProblem> {
    let instead = match &*provider.name {
        "oidc" => return oidc_token(provider, now),
        "gcp" => "the credential plugin gke-gcloud-auth-plugin",
        "azure" => "the credential plugin kubelogin",
        _ => "a credential plugin",
    };
    Err(FieldProblem::AuthProvider { name: provider.name.clone(), instead })
}

fn oidc_token(provider: &AuthProviderConfig, now: Timestamp) -> Result<String, FieldProblem> {
    let token = provider.config.get("id-token").map(|token| token.trim()).filter(|token| !token.is_empty());
    match token {
        Some(token) if expiry(token).is_none_or(|expiry| expiry > now) => Ok(token.to_owned()),
        Some(_) => Err(FieldProblem::IdToken("has expired")),
        None => Err(FieldProblem::IdToken("is missing")),
    }
}

/// When a JSON Web Token expires. `None` if it does not say so.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    Timestamp::from_second(claims.exp as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn provider(name: &str, id_token: &str) -> AuthProviderConfig {
        let config = [("id-token".to_owned(), id_token.to_owned())].into();
        AuthProviderConfig { name: name.into(), config, ..Default::default() }
    }

    fn jwt(payload: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[rstest]
    #[case::valid("oidc", &jwt(r#"{"exp": 101}"#), Ok(()))]
    #[case::without_expiry("oidc", &jwt("{}"), Ok(()))]
    #[case::not_a_jwt("oidc", "t0ken", Ok(()))]
    #[case::expired("oidc", &jwt(r#"{"exp": 100}"#), Err("has expired: run kubectl"))]
    #[case::missing("oidc", " ", Err("is missing: run kubectl"))]
    #[case::gcp("gcp", "t0ken", Err("gke-gcloud-auth-plugin"))]
    #[case::azure("azure", "t0ken", Err("kubelogin"))]
    #[case::unknown("ldap", "t0ken", Err("ldap was removed from Kubernetes: use a credential plugin"))]
    fn only_a_valid_id_token_is_used(
        #[case] name: &str,
        #[case] id_token: &str,
        #[case] expected: Result<(), &str>,
    ) {
        let read = super::id_token(&provider(name, id_token), Timestamp::from_second(100).unwrap());
        match (read.map_err(|problem| problem.to_string()), expected) {
            (Ok(token), Ok(())) => assert_eq!(token, id_token),
            (Err(problem), Err(expected)) => {
                assert!(problem.contains(expected) && !problem.contains("t0ken"), "{problem}");
            }
            (token, _) => panic!("{token:?}"),
        }
    }
}
