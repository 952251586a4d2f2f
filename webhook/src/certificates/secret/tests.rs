use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::certificates::fixtures::issue;

/// One Secret in an API server.
#[derive(Clone, Default)]
struct Fake {
    secret: Arc<Mutex<Option<Value>>>,
}

impl Fake {
    fn store(&self) -> Store {
        mcsa_runtime::tls::install_provider();
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let method = request.method().clone();
                let sent = request.into_body().collect_bytes().await?;
                let (code, body) = fake.answer(method, serde_json::from_slice(&sent).ok());
                anyhow::Ok(Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))?)
            }
        });
        Store::new(Client::new(service, "default"))
    }

    fn get(&self) -> Secret {
        serde_json::from_value(self.secret.lock().unwrap().clone().unwrap()).unwrap()
    }

    fn put(&self, secret: Option<&Secret>) {
        *self.secret.lock().unwrap() = secret.map(|secret| serde_json::to_value(secret).unwrap());
    }

    fn answer(&self, method: Method, sent: Option<Value>) -> (u16, Value) {
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

fn stored(kept: &Kept, version: &str) -> Secret {
    let metadata = ObjectMeta {
        name: Some(CERTIFICATE.to_owned()),
        labels: Some([("kept".to_owned(), "yes".to_owned())].into()),
        resource_version: Some(version.to_owned()),
        ..Default::default()
    };
    Secret { metadata, data: Some(data(kept)), type_: Some(TYPE.to_owned()), ..Default::default() }
}

fn kept() -> Kept {
    let (certificate, authorities) = issue();
    Kept { authorities, current: Ok(certificate), next: None }
}

#[test]
fn what_is_written_is_read() {
    let (one, (next, its)) = (kept(), issue());
    assert_eq!(read(&stored(&one, "1")), one);
    let both = Kept { authorities: one.authorities.clone().and(&its), next: Some(Ok(next)), ..one };
    assert_eq!(read(&stored(&both, "1")), both);
}

#[rstest]
#[case::nothing(json!({}), None)]
#[case::garbage(json!({ "ca.crt": "eA==", "tls.crt": "eA==", "tls.key": "eA==", "next.crt": "eA==", "next.key": "eA==" }), Some("the certificate"))]
#[case::binary(json!({ "ca.crt": "/w==", "tls.crt": "/w==", "tls.key": "/w==", "next.key": "/w==" }), Some("next.crt"))]
fn what_can_not_be_read_is_a_problem(#[case] data: Value, #[case] next: Option<&'static str>) {
    let read = read(&serde_json::from_value(json!({ "data": data })).unwrap());
    assert!(read.authorities.is_empty());
    assert!(matches!(read.current, Err(Problem::Unreadable(_))), "{read:?}");
    assert_eq!(read.next, next.map(|what| Err(Problem::Unreadable(what))));
}

#[tokio::test]
async fn the_first_replica_writes_it_and_the_others_see_it() {
    let fake = Fake::default();
    let (one, other) = (fake.store(), fake.store());
    assert!(other.is_as(None).await.unwrap());
    assert!(one.write(None, &kept()).await.unwrap());
    assert!(!other.is_as(None).await.unwrap());
    assert!(!other.write(None, &kept()).await.unwrap(), "it is there");
    assert_eq!(fake.get().type_.as_deref(), Some("kubernetes.io/tls"));
    assert!(one.is_as(Some(&fake.get())).await.unwrap());
}

#[tokio::test]
async fn a_write_is_on_condition_of_what_was_seen() {
    let fake = Fake::default();
    let (old, new) = (stored(&kept(), "1"), kept());
    fake.put(Some(&old));
    assert!(fake.store().write(Some(&old), &new).await.unwrap());
    assert_eq!(read(&fake.get()), new);
    assert_eq!(fake.get().metadata.labels, old.metadata.labels, "they are someone else's");
    assert!(!fake.store().is_as(Some(&old)).await.unwrap());
    assert!(!fake.store().write(Some(&old), &kept()).await.unwrap(), "another replica was faster");
    fake.put(None);
    assert!(!fake.store().write(Some(&old), &kept()).await.unwrap(), "someone has deleted it");
}

#[tokio::test]
async fn a_refusal_is_an_error() {
    let service = service_fn(|_: Request<Body>| async {
        let status = json!({ "status": "Failure", "code": 403, "message": "no right to it" });
        anyhow::Ok(Response::builder().status(403).body(Body::from(status.to_string().into_bytes()))?)
    });
    let store = Store::new(Client::new(service, "default"));
    let error = store.write(None, &kept()).await.unwrap_err().to_string();
    assert_eq!(error, "can't create Secret multicluster-service-account/webhook-tls: no right to it");
    assert!(store.is_as(None).await.is_err());
}
