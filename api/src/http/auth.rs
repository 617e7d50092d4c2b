//! Who asks, and whether they may.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::{SignedDuration, Timestamp};
use lambda_http::request::RequestContext;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::access::least_role;
use super::problem::Problem;
use super::{Api, RequestId};
use crate::app::Recognised;
use crate::domain::access::{Access, Author, Principal, PrincipalKind, Role};
use crate::domain::audit::Target;
use crate::domain::ids::{JobName, RunId, TeamName};
use crate::domain::token::{PREFIX, Secret, TokenId};
use crate::error::Error;

/// So long an instance goes by what it read of a token: how late a revocation can be at most.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(30);
/// Tokens that an instance remembers.
const KNOWN_MAX: usize = 1_000;
/// For the entry of what was denied; without it the answer is given all the same.
const DENIAL_TIME: Duration = Duration::from_secs(5);
/// Characters of a `User-Agent` that are kept.
const USER_AGENT_MAX: usize = 256;

/// The hash of the administrator's token.
#[derive(Clone)]
pub(super) struct AdminToken(Option<[u8; 32]>);

impl AdminToken {
    /// From 64 hexadecimal digits; anything else admits nobody.
    pub(super) fn from_hex(digits: &str) -> AdminToken {
        AdminToken(hash_from_hex(digits))
    }

    /// Compares hashes in constant time: how long it takes tells nothing of the token.
    fn admits(&self, token: &[u8]) -> bool {
        let hash: [u8; 32] = Sha256::digest(token).into();
        self.0.is_some_and(|wanted| bool::from(wanted.ct_eq(&hash)))
    }
}

fn hash_from_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

/// The team tokens that this instance has seen lately, by their hashes.
#[derive(Default)]
pub(super) struct KnownTokens(Mutex<HashMap<String, KnownToken>>);

struct KnownToken {
    read_at: Timestamp,
    valid_until: Timestamp,
    principal: Principal,
}

impl KnownToken {
    /// By the clock on the wall: a monotonic one need not go on while Lambda has the instance frozen, and
    /// a revoked token would be good for longer. Where the clock was set back, it is read again.
    fn is_fresh(&self, now: Timestamp) -> bool {
        (SignedDuration::ZERO..KNOWN_FOR).contains(&now.duration_since(self.read_at))
    }
}

impl KnownTokens {
    fn get(&self, hash: &str, now: Timestamp) -> Option<Principal> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = known.get(hash)?;
        let good = token.is_fresh(now) && now < token.valid_until;
        good.then(|| token.principal.clone())
    }

    /// Remembers what the table said at `read_at`.
    fn put(&self, hash: String, read_at: Timestamp, valid_until: Timestamp, principal: Principal) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, token| token.is_fresh(read_at));
        }
        if known.len() < KNOWN_MAX {
            known.insert(hash, KnownToken { read_at, valid_until, principal });
        }
    }
}

/// The API on behalf of whoever sent the request.
pub(super) struct Acting(pub(super) Api);

impl FromRequestParts<Api> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Acting, Problem> {
        // Every request below `/v1` has one, or does not come so far.
        let author = parts.extensions.get::<Author>().ok_or_else(Problem::internal)?;
        Ok(Acting(api.on_behalf_of(author.clone())))
    }
}

/// Whoever sent the request.
pub(super) struct Caller(pub(super) Principal);

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Caller, Problem> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(Problem::internal)?;
        Ok(Caller(principal.clone()))
    }
}

impl Api {
    /// Lets whoever sent the request go on only if they may do `row` of the table in the request's team,
    /// besides the operation itself.
    pub(super) fn require(&self, row: &str) -> Result<(), Problem> {
        let role = self.app.author.as_ref().and_then(|author| author.role);
        match (role, least_role(row)) {
            (Some(role), Some(least)) if role >= least => Ok(()),
            (role, least) => Err(too_small(role, least)),
        }
    }
}

fn too_small(role: Option<Role>, least: Option<Role>) -> Problem {
    if least == Some(Role::Administrator) {
        return Problem::forbidden(
            "this takes the role `administrator`, which is one in all teams",
        );
    }
    let name = |role: Option<Role>| role.map_or("none", Role::as_str);
    Problem::forbidden(format!(
        "this takes the role `{}` in the team; yours is `{}`",
        name(least),
        name(role)
    ))
}

/// Lets a request below `/v1` through only if it bears a token of somebody who may do what it asks for,
/// whether there is something at its path or not, and who has not sent too many.
pub(super) async fn require_role(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path != "/v1" && !path.starts_with("/v1/") {
        return next.run(request).await;
    }
    let recognised = match token_of(request.headers()) {
        Ok(token) => {
            let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
            authenticate(&api, &token, writes).await
        }
        Err(problem) => Err(problem),
    };
    match recognised {
        Ok(principal) => api.limited(&principal, as_allowed(&api, &principal, request, next)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The answer to a request of `principal`, by the table of roles.
async fn as_allowed(
    api: &Api,
    principal: &Principal,
    mut request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let operation = matched.and_then(|path| api.operations.find(request.method(), path.as_str()));
    let Some(operation) = operation.map(str::to_owned) else {
        // Nothing is there, or not for this method: the same to everybody who was recognised.
        return next.run(request).await;
    };
    let (team, target) = named(request.uri().path());
    let role = match team {
        Some(name) => TeamName::parse(name).ok().and_then(|name| principal.access.role_in(&name)),
        None => Some(Role::Viewer),
    };
    let role = if principal.access.administrator { Some(Role::Administrator) } else { role };
    let team_name = team.map(str::to_owned);
    let author = author(&request, principal, role, &operation);
    // A dry run writes nothing, whatever comes of it.
    let query = request.uri().query().unwrap_or_default();
    let dry_run = query.split('&').any(|one| one == "dry_run=true");
    let writes = !dry_run && !matches!(*request.method(), Method::GET | Method::HEAD);
    let api = api.on_behalf_of(author.clone());
    let refused = match (role, least_role(&operation)) {
        (Some(role), Some(least)) if role >= least => None,
        (Some(_), Some(least)) => Some(too_small(role, Some(least))),
        (None, _) => {
            let name = team_name.as_deref().unwrap_or_default();
            Some(Error::NotFound(format!("team `{name}`")).into())
        }
        (_, None) => {
            tracing::error!(operation, "this operation has no row in the table of roles");
            Some(Problem::forbidden("nobody may do this"))
        }
    };
    let response = match refused {
        Some(problem) => problem.into_response(),
        None => {
            request.extensions_mut().insert(principal.clone());
            request.extensions_mut().insert(author);
            next.run(request).await
        }
    };
    let problem = response.extensions().get::<Problem>().filter(|_| writes);
    if let Some(reason) = problem.and_then(|problem| problem.denial(role.is_none())) {
        tell_denied(&api, team_name.as_deref(), target, &reason).await;
    }
    response
}

/// Writes an attempt that was denied into the team's log. That it can't be written lets nobody in: it is
/// logged, and the answer stays.
async fn tell_denied(api: &Api, team: Option<&str>, target: Target, reason: &str) {
    // There is no log of no team.
    let Some(team) = team.and_then(|name| TeamName::parse(name).ok()) else {
        let author = api.app.author.as_ref();
        let by = author.map(|author| (author.kind.as_str(), &*author.id));
        let from = author.and_then(|author| author.source_ip.as_deref());
        tracing::warn!(?by, from, reason, "denied");
        return;
    };
    match timeout(DENIAL_TIME, api.app.audit_denied(&team, target, reason, api.moment())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, %team, reason, "a denied attempt is not in the audit log");
        }
        Err(_) => {
            tracing::error!(%team, reason, "a denied attempt is not in the audit log: no time left");
        }
    }
}

/// The token that a request with these headers bears.
fn token_of(headers: &HeaderMap) -> Result<Vec<u8>, Problem> {
    match headers.get(header::AUTHORIZATION).map(|value| bearer(value.as_bytes())) {
        Some(Some(token)) => Ok(token.to_vec()),
        Some(None) => {
            Err(Problem::unauthorized("the header must read `Authorization: Bearer <token>`"))
        }
        None => Err(Problem::unauthorized("send a token: `Authorization: Bearer <token>`")),
    }
}

/// Who bears `token`, with which something may be changed if `writes`.
async fn authenticate(api: &Api, token: &[u8], writes: bool) -> Result<Principal, Problem> {
    if api.admin.admits(token) {
        return Ok(Principal {
            kind: PrincipalKind::StackToken,
            id: "administrator".to_owned(),
            name: "the stack's administrator token".to_owned(),
            access: Access::administrator(),
        });
    }
    let unknown = || Problem::unauthorized("this token is not known");
    let text = std::str::from_utf8(token).map_err(|_| unknown())?;
    if text.starts_with(PREFIX) {
        // What is no token costs no read.
        let (secret, team) = Secret::parse(text).ok_or_else(unknown)?;
        return team_token(api, &team, &secret, writes).await;
    }
    api.sign_in(text).await.unwrap_or_else(|| Err(unknown()))
}

async fn team_token(
    api: &Api,
    team: &TeamName,
    secret: &Secret,
    writes: bool,
) -> Result<Principal, Problem> {
    let hash = secret.hash();
    let moment = api.moment();
    // A token that was revoked must not make another in the meantime, nor change anything else.
    if !writes && let Some(principal) = api.known_tokens.get(&hash, moment.now) {
        return Ok(principal);
    }
    match api.app.recognise(team, secret, moment).await? {
        Recognised::Token(token) => {
            let principal = Principal {
                kind: PrincipalKind::TeamToken,
                id: token.principal_id(),
                name: token.description.clone(),
                access: Access::of_team(token.team, token.role),
            };
            api.known_tokens.put(hash, moment.now, token.valid_until, principal.clone());
            Ok(principal)
        }
        Recognised::Unknown => Err(Problem::unauthorized("this token is not known")),
        Recognised::Expired => Err(Problem::unauthorized("this token has expired")),
        Recognised::Revoked => Err(Problem::unauthorized("this token was revoked")),
    }
}

fn author(request: &Request, principal: &Principal, role: Option<Role>, operation: &str) -> Author {
    let extensions = request.extensions();
    let source_ip = match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        _ => None,
    };
    let user_agent = request.headers().get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|value| value.to_str().ok());
    Author {
        kind: principal.kind,
        id: principal.id.clone(),
        name: principal.name.clone(),
        role,
        source_ip,
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_MAX).collect()),
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        operation: operation.to_owned(),
    }
}

/// The team in a path, and what below it the request is about.
fn named(path: &str) -> (Option<&str>, Target) {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let ["teams", team, rest @ ..] = &parts[..] else {
        return (None, Target::default());
    };
    let mut target = Target::default();
    match rest {
        ["jobs", job, "runs", run, ..] => {
            target.job = JobName::parse(job).ok();
            target.run = RunId::parse(run).map(|id| id.to_string());
        }
        ["jobs", job, ..] => target.job = JobName::parse(job).ok(),
        ["tokens", token] => {
            target.token = TokenId::parse(token).map(|id| id.as_str().to_owned());
        }
        _ => {}
    }
    (Some(team), target)
}

/// The token in the value of an `Authorization` header. RFC 6750; RFC 9110 takes the scheme in any
/// case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_admitted() {
        // printf %s secret | sha256sum
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let token = AdminToken::from_hex(hash);
        assert!(token.admits(b"secret"));
        assert!(!token.admits(b"Secret") && !token.admits(b"") && !token.admits(hash.as_bytes()));
        for digits in ["", "00", &"zz".repeat(32), &"ü".repeat(32)] {
            assert!(!AdminToken::from_hex(digits).admits(b""), "{digits:?}");
        }
    }

    fn principal(id: usize) -> Principal {
        Principal {
            kind: PrincipalKind::TeamToken,
            id: format!("platform/{id}"),
            name: "x".to_owned(),
            access: Access::default(),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
    }

    #[test]
    fn a_token_is_known_for_30_seconds_and_not_beyond_its_end() {
        let known = KnownTokens::default();
        known.put("a".to_owned(), at(0), at(3_600_000), principal(1));
        known.put("b".to_owned(), at(0), at(10_000), principal(2));
        let is_known = |hash, millis| known.get(hash, at(millis)).is_some();
        assert_eq!(known.get("a", at(0)), Some(principal(1)));
        assert!(is_known("a", 29_999) && !is_known("a", 30_000));
        assert!(is_known("b", 9_999) && !is_known("b", 10_000));
        assert!(!is_known("c", 0));
        // Where the clock was set back, the table is asked.
        assert!(!is_known("a", -1));
        // Being asked for does not make it younger; being read again does.
        known.put("a".to_owned(), at(30_000), at(3_600_000), principal(1));
        assert!(is_known("a", 59_999) && !is_known("a", 60_000));
    }

    #[test]
    fn an_instance_remembers_a_thousand_tokens_and_forgets_the_old_ones_for_others() {
        let known = KnownTokens::default();
        let put = |id: usize, millis| {
            known.put(id.to_string(), at(millis), at(3_600_000), principal(id));
        };
        for id in 0..KNOWN_MAX {
            put(id, 0);
        }
        put(KNOWN_MAX, 10_000);
        assert_eq!(known.get(&KNOWN_MAX.to_string(), at(10_000)), None);
        assert_eq!(known.get("0", at(10_000)), Some(principal(0)));
        put(KNOWN_MAX, 30_000);
        assert_eq!(known.get(&KNOWN_MAX.to_string(), at(30_000)), Some(principal(KNOWN_MAX)));
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_scheme_is_taken_in_any_case() {
        assert_eq!(bearer(b"bEARER x"), Some(&b"x"[..]));
        for bad in [&b"Bearer"[..], b"Bearer ", b"Basic xxx", b"x", b""] {
            assert_eq!(bearer(bad), None);
        }
    }

    #[test]
    fn a_path_names_a_team_and_what_is_below_it() {
        let (team, target) = named("/v1/teams/platform/jobs/nightly/runs/20261123T140000-0a/stop");
        assert_eq!(team, Some("platform"));
        assert_eq!(target.job, JobName::parse("nightly").ok());
        assert_eq!(target.run.as_deref(), Some("20261123T140000-0a"));
        assert_eq!(named("/v1/teams/platform/jobs/nightly/runs/x").1.run, None);
        assert_eq!(named("/v1/teams/platform/tokens/x").1.token, None);
        assert_eq!(named("/v1/teams").0, None);
        assert_eq!(named("/v1/teams/NO/jobs").0, Some("NO"));
        assert_eq!(named("/v1/me").0, None);
    }
}
