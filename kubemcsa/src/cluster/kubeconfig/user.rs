//! Adapts the user of a kubeconfig, so that kube handles it like kubectl.

use kube::config::{AuthInfo, Cluster};
use mcsa_credentials::{ExposeSecret, SecretString};

pub(crate) fn credentials(mut user: AuthInfo, cluster: &Cluster) -> Result<AuthInfo, String> {
    // Token files end with a line break, which a header can't contain.
    if let Some(path) = non_empty(user.token_file.take()) {
        let token = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        user.token = Some(token.trim().to_owned().into());
    }
    // Empty values count as absent.
    user.token = user.token.filter(|token| !token.expose_secret().is_empty());
    user.username = non_empty(user.username);
    user.client_certificate_data = non_empty(user.client_certificate_data.map(|data| single_line(&data)));
    let key = user.client_key_data.map(|data| single_line(data.expose_secret()));
    user.client_key_data = non_empty(key).map(SecretString::from);
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster =
            Some(cluster.try_into().map_err(|error: kube::config::KubeconfigError| error.to_string())?);
    }
    Ok(user)
}

/// Joins base64 that YAML splits into lines.
pub(crate) fn single_line(base64: &str) -> String {
    base64.split_whitespace().collect()
}

fn non_empty(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_values_are_absent_and_lines_are_joined() {
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
