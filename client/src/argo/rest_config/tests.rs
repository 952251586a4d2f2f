//! Rest configs, right and wrong.

use super::super::CLUSTERS;
use super::super::tests::{assert_is, each, secret};
use super::*;
use crate::ExposeSecret;
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::ByteString;
use rstest::rstest;
use serde_json::json;

const CA: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

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
fn what_is_exported_reads_back() {
    each(|exported| {
        let secret = exported.argo_clusters();
        let name = exported.credential.cluster_name.as_str();
        let insecure = exported.verification == Verification::Nothing;
        let strict = Reader::default().rest_configs(&secret);
        assert_eq!(strict.is_err(), insecure);
        if let Err(error) = strict {
            assert!(error.to_string().contains("Reader::allow_insecure"), "{error}");
        }
        let configs = Reader::default().allow_insecure().rest_configs(&secret).unwrap();
        assert_eq!(configs.keys().collect::<Vec<_>>(), [name]);
        assert_is(&configs[name], &exported);
        assert_is(&Reader::default().allow_insecure().rest_config(&secret, name).unwrap(), &exported);
    });
}

#[test]
fn names_are_read_as_go_reads_them() {
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
#[case(json!({ "Host": null }), "it has no Host")]
#[case(json!({ "Host": "http://c2" }), "https://")]
#[case(json!({ "Host": "https://c 2" }), "Host is no URL")]
#[case(json!({ "Host": 1 }), "Host is not text")]
#[case(json!({ "BearerToken": ["t0ken"] }), "BearerToken is not text")]
#[case(json!({ "BearerToken": "" }), "no credential")]
#[case(json!({ "BearerTokenFile": "/etc/shadow" }), "it has BearerTokenFile")]
#[case(json!({ "bearerTokenFile": "/etc/shadow", "BearerTokenFile": null }), "it has BearerTokenFile")]
#[case(json!({ "ExecProvider": { "command": "sh" } }), "it has ExecProvider")]
#[case(json!({ "AuthProvider": { "name": "gcp" } }), "it has AuthProvider")]
#[case(json!({ "TLSClientConfig": { "CAFile": "/etc/passwd" } }), "it has CAFile")]
#[case(json!({ "TLSClientConfig": { "CertFile": "/etc/passwd" } }), "it has CertFile")]
#[case(json!({ "TLSClientConfig": { "KeyFile": "/etc/passwd" } }), "it has KeyFile")]
#[case(json!({ "TLSClientConfig": { "Insecure": true } }), "Reader::allow_insecure")]
#[case(json!({ "TLSClientConfig": { "Insecure": "t0ken" } }), "Insecure is not true or false")]
#[case(json!({ "TLSClientConfig": { "CAData": CA } }), "CAData is not the base64 of a PEM bundle;")]
#[case(json!({ "TLSClientConfig": { "CAData": STANDARD.encode("t0ken") } }), "CAData is not the base64 of a PEM bundle;")]
#[case(json!({ "TLSClientConfig": { "CAData": STANDARD.encode(STANDARD.encode(CA)) } }), "encode the PEM once")]
#[case(json!({ "TLSClientConfig": { "CertData": STANDARD.encode(CA) } }), "one of TLSClientConfig.CertData and")]
#[case(json!({ "TLSClientConfig": "t0ken" }), "TLSClientConfig is not an object")]
#[case(json!({ "Impersonate": { "Groups": "t0ken" } }), "Groups is not a list of text")]
fn what_is_wrong_is_named_and_not_quoted(#[case] change: Value, #[case] said: &str) {
    let mut value = whole();
    for (key, change) in change.as_object().unwrap() {
        value[key] = change.clone();
    }
    let error = read(&value).unwrap_err();
    assert!(error.contains(said), "{error}");
}

#[rstest]
#[case("", "it is no JSON, from line 1, column 0 on")]
#[case("{\"BearerToken\": \"t0ken\"", "it is no JSON, from line 1, column 23 on")]
#[case("Host: t0ken", "it is no JSON")]
#[case("\"t0ken\"", "it is not an object")]
#[case("null", "it has no Host")]
#[case(
    "eyJIb3N0IjogImh0dHBzOi8vYzIiLCAiQmVhcmVyVG9rZW4iOiAidDBrZW4ifQo=\n",
    "it is the base64 of what should be there"
)]
fn what_is_no_rest_config(#[case] text: &str, #[case] said: &str) {
    let secret = secret(CLUSTERS, &[("c2", text)]);
    let error = Reader::default().rest_config(&secret, "c2").unwrap_err().to_string();
    assert!(error.contains(said) && !error.contains("t0ken"), "{error}");
}

#[test]
fn one_cluster_is_not_spoiled_by_another() {
    let mut secret = secret(CLUSTERS, &[("c2", &whole().to_string()), ("c3", "t0ken")]);
    assert!(Reader::default().rest_config(&secret, "c2").is_ok());
    let error = Reader::default().rest_configs(&secret).unwrap_err().to_string();
    assert!(error.starts_with("Secret argo/clusters, key c3: "), "{error}");
    let error = Reader::default().rest_config(&secret, "c4").unwrap_err().to_string();
    assert!(error.starts_with("Secret argo/clusters, key c4: it has no such key; put"), "{error}");

    secret.data.as_mut().unwrap().insert("c3".into(), ByteString(vec![0xff]));
    let error = Reader::default().rest_configs(&secret).unwrap_err().to_string();
    assert!(error.contains("key c3: it is not UTF-8"), "{error}");
    secret.data = None;
    let error = Reader::default().rest_configs(&secret).unwrap_err().to_string();
    assert!(error.starts_with("Secret argo/clusters: it has no keys; put"), "{error}");
}

#[test]
fn a_ca_beside_insecure_is_refused_also_where_insecure_is_allowed() {
    let mut value = whole();
    value["TLSClientConfig"]["Insecure"] = json!(true);
    let secret = secret(CLUSTERS, &[("c2", &value.to_string())]);
    let error = Reader::default().allow_insecure().rest_config(&secret, "c2").unwrap_err().to_string();
    assert!(error.contains("remove one of them"), "{error}");
}
