use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// One Secret in an API server, and a write of someone else's that comes just before the next one.
#[derive(Clone, Default)]
struct Fake {
    secret: Arc<Mutex<Option<Value>>>,
    in_between: Arc<Mutex<Vec<Option<Value>>>>,
    writes: Arc<Mutex<Vec<Method>>>,
}

impl Fake {
    fn store(&self, names: &[&str]) -> Store {
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
        Store::new(Client::new(service, "default"), names.iter().map(|&name| name.to_owned()).collect())
    }

    fn answer(&self, method: Method, sent: Option<Value>) -> (u16, Value) {
        let failure = |code, reason| (code, json!({ "status": "Failure", "code": code, "reason": reason }));
        let mut secret = self.secret.lock().unwrap();
        if method != Method::GET {
            if let Some(other) = self.in_between.lock().unwrap().pop() {
                *secret = other;
            }
            self.writes.lock().unwrap().push(method.clone());
        }
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

    fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().iter().map(Method::to_string).collect()
    }
}

fn with_version(mut secret: Value, version: &str) -> Value {
    secret["metadata"]["resourceVersion"] = version.into();
    secret
}

fn secret_with(certificate: &Certificate, version: &str) -> Value {
    let metadata = ObjectMeta {
        name: Some(CERTIFICATE.to_owned()),
        labels: Some([("kept".to_owned(), "yes".to_owned())].into()),
        ..Default::default()
    };
    let secret = Secret {
        metadata,
        data: Some(data(certificate)),
        type_: Some(TYPE.to_owned()),
        ..Default::default()
    };
    with_version(serde_json::to_value(secret).unwrap(), version)
}

#[tokio::test]
async fn the_first_replica_makes_it_and_the_others_take_it() {
    let fake = Fake::default();
    let made = fake.store(&["a.svc"]).shared().await.unwrap();
    let taken = fake.store(&["a.svc"]).shared().await.unwrap();
    assert_eq!((taken.chain, taken.ca), (made.chain, made.ca));
    assert_eq!(fake.writes(), ["POST"]);
    assert_eq!(fake.secret.lock().unwrap().as_ref().unwrap()["type"], "kubernetes.io/tls");
}

#[tokio::test]
async fn one_for_other_names_is_replaced_and_the_rest_of_the_secret_stays() {
    let fake = Fake::default();
    let other = fake.store(&["b.svc"]).unshared().unwrap();
    *fake.secret.lock().unwrap() = Some(secret_with(&other, "1"));
    let made = fake.store(&["a.svc"]).shared().await.unwrap();
    assert_ne!(made.chain, other.chain);
    assert_eq!(fake.writes(), ["PUT"]);
    assert_eq!(fake.secret.lock().unwrap().as_ref().unwrap()["metadata"]["labels"]["kept"], "yes");
}

#[rstest]
#[case::none(json!({ "metadata": { "resourceVersion": "1" } }))]
#[case::garbage(json!({ "metadata": { "resourceVersion": "1" }, "data": { "ca.crt": "eA==", "tls.crt": "eA==", "tls.key": "eA==" } }))]
#[case::binary(json!({ "metadata": { "resourceVersion": "1" }, "data": { "ca.crt": "/w==", "tls.crt": "/w==", "tls.key": "/w==" } }))]
#[tokio::test]
async fn what_can_not_be_read_is_replaced(#[case] secret: Value) {
    let fake = Fake::default();
    *fake.secret.lock().unwrap() = Some(secret);
    fake.store(&["a.svc"]).shared().await.unwrap();
    assert_eq!(fake.writes(), ["PUT"]);
}

#[rstest]
#[case::both_create(false)]
#[case::both_replace(true)]
#[tokio::test]
async fn the_faster_replica_wins(#[case] exists: bool) {
    let fake = Fake::default();
    let store = fake.store(&["a.svc"]);
    if exists {
        let old = fake.store(&["b.svc"]).unshared().unwrap();
        *fake.secret.lock().unwrap() = Some(secret_with(&old, "1"));
    }
    let faster = store.unshared().unwrap();
    fake.in_between.lock().unwrap().push(Some(secret_with(&faster, "9")));
    assert_eq!(store.shared().await.unwrap().chain, faster.chain);
    assert_eq!(fake.writes().len(), 1);
}

#[tokio::test]
async fn a_secret_that_is_deleted_in_between_is_made_again() {
    let fake = Fake::default();
    let old = fake.store(&["b.svc"]).unshared().unwrap();
    *fake.secret.lock().unwrap() = Some(secret_with(&old, "1"));
    fake.in_between.lock().unwrap().push(None);
    fake.store(&["a.svc"]).shared().await.unwrap();
    assert_eq!(fake.writes(), ["PUT", "POST"]);
}

#[tokio::test]
async fn others_that_never_rest_are_an_error() {
    let fake = Fake::default();
    let old = fake.store(&["b.svc"]).unshared().unwrap();
    *fake.in_between.lock().unwrap() = (0..10).map(|i| Some(secret_with(&old, &format!("x{i}")))).collect();
    let error = fake.store(&["a.svc"]).shared().await.unwrap_err();
    assert!(matches!(error, StoreError::Contended), "{error}");
}
