use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use futures::stream::{iter, repeat_with};
use futures::{StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ListParams, PostParams, WatchParams};
use kube::client::ClientBuilder;
use kube::{Api, Client, Error};
use mcsa_runtime::errors;
use rstest::rstest;
use tower::service_fn;
use tower::util::MapRequestLayer;

const TOKEN: &str = "opaque-t0ken";
const CHUNK: usize = 16 << 10;

/// A client that sends the token to a server that always returns this body.
fn client<B>(
    code: u16,
    headers: &'static [(&'static str, &'static str)],
    body: impl Fn() -> B + Clone + Send + 'static,
) -> Client
where
    B: Body<Data = <kube::client::Body as Body>::Data> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let server = service_fn(move |_: Request<kube::client::Body>| {
        let mut response = Response::builder().status(code);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        std::future::ready(Ok::<_, Infallible>(response.body(body()).unwrap()))
    });
    let authorize = MapRequestLayer::new(|mut request: Request<_>| {
        let value = HeaderValue::try_from(format!("Bearer {TOKEN}")).unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
        request
    });
    ClientBuilder::new(server, "default").with_layer(&GuardLayer).with_layer(&authorize).build()
}

fn server(code: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Client {
    client(code, headers, move || kube::client::Body::from(body.as_bytes().to_vec()))
}

/// A client of a server that repeats this chunk for ever, and the number of chunks sent.
fn endless(code: u16, chunk: &'static [u8]) -> (Client, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let body = move || {
        let counted = counted.clone();
        StreamBody::new(repeat_with(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(chunk.into()))
        }))
    };
    (client(code, &[], body), sent)
}

async fn get(client: Client) -> Error {
    Api::<Namespace>::all(client).get("kube-system").await.unwrap_err()
}

#[tokio::test]
async fn success_is_passed_through() {
    let client = server(200, &[], r#"{"metadata": {"uid": "u"}}"#);
    let namespace = Api::<Namespace>::all(client).get("kube-system").await.unwrap();
    assert_eq!(namespace.metadata.uid.as_deref(), Some("u"));
}

#[rstest]
#[case::html_page(502, &[], "<html>your request: authorization: Bearer opaque-t0ken</html>", 502, "HTTP 502", 0)]
#[case::priority_and_fairness(
    429,
    &[("retry-after", "1")],
    "Too many requests, please try again later.\n",
    429,
    "HTTP 429",
    1
)]
#[case::redirection(
    307,
    &[("location", "https://opaque-t0ken.example")],
    "",
    307,
    "HTTP 307: redirects are not followed",
    0
)]
#[case::login_page(200, &[("content-type", "text/html")], "<html>opaque-t0ken</html>", 200, "HTTP 200", 0)]
#[case::unknown_code(999, &[], r#"{"metadata": {"uid": "u"}}"#, 999, "HTTP 999", 0)]
#[case::no_printable_text(500, &[], "\0\u{fffd}", 500, "HTTP 500", 0)]
#[case::status(
    404,
    &[],
    r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "opaque-t0ken is not found",
        "reason": "NotFound", "details": {"name": "s", "kind": "secrets"}, "code": 404}"#,
    404,
    "[redacted] is not found",
    0
)]
#[tokio::test]
async fn errors_become_statuses_without_tokens(
    #[case] code: u16,
    #[case] headers: &'static [(&'static str, &'static str)],
    #[case] body: &'static str,
    #[case] kept_code: u16,
    #[case] message: &str,
    #[case] retry_after: u32,
) {
    let error = get(server(code, headers, body)).await;
    assert!(!format!("{error:?}").contains(TOKEN));
    let Error::Api(status) = error else { panic!("{error:?}") };
    assert_eq!((status.code, status.message.as_str()), (kept_code, message));
    let (kind, seconds) =
        status.details.map(|details| (details.kind, details.retry_after_seconds)).unwrap_or_default();
    assert_eq!((kind.as_str(), seconds), (if code == 404 { "secrets" } else { "" }, retry_after));
}

#[tokio::test]
async fn endless_response_is_cut_off() {
    let (client, sent) = endless(201, &[b' '; CHUNK]);
    let accounts = Api::<ServiceAccount>::default_namespaced(client);
    let error = accounts.create_token_request("a", &PostParams::default(), &Default::default()).await;
    assert_eq!(errors::line(&error.unwrap_err()), "ServiceError: the response is longer than 1 MiB");
    assert_eq!(sent.load(Ordering::Relaxed), MIB / CHUNK + 1);
}

#[tokio::test]
async fn endless_list_page_is_cut_off() {
    let (client, sent) = endless(200, &[b' '; CHUNK]);
    let error = Api::<ServiceAccount>::all(client).list(&ListParams::default().limit(500)).await.unwrap_err();
    assert!(errors::line(&error).contains("a page of the list is longer than 8 MiB"), "{error}");
    assert_eq!(sent.load(Ordering::Relaxed), 8 * MIB / CHUNK + 1);
}

#[tokio::test]
async fn endless_refusal_is_cut_off() {
    let (client, sent) = endless(403, &[b' '; CHUNK]);
    let Error::Api(status) = get(client).await else { panic!("no refusal") };
    assert_eq!((status.code, status.message.as_str()), (403, "HTTP 403"));
    assert_eq!(sent.load(Ordering::Relaxed), REFUSAL / CHUNK + 1);
}

#[tokio::test]
async fn only_lines_of_a_watch_are_bounded() {
    let line = r#"{"type": "BOOKMARK", "object": {"kind": "ServiceAccount", "apiVersion": "v1", "metadata":
        {"resourceVersion": "1"}}}"#;
    let line = line.replace('\n', "") + "\n";
    let events = 2 * MIB / line.len();
    let body = move || {
        let lines = std::iter::repeat_n(line.clone().into_bytes(), events);
        let endless = std::iter::repeat(vec![b' '; CHUNK]);
        let chunks = lines.chain(endless).map(|chunk| Ok::<_, Infallible>(Frame::data(chunk.into())));
        StreamBody::new(iter(chunks))
    };
    let accounts = Api::<ServiceAccount>::all(client(200, &[], body));
    let watch = accounts.watch(&WatchParams::default(), "0").await.unwrap();
    let mut watch = watch.boxed();
    for _ in 0..events {
        watch.try_next().await.unwrap().unwrap();
    }
    let error = errors::line(&watch.try_next().await.unwrap_err());
    assert!(error.contains("a line of the watch is longer than 1 MiB"), "{error}");
}

#[rstest]
#[case("/api/v1/namespaces/kube-system", Bound::Call)]
#[case("/api/v1/serviceaccounts?&limit=500", Bound::List)]
#[case("/api/v1/namespaces/a/serviceaccounts?&watch=true&limit=500", Bound::Line)]
#[case("/api/v1/serviceaccounts?watch=1", Bound::Line)]
#[case("/api/v1/serviceaccounts?watch=false", Bound::Call)]
fn bound_depends_on_the_request(#[case] uri: &str, #[case] bound: Bound) {
    let request = |method| Request::builder().method(method).uri(uri).body(()).unwrap();
    assert_eq!(Bound::of(&request("GET")), bound);
    assert_eq!(Bound::of(&request("POST")), Bound::Call);
}
