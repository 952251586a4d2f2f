//! Valid and invalid rest configs.

use super::super::CLUSTERS;
use super::super::tests::secret;
use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::ByteString;
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::kubeconfig::tests::CA;

fn whole() -> Value {
    json!({
        "Host": "https://c2.example:6443",
        "APIPath": "/api",
        "BearerToken": "t0ken",
        "BearerTokenFile": "",
        "ExecProvider": null,
        "TLSClientConfig": { "Insecure": false, "CAData": STANDARD.encode(CA) },
        "QPS": 50,
    })
}

fn read(value: &Value) -> Result<Config, String> {
    let secret = secret(CLUSTERS, &[("c2", &value.to_string())]);
    Reader::default().rest_config(&secret, "c2").map_err(|error| {
        let text = error.to_string();
        assert!(text.starts_with("Secret argo/clusters, key c2: "), "{text}");
        assert!(!text.contains("t0ken") && !format!("{error:?}").contains("t0ken"), "{text}");
        text
    })
}

#[test]
fn field_names_are_case_insensitive_as_in_go() {
    let config = json!({
        "host": "c2.example:6443",
        "username": "me",
        "password": "pass",
        "tlsClientConfig": { "serverName": "kubernetes", "certData": STANDARD.encode(CA), "keyData": STANDARD.encode(CA) },
        "impersonate": { "UserName": "other", "Groups": ["a"], "Extra": { "k": ["v"] } },
    });
    let config = read(&config).unwrap();
    assert_eq!(config.cluster_url, "https://c2.example:6443/");
    assert_eq!(config.tls_server_name.as_deref(), Some("kubernetes"));
    let user = config.auth_info;
    assert_eq!(user.client_certificate_data, Some(STANDARD.encode(CA)));
    assert_eq!(user.password.unwrap().expose_secret(), "pass");
    assert_eq!(
        (user.impersonate.as_deref(), user.impersonate_groups),
        (Some("other"), Some(vec!["a".into()]))
    );
}

#[rstest]
#[case(json!({ "Host": null }), "no Host")]
#[case(json!({ "Host": "http://c2" }), "https://")]
#[case(json!({ "Host": "https://c 2" }), "Host is not a URL")]
#[case(json!({ "Host": 1 }), "Host must be a string")]
#[case(json!({ "BearerToken": ["t0ken"] }), "BearerToken must be a string")]
#[case(json!({ "BearerToken": "" }), "no credential")]
#[case(json!({ "BearerTokenFile": "/etc/shadow" }), "BearerTokenFile is not allowed")]
#[case(json!({ "bearerTokenFile": "/etc/shadow", "BearerTokenFile": null }), "BearerTokenFile is not allowed")]
#[case(json!({ "ExecProvider": { "command": "sh" } }), "ExecProvider is not allowed")]
#[case(json!({ "AuthProvider": { "name": "gcp" } }), "AuthProvider is not allowed")]
#[case(json!({ "TLSClientConfig": { "CAFile": "/etc/passwd" } }), "CAFile is not allowed")]
#[case(json!({ "TLSClientConfig": { "CertFile": "/etc/passwd" } }), "CertFile is not allowed")]
#[case(json!({ "TLSClientConfig": { "KeyFile": "/etc/passwd" } }), "KeyFile is not allowed")]
#[case(json!({ "TLSClientConfig": { "Insecure": true } }), "Reader::allow_insecure")]
#[case(json!({ "TLSClientConfig": { "Insecure": "t0ken" } }), "Insecure must be a boolean")]
#[case(json!({ "TLSClientConfig": { "CAData": CA } }), "CAData is not a base64-encoded PEM bundle")]
#[case(json!({ "TLSClientConfig": { "CAData": STANDARD.encode("t0ken") } }), "CAData is not a base64-encoded PEM bundle")]
#[case(json!({ "TLSClientConfig": { "CAData": STANDARD.encode(STANDARD.encode(CA)) } }), "encode it only once")]
#[case(json!({ "TLSClientConfig": { "CertData": STANDARD.encode(CA) } }), "only one of TLSClientConfig.CertData and")]
#[case(json!({ "TLSClientConfig": "t0ken" }), "TLSClientConfig must be an object")]
#[case(json!({ "Impersonate": { "Groups": "t0ken" } }), "Groups must be a list of strings")]
fn an_error_names_the_field_and_quotes_no_value(#[case] change: Value, #[case] expected: &str) {
    let mut value = whole();
    for (key, change) in change.as_object().unwrap() {
        value[key] = change.clone();
    }
    let error = read(&value).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[rstest]
#[case("", "invalid JSON at line 1, column 0")]
#[case("{\"BearerToken\": \"t0ken\"", "invalid JSON at line 1, column 23")]
#[case("Host: t0ken", "invalid JSON")]
#[case("\"t0ken\"", "the value must be an object")]
#[case("null", "no Host")]
#[case("eyJIb3N0IjogImh0dHBzOi8vYzIiLCAiQmVhcmVyVG9rZW4iOiAidDBrZW4ifQo=\n", "base64-encoded twice")]
fn a_value_that_is_not_a_rest_config_is_an_error(#[case] text: &str, #[case] expected: &str) {
    let secret = secret(CLUSTERS, &[("c2", text)]);
    let error = Reader::default().rest_config(&secret, "c2").unwrap_err().to_string();
    assert!(error.contains(expected) && !error.contains("t0ken"), "{error}");
}

#[test]
fn one_cluster_is_read_despite_errors_in_another() {
    let mut secret = secret(CLUSTERS, &[("c2", &whole().to_string()), ("c3", "t0ken")]);
    assert!(Reader::default().rest_config(&secret, "c2").is_ok());
    let error = Reader::default().rest_configs(&secret).unwrap_err().to_string();
    assert!(error.starts_with("Secret argo/clusters, key c3: "), "{error}");
    let error = Reader::default().rest_config(&secret, "c4").unwrap_err().to_string();
    assert!(error.starts_with("Secret argo/clusters, key c4: no such key; add"), "{error}");

    secret.data.as_mut().unwrap().insert("c3".into(), ByteString(vec![0xff]));
    let error = Reader::default().rest_configs(&secret).unwrap_err().to_string();
    assert!(error.contains("key c3: not UTF-8"), "{error}");
    secret.data = None;
    let error = Reader::default().rest_configs(&secret).unwrap_err().to_string();
    assert!(error.starts_with("Secret argo/clusters: no keys; add"), "{error}");
}

#[test]
fn insecure_with_an_authority_is_refused_even_if_insecure_is_allowed() {
    let mut value = whole();
    value["TLSClientConfig"]["Insecure"] = json!(true);
    let secret = secret(CLUSTERS, &[("c2", &value.to_string())]);
    let error = Reader::default().allow_insecure().rest_config(&secret, "c2").unwrap_err().to_string();
    assert!(error.contains("remove one of them"), "{error}");
}
