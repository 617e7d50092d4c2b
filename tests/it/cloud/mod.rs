//! AWS, as far as Cronplane uses it: one state behind the real SDK clients.
//!
//! A call is answered by a function of this module from its typed input. A success is the typed
//! output; a refusal is the HTTP answer that the service would give, so that the SDK's own reading
//! of errors is part of every test. Every call is recorded, and any can be made to fail: before it
//! has its effect, or after, when only its answer is lost.

mod dynamodb;
mod ecs;
mod events;
mod expression;
mod iam;
mod logs;
mod quotas;
mod scheduler;
mod sns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_mocks::{MockResponse, Rule as MockRule, RuleBuilder};
use aws_smithy_types::body::SdkBody;
use cronplane::app::App;
use cronplane::domain::deployment::{Deployment, Network};
use cronplane::domain::ids::TeamName;
use cronplane::domain::schedule::EngineChoice;
use cronplane::domain::team::{Guardrails, Team, TeamDefinition};
use cronplane::domain::token::Token;
use cronplane::fleet::Fleet;
use cronplane::provision::{Clients, Provisioner};
use cronplane::store::Store;
use serde_json::{Value, json};

pub(crate) use dynamodb::{Item, Request, Table};
pub(crate) use ecs::{Cluster, Ecs};
pub(crate) use events::{Events, Rule, TargetRefusal};
pub(crate) use iam::{Iam, Role};
pub(crate) use logs::{LogGroup, Logs};
pub(crate) use quotas::Quotas;
pub(crate) use scheduler::{GROUP, Scheduler};
pub(crate) use sns::{Sns, Topic};

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "us-west-2";
pub(crate) const STACK: &str = "cronplane";
const TABLE: &str = "cronplane-table";

pub(crate) type Tags = BTreeMap<String, String>;

/// The deployment that the fake's apps belong to.
pub(crate) fn deployment() -> Deployment {
    Deployment {
        stack: STACK.to_owned(),
        partition: "aws".to_owned(),
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        url_suffix: "amazonaws.com".to_owned(),
        public_url: "https://api.example.com".to_owned(),
        default_network: Network {
            subnets: vec!["subnet-0a".to_owned(), "subnet-0b".to_owned()],
            security_groups: vec!["sg-0a".to_owned()],
            assign_public_ip: true,
        },
        default_cluster: None,
        default_subscribers: Vec::new(),
        boundary_arn: format!("arn:aws:iam::{ACCOUNT}:policy/boundary"),
        dead_letter_queue_arn: arn("sqs", "schedule-dead-letters"),
        start_queue_arn: arn("sqs", "starts"),
        alert_queue_arn: arn("sqs", "alerts"),
        engine: EngineChoice::ByNeed,
        schedule_group: GROUP.to_owned(),
        passable_roles: vec![format!("arn:aws:iam::{ACCOUNT}:role/app-*")],
        readable_secrets: vec![
            arn("secretsmanager", "secret:app/*"),
            arn("ssm", "parameter/app/*"),
        ],
        allow_secret_environment: false,
        history_days: 400,
        audit_days: 400,
    }
}

/// `arn:aws:<service>:<region>:<account>:<resource>`
pub(crate) fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

/// One account's AWS; clones share it.
#[derive(Clone)]
pub(crate) struct Cloud(Arc<Mutex<State>>);

impl Default for Cloud {
    /// An account with nothing in it but two teams that may do what the deployment allows.
    fn default() -> Cloud {
        let cloud = Cloud(Arc::default());
        for name in ["platform", "other"] {
            cloud.put_team(&wide_team(name));
        }
        cloud
    }
}

/// A team whose guardrails narrow nothing.
pub(crate) fn wide_team(name: &str) -> Team {
    let any = || vec!["*".to_owned()];
    let created_at = "2026-11-23T13:00:00Z".parse().unwrap();
    Team {
        id: format!("id-of-{name}"),
        name: TeamName::parse(name).unwrap(),
        definition: TeamDefinition {
            guardrails: Guardrails {
                task_roles: any(),
                execution_roles: any(),
                clusters: any(),
                secrets: any(),
                file_systems: any(),
                ..Guardrails::default()
            },
            ..TeamDefinition::default()
        },
        version: 1,
        jobs: 0,
        created_at,
        updated_at: created_at,
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) ecs: Ecs,
    pub(crate) events: Events,
    pub(crate) iam: Iam,
    pub(crate) scheduler: Scheduler,
    pub(crate) sns: Sns,
    pub(crate) logs: Logs,
    pub(crate) quotas: Quotas,
    calls: Vec<Call>,
    failures: Vec<Failure>,
}

/// A call that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Such as `ecs:RunTask`.
    pub(crate) operation: &'static str,
    pub(crate) writes: bool,
}

/// What a service answers instead of doing what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    code: String,
    message: String,
    /// What some errors carry besides.
    more: Value,
}

/// An answer that is planned, in place of the real one.
struct Failure {
    when: When,
    times: usize,
    refusal: Refusal,
    effect: Effect,
}

enum When {
    Operation(&'static str),
    /// The call that comes after so many others.
    After(usize),
}

/// Whether a call that fails was carried out all the same, and only its answer lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Done,
}

/// What can become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    LostBefore,
    LostAfter,
    Throttled,
    Broken,
    Denied,
}

impl Trouble {
    pub(crate) const ALL: [Trouble; 5] = [
        Trouble::LostBefore,
        Trouble::LostAfter,
        Trouble::Throttled,
        Trouble::Broken,
        Trouble::Denied,
    ];
}

/// A durable resource, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) tags: Tags,
    /// All that is known of it, as text.
    pub(crate) content: String,
}

pub(crate) fn refusal(code: &str, message: impl Into<String>) -> Refusal {
    Refusal { code: code.to_owned(), message: message.into(), more: Value::Null }
}

impl Cloud {
    /// An app over this cloud.
    pub(crate) fn app(&self) -> App {
        self.app_of(deployment())
    }

    pub(crate) fn app_of(&self, deployment: Deployment) -> App {
        let clients = self.clients();
        App {
            store: self.store(),
            fleet: Fleet::new(clients.ecs.clone(), clients.logs.clone()),
            provisioner: Provisioner::new(clients),
            deployment,
            author: None,
        }
    }

    pub(crate) fn clients(&self) -> Clients {
        Clients {
            ecs: ecs::client(self),
            events: events::client(self),
            iam: iam::client(self),
            logs: logs::client(self),
            scheduler: scheduler::client(self),
            sns: sns::client(self),
            quotas: quotas::client(self),
            dry_run: None,
        }
    }

    /// Puts a team into the table behind everybody's back.
    pub(crate) fn put_team(&self, team: &Team) {
        let mut item: Item = serde_dynamo::to_item(team).unwrap();
        item.insert("pk".to_owned(), AttributeValue::S("TEAMS".to_owned()));
        item.insert("sk".to_owned(), AttributeValue::S(team.name.to_string()));
        self.state().table.put(item);
    }

    /// Puts a token into the table behind everybody's back.
    pub(crate) fn put_token(&self, token: &Token) {
        let mut item: Item = serde_dynamo::to_item(token).unwrap();
        item.insert("pk".to_owned(), AttributeValue::S(format!("TEAM#{}", token.team)));
        item.insert("sk".to_owned(), AttributeValue::S(format!("TOKEN#{}", token.id.as_str())));
        self.state().table.put(item);
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(dynamodb::client(self), TABLE)
    }

    /// The state, to look at or to change behind everybody's back.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic in a handler ends its test; others have a cloud of their own.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` calls of `operation` are refused.
    pub(crate) fn fail(&self, operation: &'static str, times: usize, code: &str, message: &str) {
        self.state().failures.push(Failure {
            when: When::Operation(operation),
            times,
            refusal: refusal(code, message),
            effect: Effect::None,
        });
    }

    /// The next `times` conditions of updates do not hold, as if somebody else had written the
    /// item between, which is told as it stands now.
    pub(crate) fn contend(&self, times: usize, pk: &str, sk: &str) {
        let mut state = self.state();
        let more = json!({"Item": dynamodb::json_of(state.table.item(pk, sk).unwrap())});
        state.failures.push(Failure {
            when: When::Operation("dynamodb:UpdateItem"),
            times,
            refusal: Refusal { more, ..refusal("ConditionalCheckFailedException", "contention") },
            effect: Effect::None,
        });
    }

    /// Of the calls from now on, the one after `skipped` others gets no answer but an error of the
    /// service, whatever call it is.
    pub(crate) fn lose(&self, skipped: usize, effect: Effect) {
        self.state().failures.push(Failure {
            when: When::After(skipped),
            times: 1,
            refusal: refusal("InternalError", "An internal error occurred."),
            effect,
        });
    }

    /// Of the calls from now on, the one after `skipped` others is in trouble, whatever call it is.
    pub(crate) fn trouble(&self, skipped: usize, trouble: Trouble) {
        let (code, message, effect) = match trouble {
            Trouble::LostBefore => ("InternalError", "no answer", Effect::None),
            Trouble::LostAfter => ("InternalError", "no answer", Effect::Done),
            Trouble::Throttled => ("ThrottlingException", "Rate exceeded", Effect::None),
            Trouble::Broken => ("ServerException", "Service Unavailable.", Effect::None),
            Trouble::Denied => {
                let message = "User: x is not authorized to perform this on resource: y";
                ("AccessDeniedException", message, Effect::None)
            }
        };
        let refusal = refusal(code, message);
        let when = When::After(skipped);
        self.state().failures.push(Failure { when, times: 1, refusal, effect });
    }

    /// What was planned to fail fails no more.
    pub(crate) fn mend(&self) {
        self.state().failures.clear();
    }

    /// Whether every failure that was planned has happened.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failures.is_empty()
    }

    /// The calls since the last time that this was asked.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// The operations of calls that change something outside the table, since the last time.
    pub(crate) fn take_writes(&self) -> Vec<&'static str> {
        self.take_calls()
            .into_iter()
            .filter(|call| call.writes && !call.operation.starts_with("dynamodb:"))
            .map(|call| call.operation)
            .collect()
    }

    /// Every durable resource by its kind and name.
    pub(crate) fn resources(&self) -> BTreeMap<String, Standing> {
        let state = self.state();
        let mut all = BTreeMap::new();
        all.extend(state.ecs.standing());
        all.extend(state.events.standing());
        all.extend(state.iam.standing());
        all.extend(state.scheduler.standing());
        all.extend(state.sns.standing());
        all.extend(state.logs.standing());
        all
    }

    fn read<I, O, E>(
        &self,
        operation: &'static str,
        rule: RuleBuilder<I, O, E>,
        handler: fn(&mut State, &I) -> Result<O, Refusal>,
    ) -> MockRule
    where
        I: std::fmt::Debug + Send + Sync + 'static,
        O: std::fmt::Debug + Send + Sync + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let writes = false;
        self.rule(Call { operation, writes }, rule, handler)
    }

    fn write<I, O, E>(
        &self,
        operation: &'static str,
        rule: RuleBuilder<I, O, E>,
        handler: fn(&mut State, &I) -> Result<O, Refusal>,
    ) -> MockRule
    where
        I: std::fmt::Debug + Send + Sync + 'static,
        O: std::fmt::Debug + Send + Sync + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let writes = true;
        self.rule(Call { operation, writes }, rule, handler)
    }

    fn rule<I, O, E>(
        &self,
        call: Call,
        rule: RuleBuilder<I, O, E>,
        handler: fn(&mut State, &I) -> Result<O, Refusal>,
    ) -> MockRule
    where
        I: std::fmt::Debug + Send + Sync + 'static,
        O: std::fmt::Debug + Send + Sync + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let cloud = self.clone();
        rule.then_compute_response(move |input| {
            let mut state = cloud.state();
            state.calls.push(call);
            let answer = match state.planned_failure(call.operation) {
                None => handler(&mut state, input),
                Some((refusal, effect)) => {
                    if effect == Effect::Done {
                        // What it would have answered is lost.
                        drop(handler(&mut state, input));
                    }
                    Err(refusal)
                }
            };
            match answer {
                Ok(output) => MockResponse::Output(output),
                Err(refusal) => MockResponse::Http(refusal.answer(call.operation)),
            }
        })
    }
}

impl State {
    fn planned_failure(&mut self, operation: &str) -> Option<(Refusal, Effect)> {
        let mut found = None;
        for failure in &mut self.failures {
            let now = match &mut failure.when {
                When::Operation(of) => *of == operation,
                When::After(0) => true,
                When::After(skipped) => {
                    *skipped -= 1;
                    false
                }
            };
            if now && found.is_none() {
                failure.times -= 1;
                found = Some((failure.refusal.clone(), failure.effect));
            }
        }
        self.failures.retain(|failure| failure.times > 0);
        found
    }
}

impl Refusal {
    /// The answer in the protocol of the operation's service.
    fn answer(&self, operation: &str) -> HttpResponse {
        // AWS Query's XML, or AWS JSON 1.0 and 1.1.
        let body = if operation.starts_with("iam:") || operation.starts_with("sns:") {
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message>\
                 </Error><RequestId>0</RequestId></ErrorResponse>",
                self.code,
                self.message.replace('&', "&amp;").replace('<', "&lt;")
            )
        } else {
            let mut body = json!({"__type": self.code, "message": self.message});
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), &self.more) {
                body.extend(more.clone());
            }
            body.to_string()
        };
        let status: u16 = match self.code.starts_with("Internal") || self.code == "ServerException"
        {
            true => 500,
            false => 400,
        };
        HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
    }
}

/// All that is known of a resource, as text that is the same whenever it is the same: in sorted
/// lines, as the SDK's maps have no order.
fn content_of(resource: &dyn std::fmt::Debug) -> String {
    let text = format!("{resource:#?}");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A part of `all`, `size` at most, from where `token` says, and the token of the next part.
fn page<T: Clone>(all: &[T], token: Option<&str>, size: usize) -> (Vec<T>, Option<String>) {
    let from: usize = token.map_or(0, |token| token.parse().unwrap());
    let to = all.len().min(from + size);
    (all[from..to].to_vec(), (to < all.len()).then(|| to.to_string()))
}

/// The client of an SDK crate whose calls are answered by `rules`.
macro_rules! client {
    ($sdk:ident, $rules:expr) => {{
        let mut interceptor = aws_smithy_mocks::MockResponseInterceptor::new()
            .rule_mode(aws_smithy_mocks::RuleMode::MatchAny);
        for rule in &$rules {
            interceptor = interceptor.with_rule(rule);
        }
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::latest())
                .region($sdk::config::Region::new(crate::cloud::REGION))
                .allow_no_auth()
                // The SDK's own retries are not ours to test.
                .retry_config($sdk::config::retry::RetryConfig::disabled())
                .http_client(aws_smithy_mocks::create_mock_http_client())
                .interceptor(interceptor)
                .build(),
        )
    }};
}
use client;
