//! What handlers take from a request, with our own answers when it is wrong.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::json;
use super::problem::Problem;
use crate::app::Precondition;
use crate::domain::fields::VIOLATIONS_MAX;
use crate::domain::ids::{JobKey, JobName, RunId, TeamName};
use crate::domain::token::TokenId;
use crate::domain::violation::{Violation, ViolationCode};

/// The largest body that is taken.
const BODY_MAX: usize = 256 * 1024;

/// A JSON body of at most 256 KiB.
pub(super) struct JsonBody(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type(
                "send the body as JSON, with `Content-Type: application/json`",
            ));
        }
        let bytes = body_bytes(request.into_body()).await?;
        json::from_slice(&bytes)
            .map(JsonBody)
            .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))
    }
}

/// A JSON body, or none, or null: an empty object then.
pub(super) struct OptionalBody(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for OptionalBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<OptionalBody, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = body_bytes(body).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(OptionalBody(Value::Object(Map::new())));
        }
        let request = Request::from_parts(parts, Body::from(bytes));
        let JsonBody(value) = JsonBody::from_request(request, state).await?;
        Ok(OptionalBody(if value.is_null() { Value::Object(Map::new()) } else { value }))
    }
}

/// No body, or an empty JSON object: an operation without parameters takes no others.
pub(super) struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<NoBody, Problem> {
        let bytes = body_bytes(request.into_body()).await?;
        match bytes.trim_ascii() {
            b"" | b"{}" => Ok(NoBody),
            _ => Err(Problem::bad_request("this operation takes no body")),
        }
    }
}

async fn body_bytes(body: Body) -> Result<bytes::Bytes, Problem> {
    to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| Problem::payload_too_large(format!("a body has at most {BODY_MAX} bytes")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The parameters in the paths of a team.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path in the OpenAPI document; TeamPath reads it")]
pub(super) struct TeamParams {
    /// The team
    team: String,
}

/// The parameters in the paths of a job.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path in the OpenAPI document; JobPath reads it")]
pub(super) struct JobParams {
    /// The team
    team: String,
    /// The job's name
    job: String,
}

/// The parameters in the paths of a run.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path in the OpenAPI document; RunPath reads it")]
pub(super) struct RunParams {
    /// The team
    team: String,
    /// The job's name
    job: String,
    /// The run's id
    run: String,
}

/// The parameters in the paths of a token.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path in the OpenAPI document; TokenPath reads it")]
pub(super) struct TokenParams {
    /// The team
    team: String,
    /// The token's id
    #[param(pattern = "^[0-9a-f]{16}$")]
    token: String,
}

/// The headers that a change can be conditioned with.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the headers in the OpenAPI document; Condition reads them")]
pub(super) struct ConditionParams {
    /// The ETag that it must have; `*` for any, if only it exists
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: only if there is none
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// The team in the path.
pub(super) struct TeamPath(pub(super) TeamName);

impl<S: Send + Sync> FromRequestParts<S> for TeamPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TeamPath, Problem> {
        let Path(team) = path::<String, S>(parts, state).await?;
        team_name(&team).map(TeamPath)
    }
}

/// The job in the path.
pub(super) struct JobPath(pub(super) JobKey);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<JobPath, Problem> {
        let Path((team, job)) = path::<(String, String), S>(parts, state).await?;
        job_key(&team, &job).map(JobPath)
    }
}

/// The run in the path.
pub(super) struct RunPath(pub(super) JobKey, pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RunPath, Problem> {
        let Path((team, job, run)) = path::<(String, String, String), S>(parts, state).await?;
        let key = job_key(&team, &job)?;
        let id = RunId::parse(&run)
            .ok_or_else(|| Problem::not_found(format!("run `{run}` does not exist")))?;
        Ok(RunPath(key, id))
    }
}

/// The token in the path, by its id.
pub(super) struct TokenPath(pub(super) TeamName, pub(super) TokenId);

impl<S: Send + Sync> FromRequestParts<S> for TokenPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TokenPath, Problem> {
        let Path((team, token)) = path::<(String, String), S>(parts, state).await?;
        let team = team_name(&team)?;
        let id = TokenId::parse(&token)
            .ok_or_else(|| Problem::not_found(format!("token `{token}` does not exist")))?;
        Ok(TokenPath(team, id))
    }
}

async fn path<T, S>(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem>
where
    T: serde::de::DeserializeOwned + Send,
    S: Send + Sync,
{
    Path::<T>::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::not_found(format!("there is nothing at {}", parts.uri.path())))
}

/// A name that can't be one names nothing.
fn team_name(team: &str) -> Result<TeamName, Problem> {
    TeamName::parse(team).map_err(|why| {
        Problem::not_found(format!("team `{team}` does not exist: a team's name {why}"))
    })
}

fn job_key(team: &str, job: &str) -> Result<JobKey, Problem> {
    let team = team_name(team)?;
    let job = JobName::parse(job).map_err(|why| {
        Problem::not_found(format!("job `{job}` does not exist: a job's name {why}"))
    })?;
    Ok(JobKey::new(team, job))
}

/// `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2), as far as they make sense
/// for a change.
pub(super) struct Condition(pub(super) Precondition);

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Condition, Problem> {
        let matches = entity_tags(&parts.headers, &header::IF_MATCH)?;
        let none_match = entity_tags(&parts.headers, &header::IF_NONE_MATCH)?;
        match (matches, none_match) {
            (None, None) => Ok(Condition(Precondition::None)),
            (Some(Tags::Any), None) => Ok(Condition(Precondition::Match(Vec::new()))),
            (Some(Tags::These(tags)), None) => Ok(Condition(Precondition::Match(tags))),
            (None, Some(Tags::Any)) => Ok(Condition(Precondition::Missing)),
            (None, Some(Tags::These(_))) => {
                Err(Problem::bad_request("If-None-Match: only `*` makes sense for a change"))
            }
            (Some(_), Some(_)) => {
                Err(Problem::bad_request("If-Match and If-None-Match don't go together"))
            }
        }
    }
}

enum Tags {
    Any,
    These(Vec<String>),
}

/// The entity tags in a header, without their quotes. Weak ones are left out: a change compares
/// strongly.
fn entity_tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let wrong =
        || Problem::bad_request(format!("{name} must be `*` or entity tags such as \"an-id.3\""));
    let mut tags = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| wrong())?;
        if value.trim() == "*" {
            return Ok(Some(Tags::Any));
        }
        let tags = tags.get_or_insert_with(Vec::new);
        for tag in value.split(',').map(str::trim) {
            let (weak, quoted) = match tag.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, tag),
            };
            let opaque = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let opaque = opaque.filter(|tag| !tag.contains('"')).ok_or_else(wrong)?;
            if !weak {
                tags.push(opaque.to_owned());
            }
        }
    }
    // A list of weak tags only matches nothing, which an empty list does not say.
    Ok(tags.map(
        |tags| if tags.is_empty() { Tags::These(vec![String::new()]) } else { Tags::These(tags) },
    ))
}

/// The query parameters, each to be asked for; what nobody asked for is a mistake that is told, as
/// a filter that is misspelt must not quietly filter nothing.
pub(super) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    violations: Vec<Violation>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params, Problem> {
        let Query(given) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::bad_request("the query string can't be read"))?;
        Ok(Params { given, known: Vec::new(), violations: Vec::new() })
    }
}

impl Params {
    /// The text of the parameter `name`.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = self.given.extract_if(.., |(given, _)| given == name);
        let first = values.next().map(|(_, value)| value);
        let repeated = values.next().is_some();
        drop(values);
        if repeated {
            self.wrong(name, ViolationCode::Duplicate, "is given more than once");
        }
        first
    }

    /// The texts of the parameter `name`, which can be repeated up to `max` times.
    pub(super) fn texts(&mut self, name: &'static str, max: usize) -> Vec<String> {
        self.known.push(name);
        let values = self.given.extract_if(.., |(given, _)| given == name);
        let mut texts: Vec<String> = values.map(|(_, value)| value).collect();
        if texts.len() > max {
            self.wrong(name, ViolationCode::Range, format!("is given more than {max} times"));
            texts.clear();
        }
        texts
    }

    /// The number `name`, from 1 to `max`.
    pub(super) fn count(&mut self, name: &'static str, max: i32) -> Option<i32> {
        let text = self.text(name)?;
        match text.parse::<i32>() {
            Ok(number) if (1..=max).contains(&number) => Some(number),
            _ => {
                let detail = format!("must be a number from 1 to {max}");
                self.wrong(name, ViolationCode::Range, detail);
                None
            }
        }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.wrong(name, ViolationCode::Format, "must be true or false");
                false
            }
        }
    }

    /// Whether `name` is true or false, if it is given.
    pub(super) fn either(&mut self, name: &'static str) -> Option<bool> {
        self.one_of(name, &[true, false], |one| if one { "true" } else { "false" })
    }

    /// A time of the years 1970 to 9999, whose text has the same length for all: they are compared as
    /// texts in the table.
    pub(super) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let time = text.parse().ok().filter(|time| *time >= Timestamp::UNIX_EPOCH);
        if time.is_none() {
            let detail = "must be a time in RFC 3339 of the years 1970 to 9999, \
                          such as 2026-11-23T14:00:00Z";
            self.wrong(name, ViolationCode::Format, detail);
        }
        time
    }

    /// One of `all`, by its name.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        all: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let found = all.iter().copied().find(|one| name_of(*one) == text);
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
            let detail = format!("must be one of {}", names.join(", "));
            self.wrong(name, ViolationCode::NotAllowed, detail);
        }
        found
    }

    pub(super) fn wrong(&mut self, name: &str, code: ViolationCode, detail: impl Into<String>) {
        self.violations.push(Violation::new(name, code, detail));
    }

    /// Everything that was wrong, if anything was.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let known = self.known.join("`, `");
        for (name, _) in std::mem::take(&mut self.given).into_iter().take(VIOLATIONS_MAX) {
            let detail = if known.is_empty() {
                "this operation takes no parameters".to_owned()
            } else {
                format!("`{name}` is not known here; known are `{known}`")
            };
            self.wrong(&name, ViolationCode::UnknownField, detail);
        }
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Problem::of_parameters(self.violations))
        }
    }
}
