use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::certificates::fixtures::issue;

/// A fake API server with one Secret.
#[derive(Clone, Default)]
struct Fake {
    secret: Arc<Mutex<Option<Value>>>,
}

impl Fake {
    fn store(&self) -> SecretStore {
        mcsa_runtime::tls::install_provider();
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let method = request.method().clone();
                let sent = request.into_body().collect_bytes().await?;
                let (code, body) = fake.respond(method, serde_json::from_slice(&sent).ok());
                anyhow::Ok(Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))?)
            }
        });
        SecretStore::new(Client::new(service, "default"))
    }

    fn get(&self) -> Secret {
        serde_json::from_value(self.secret.lock().unwrap().clone().unwrap()).unwrap()
    }

    fn put(&self, secret: Option<&Secret>) {
        *self.secret.lock().unwrap() = secret.map(|secret| serde_json::to_value(secret).unwrap());
    }

    fn respond(&self, method: Method, sent: Option<Value>) -> (u16, Value) {
        let failure = |code, reason| (code, json!({ "status": "Failure", "code": code, "reason": reason }));
        let mut secret = self.secret.lock().unwrap();
        match (method, secret.clone(), sent) {
            (Method::GET, Some(secret), _) => (200, secret),
            (Method::POST, None, Some(sent)) => {
                *secret = Some(with_version(sent, "1"));
                (201, secret.clone().unwrap())
            }
            (Method::POST, Some(_), _) => failure(409, "AlreadyExists"),
            (Method::PUT, Some(old), Some(sent))
                if sent["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"] =>
            {
                *secret = Some(with_version(sent, "2"));
                (200, secret.clone().unwrap())
            }
            (Method::PUT, Some(_), _) => failure(409, "Conflict"),
            _ => failure(404, "NotFound"),
        }
    }
}

fn with_version(mut secret: Value, version: &str) -> Value {
    secret["metadata"]["resourceVersion"] = version.into();
    secret
}

fn secret_of(stored: &Stored, version: &str) -> Secret {
    let metadata = ObjectMeta {
        name: Some(CERTIFICATE.to_owned()),
        labels: Some([("stored".to_owned(), "yes".to_owned())].into()),
        resource_version: Some(version.to_owned()),
        ..Default::default()
    };
    Secret { metadata, data: Some(data(stored)), type_: Some(TYPE.to_owned()), ..Default::default() }
}

fn stored() -> Stored {
    let (certificate, authorities) = issue();
    Stored { authorities, current: Ok(certificate), next: None }
}

#[test]
fn secret_round_trips() {
    let (one, (next, its)) = (stored(), issue());
    assert_eq!(read(&secret_of(&one, "1")), one);
    let both = Stored { authorities: one.authorities.clone().union(&its), next: Some(Ok(next)), ..one };
    assert_eq!(read(&secret_of(&both, "1")), both);
}

#[rstest]
#[case::nothing(json!({}), None)]
#[case::invalid_pem(json!({ "ca.crt": "eA==", "tls.crt": "eA==", "tls.key": "eA==", "next.crt": "eA==", "next.key": "eA==" }), Some("the certificate"))]
#[case::binary(json!({ "ca.crt": "/w==", "tls.crt": "/w==", "tls.key": "/w==", "next.key": "/w==" }), Some("next.crt"))]
fn invalid_data_is_a_problem(#[case] data: Value, #[case] next: Option<&'static str>) {
    let read = read(&serde_json::from_value(json!({ "data": data })).unwrap());
    assert!(read.authorities.is_empty());
    assert!(matches!(read.current, Err(Problem::Unreadable(_))), "{read:?}");
    assert_eq!(read.next, next.map(|what| Err(Problem::Unreadable(what))));
}

#[tokio::test]
async fn first_replica_creates_the_secret() {
    let fake = Fake::default();
    let (one, other) = (fake.store(), fake.store());
    assert!(other.is_current(None).await.unwrap());
    assert!(one.write(None, &stored()).await.unwrap());
    assert!(!other.is_current(None).await.unwrap());
    assert!(!other.write(None, &stored()).await.unwrap(), "it exists");
    assert_eq!(fake.get().type_.as_deref(), Some("kubernetes.io/tls"));
    assert!(one.is_current(Some(&fake.get())).await.unwrap());
}

#[tokio::test]
async fn write_requires_the_observed_version() {
    let fake = Fake::default();
    let (old, new) = (secret_of(&stored(), "1"), stored());
    fake.put(Some(&old));
    assert!(fake.store().write(Some(&old), &new).await.unwrap());
    assert_eq!(read(&fake.get()), new);
    assert_eq!(fake.get().metadata.labels, old.metadata.labels, "labels are preserved");
    assert!(!fake.store().is_current(Some(&old)).await.unwrap());
    assert!(!fake.store().write(Some(&old), &stored()).await.unwrap(), "another replica was faster");
    fake.put(None);
    assert!(!fake.store().write(Some(&old), &stored()).await.unwrap(), "it was deleted");
}

#[tokio::test]
async fn api_error_is_returned() {
    let service = service_fn(|_: Request<Body>| async {
        let status = json!({ "status": "Failure", "code": 403, "message": "no right to it" });
        anyhow::Ok(Response::builder().status(403).body(Body::from(status.to_string().into_bytes()))?)
    });
    let store = SecretStore::new(Client::new(service, "default"));
    let error = store.write(None, &stored()).await.unwrap_err().to_string();
    assert_eq!(error, "can't create Secret multicluster-service-account/webhook-tls: no right to it");
    assert!(store.is_current(None).await.is_err());
}
