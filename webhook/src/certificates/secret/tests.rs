use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::certificates::fixtures::{LIFETIME, NOW, authority, names};

fn issued() -> Issued {
    let authority = authority(NOW);
    let certificate = authority.issue(&names(), LIFETIME, NOW).unwrap();
    Issued { authority, certificate }
}

fn secret_of(issued: &Issued) -> Secret {
    let metadata = ObjectMeta {
        name: Some(CERTIFICATE.to_owned()),
        labels: Some([("own".to_owned(), "label".to_owned())].into()),
        resource_version: Some("7".to_owned()),
        ..Default::default()
    };
    Secret { metadata, data: Some(data(issued)), type_: Some("Opaque".to_owned()), ..Default::default() }
}

#[test]
fn secret_round_trips() {
    let issued = issued();
    let Stored { authority, certificate } = read(&secret_of(&issued));
    assert_eq!((authority, certificate), (Ok(issued.authority), Ok(issued.certificate)));
}

#[rstest]
#[case::nothing(json!({}), "ca.crt", "tls.crt")]
#[case::no_keys(json!({ "ca.crt": "eA==", "tls.crt": "eA==" }), "ca.key", "tls.key")]
#[case::binary(json!({ "ca.crt": "/w==", "ca.key": "eA==", "tls.crt": "eA==", "tls.key": "/w==" }), "ca.crt", "tls.key")]
#[case::invalid_pem(json!({ "ca.crt": "eA==", "ca.key": "eA==", "tls.crt": "eA==", "tls.key": "eA==" }), "ca.crt", "the certificate")]
fn invalid_data_is_a_problem(
    #[case] data: Value,
    #[case] authority: &'static str,
    #[case] certificate: &'static str,
) {
    let read = read(&serde_json::from_value(json!({ "data": data })).unwrap());
    let problem = Problem::Unreadable;
    assert_eq!(read, Stored { authority: Err(problem(authority)), certificate: Err(problem(certificate)) });
}

/// Calls `write`, to which the API server responds with this status. Returns the result and what was sent.
async fn write(observed: Option<&Secret>, issued: &Issued, status: u16) -> (Result<bool, String>, Value) {
    let sent = Arc::new(Mutex::new(Value::Null));
    let received = sent.clone();
    let service = service_fn(move |request: Request<Body>| {
        let received = received.clone();
        async move {
            let body = request.into_body().collect_bytes().await?;
            *received.lock().unwrap() = serde_json::from_slice(&body)?;
            let failure = json!({ "status": "Failure", "code": status, "message": "no right to it" });
            let response = if status < 300 { body.to_vec() } else { failure.to_string().into_bytes() };
            anyhow::Ok(Response::builder().status(status).body(Body::from(response))?)
        }
    });
    let secrets = Api::namespaced(Client::new(service, "default"), SYSTEM_NAMESPACE);
    let result = super::write(&secrets, observed, issued).await;
    let sent = sent.lock().unwrap().clone();
    (result, sent)
}

#[rstest]
#[case::written(200, Ok(true))]
#[case::changed_or_created_by_another_replica(409, Ok(false))]
#[case::forbidden(403, Err("no right to it"))]
#[tokio::test]
async fn write_requires_what_was_observed(#[case] status: u16, #[case] expected: Result<bool, &str>) {
    let (old, new) = (secret_of(&issued()), issued());
    let (result, sent) = write(Some(&old), &new, status).await;
    let place = "Secret multicluster-service-account/webhook-tls";
    assert_eq!(result, expected.map_err(|error| format!("can't update {place}: {error}")));
    let mut expected_secret = old.clone();
    expected_secret.data = Some(data(&new));
    let sent: Secret = serde_json::from_value(sent).unwrap();
    assert_eq!(sent, expected_secret, "version, labels and type stay");

    let (result, sent) = write(None, &new, status).await;
    assert_eq!(result, expected.map_err(|error| format!("can't create {place}: {error}")));
    assert_eq!((&sent["type"], &sent["metadata"]), (&json!(TYPE), &json!({ "name": CERTIFICATE })));
}

#[tokio::test]
async fn deleted_secret_is_not_updated() {
    let issued = issued();
    assert_eq!(write(Some(&secret_of(&issued)), &issued, 404).await.0, Ok(false));
    assert!(write(None, &issued, 404).await.0.is_err(), "no namespace");
}
