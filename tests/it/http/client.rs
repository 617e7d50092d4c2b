//! A client of the API over a cloud of its own.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header, request};
use cronplane::app::App;
use cronplane::domain::access::Author;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::cloud::Cloud;
use crate::job::{at, definition};
use crate::task::snapshot;

pub(super) const TOKEN: &str = "correct horse battery staple";
pub(super) const JOBS: &str = "/v1/teams/platform/jobs";
pub(super) const THE_JOB: &str = "/v1/teams/platform/jobs/nightly-report";

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) cloud: Cloud,
    pub(crate) app: App,
    pub(super) router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    #[track_caller]
    pub(super) fn of_status(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The problem in the answer, which has everything that a problem has.
    #[track_caller]
    pub(super) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        let members: Vec<&String> = problem.as_object().unwrap().keys().collect();
        let wanted =
            ["type", "title", "status", "detail", "instance", "code", "request_id", "errors"];
        assert_eq!(members, wanted);
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["request_id"], self.headers["x-request-id"].to_str().unwrap());
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }
}

/// Pointer and code of everything that a problem says is wrong.
pub(super) fn errors(problem: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = problem["errors"].as_array().unwrap().iter();
    errors
        .map(|one| {
            assert!(!text(&one["detail"]).is_empty());
            (text(&one["pointer"]), text(&one["code"]))
        })
        .collect()
}

impl Api {
    pub(crate) fn new() -> Api {
        let cloud = Cloud::default();
        let app = cloud.app();
        Api { router: cronplane::http::router(app.clone(), &token_hash()), cloud, app }
    }

    /// An API with the job in it.
    pub(crate) async fn with_job() -> Api {
        let api = Api::new();
        api.post(JOBS, definition()).await.of_status(201);
        api.cloud.take_calls();
        api
    }

    /// The same API, whose requests are those of `author`.
    pub(crate) fn on_behalf_of(&self, author: Author) -> Api {
        let app = self.app.on_behalf_of(author);
        Api { router: cronplane::http::router(app.clone(), &token_hash()), app, ..self.clone() }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        }
    }

    /// Sends a request with the token and without a body.
    pub(super) async fn call(&self, method: &str, path: &str) -> Answer {
        self.send(authorized(method, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_text(path, "application/json", body.to_string()).await
    }

    /// Sends a JSON body, with these headers besides.
    pub(crate) async fn send_json(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut request = authorized(method, path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(super) async fn post_text(&self, path: &str, kind: &str, body: String) -> Answer {
        let request = authorized("POST", path).header(header::CONTENT_TYPE, kind);
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Takes an event of a task into the history.
    pub(crate) async fn ingest(&self, event: &Value) {
        self.app.ingest(&snapshot(event), at(0)).await.unwrap();
    }
}

fn token_hash() -> String {
    Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn authorized(method: &str, path: &str) -> request::Builder {
    let token = format!("Bearer {TOKEN}");
    Request::builder().method(method).uri(path).header(header::AUTHORIZATION, token)
}
