//! An API server that has ConfigMaps in one namespace, answers as it is told to, and hangs as it is told to.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    Refuses(u16),
    Hangs,
}

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

struct State {
    mood: Mood,
    names: Vec<String>,
    /// What is answered to requests of that method and path, before all else.
    answers: Vec<(Method, String, Answer)>,
    requests: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Json(u16, Value),
    Text(u16, &'static str),
    Never,
}

impl Fake {
    /// A server with ConfigMaps of these names, and nobody who would change them.
    pub(super) fn with(names: &[&str]) -> Self {
        let state =
            State { mood: Mood::Answers, names: Vec::new(), answers: Vec::new(), requests: Vec::new() };
        let fake = Self(Arc::new(Mutex::new(state)));
        fake.set(names);
        fake
    }

    /// From now on, it has these, and answers.
    pub(super) fn set(&self, names: &[&str]) {
        let mut state = self.0.lock().unwrap();
        state.names = names.iter().map(|&name| name.to_owned()).collect();
        state.mood = Mood::Answers;
    }

    pub(super) fn refuse(&self, code: u16) {
        self.0.lock().unwrap().mood = Mood::Refuses(code);
    }

    pub(super) fn hang(&self) {
        self.0.lock().unwrap().mood = Mood::Hangs;
    }

    /// Answers so once; the last such answer for a path stays.
    pub(super) fn answer(&self, method: Method, path: &str, answer: Answer) {
        self.0.lock().unwrap().answers.push((method, path.to_owned(), answer));
    }

    /// What was asked for, and with what body; but how it is, which each member is asked.
    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self.0.lock().unwrap().requests.clone();
        requests.into_iter().filter(|request| !request.contains("/readyz")).collect()
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.respond(request).await) }
        });
        Client::new(service, "default")
    }

    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let answer = {
            let mut state = self.0.lock().unwrap();
            state.requests.push(format!("{} {} {body}", parts.method, parts.uri.path()));
            state.take(&parts.method, parts.uri.path())
        };
        let (code, body) = match answer {
            Answer::Json(code, value) => (code, value.to_string()),
            Answer::Text(code, text) => (code, text.to_owned()),
            Answer::Never => pending().await,
        };
        if is_watch && code == 200 {
            return pending().await;
        }
        let mut response = Response::new(Body::from(body.into_bytes()));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }
}

impl State {
    fn take(&mut self, method: &Method, path: &str) -> Answer {
        let matching = |(of, at, _): &(Method, String, Answer)| of == method && at == path;
        let count = self.answers.iter().filter(|answer| matching(answer)).count();
        if let Some(place) = self.answers.iter().position(matching) {
            return if count > 1 { self.answers.remove(place).2 } else { self.answers[place].2.clone() };
        }
        match self.mood {
            Mood::Hangs => Answer::Never,
            Mood::Refuses(code) => Answer::Json(code, status(code, "Refused", "", "")),
            Mood::Answers => {
                let object = |name: &String| {
                    json!({"metadata": {
                        "namespace": "default", "name": name, "uid": name, "resourceVersion": "1",
                    }})
                };
                let items: Vec<_> = self.names.iter().map(object).collect();
                Answer::Json(200, json!({"metadata": {"resourceVersion": "1"}, "items": items}))
            }
        }
    }
}

/// What an API server says of an object.
pub(super) fn status(code: u16, reason: &str, kind: &str, name: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": reason, "details": {"kind": kind, "name": name},
    })
}
