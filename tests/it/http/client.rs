//! A client of the API over a cloud of its own.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header, request};
use cronplane::app::{App, Moment};
use cronplane::domain::access::{Author, PrincipalKind, Role};
use cronplane::domain::ids::TeamName;
use cronplane::domain::token::{Secret, Token};
use cronplane::http::{Doors, router};
use jiff::{SignedDuration, Timestamp};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::request::RequestContext;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::cloud::Cloud;
use crate::job::{at, definition};
use crate::task::snapshot;

pub(crate) const TOKEN: &str = "correct horse battery staple";
pub(super) const JOBS: &str = "/v1/teams/platform/jobs";
pub(super) const THE_JOB: &str = "/v1/teams/platform/jobs/nightly-report";

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) cloud: Cloud,
    pub(crate) app: App,
    pub(crate) router: Router,
    /// Whose requests these are; `None` for the administrator's, as any client sends them.
    author: Option<Author>,
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
    pub(crate) fn of_status(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The problem in the answer, which has everything that a problem has.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
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
pub(crate) fn errors(problem: &Value) -> Vec<(String, String)> {
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
        Api::over(cloud, app, doors())
    }

    pub(crate) fn over(cloud: Cloud, app: App, doors: Doors) -> Api {
        Api { router: router(app.clone(), doors), cloud, app, author: None }
    }

    /// An API with the job in it, which nobody is the author of.
    pub(crate) async fn with_job() -> Api {
        let api = Api::new();
        let team = TeamName::parse("platform").unwrap();
        api.app
            .job_create(team, definition(), Moment::begin(Duration::from_secs(20)))
            .await
            .unwrap();
        api.cloud.take_calls();
        api
    }

    /// The same API, whose requests are those of `author`: an administrator or somebody of `platform`,
    /// as API Gateway passes them on.
    pub(crate) fn on_behalf_of(&self, author: Author) -> Api {
        if author.kind == PrincipalKind::TeamToken {
            let token = token_of(&author);
            assert_eq!(author.id, token.principal_id());
            self.cloud.put_token(&token);
        }
        Api { author: Some(author), ..self.clone() }
    }

    /// A request with a token, and with what else is known of its author.
    pub(super) fn authorized(&self, method: &str, path: &str) -> request::Builder {
        let Some(author) = &self.author else {
            return authorized(method, path);
        };
        let token = match author.kind {
            PrincipalKind::TeamToken => secret().expose().to_owned(),
            _ => TOKEN.to_owned(),
        };
        let mut context = ApiGatewayV2httpRequestContext::default();
        context.request_id = Some(author.request_id.clone());
        context.http.source_ip = author.source_ip.clone();
        let agent = author.user_agent.clone().unwrap_or_default();
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::USER_AGENT, agent)
            .extension(RequestContext::ApiGatewayV2(context))
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
    pub(crate) async fn call(&self, method: &str, path: &str) -> Answer {
        self.send(self.authorized(method, path).body(Body::empty()).unwrap()).await
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
        let mut request =
            self.authorized(method, path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Sends a request with this value of `Authorization`, if any, and with this JSON as its body but for
    /// null, as API Gateway passes it on.
    pub(crate) async fn send_as(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let mut context = ApiGatewayV2httpRequestContext::default();
        context.request_id = Some("the request".to_owned());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .extension(RequestContext::ApiGatewayV2(context));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        };
        self.send(request.body(body).unwrap()).await
    }

    /// Puts a token with this role into the table: what its holder sends.
    pub(crate) fn holder(&self, team: &str, role: Role, seed: u8) -> String {
        let (secret, token) = token(team, role, seed);
        self.cloud.put_token(&token);
        bearer(&secret)
    }

    pub(super) async fn post_text(&self, path: &str, kind: &str, body: String) -> Answer {
        let request = self.authorized("POST", path).header(header::CONTENT_TYPE, kind);
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Takes an event of a task into the history.
    pub(crate) async fn ingest(&self, event: &Value) {
        self.app.ingest(&snapshot(event), at(0)).await.unwrap();
    }
}

/// Those of a deployment without a provider and without a limit.
pub(crate) fn doors() -> Doors {
    let hash = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    Doors { admin_token_sha256: hash, ..Doors::default() }
}

/// The token of everybody in `platform`.
pub(crate) fn secret() -> Secret {
    token("platform", Role::Viewer, 7).0
}

/// What the table has of the token of `author`.
fn token_of(author: &Author) -> Token {
    let (_, token) = token("platform", author.role.unwrap(), 7);
    Token { description: author.name.clone(), ..token }
}

/// A token out of this seed, and what the table has of it: good for an hour, its use noted just now.
pub(crate) fn token(team: &str, role: Role, seed: u8) -> (Secret, Token) {
    let team = TeamName::parse(team).unwrap();
    let secret = Secret::new(&team, [seed; 32]);
    let now = Timestamp::now();
    let token = Token {
        id: secret.id(),
        team_id: format!("id-of-{team}"),
        team,
        hash: secret.hash(),
        role,
        description: format!("a {}", role.as_str()),
        created_at: now,
        created_by: None,
        valid_until: now + SignedDuration::from_hours(1),
        revoked_at: None,
        last_used_at: Some(now),
    };
    (secret, token)
}

/// The value of `Authorization` that bears the token.
pub(crate) fn bearer(secret: &Secret) -> String {
    format!("Bearer {}", secret.expose())
}

pub(super) fn authorized(method: &str, path: &str) -> request::Builder {
    let token = format!("Bearer {TOKEN}");
    Request::builder().method(method).uri(path).header(header::AUTHORIZATION, token)
}
