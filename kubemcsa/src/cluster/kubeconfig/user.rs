//! What a kubeconfig says about its user, as kube takes it.

use kube::config::{AuthInfo, Cluster};
use mcsa_credentials::{ExposeSecret, SecretString};

/// Credentials that kube reads as kubectl would.
///
/// # Errors
/// When a file can't be read, or a plugin can't be told about the cluster.
pub fn credentials(mut user: AuthInfo, cluster: &Cluster) -> Result<AuthInfo, String> {
    // Files with a token end with a line break, which can't be in a header.
    if let Some(path) = filled(user.token_file.take()) {
        let token = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        user.token = Some(token.trim().to_owned().into());
    }
    // Empty is as good as absent.
    user.token = user.token.filter(|token| !token.expose_secret().is_empty());
    user.username = filled(user.username);
    user.client_certificate_data = filled(user.client_certificate_data.map(|data| unbroken(&data)));
    let key = user.client_key_data.map(|data| unbroken(data.expose_secret()));
    user.client_key_data = filled(key).map(SecretString::from);
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster =
            Some(cluster.try_into().map_err(|error: kube::config::KubeconfigError| error.to_string())?);
    }
    Ok(user)
}

/// Base64 in one line, as YAML may have it in several.
pub fn unbroken(base64: &str) -> String {
    base64.split_whitespace().collect()
}

fn filled(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_absent_and_lines_are_joined() {
        let user = AuthInfo {
            username: Some(String::new()),
            token: Some(String::new().into()),
            client_certificate_data: Some("YWJj\nZGVm\n".into()),
            ..Default::default()
        };
        let user = credentials(user, &Cluster::default()).unwrap();
        assert!(user.username.is_none() && user.token.is_none());
        assert_eq!(user.client_certificate_data.as_deref(), Some("YWJjZGVm"));
    }
}
