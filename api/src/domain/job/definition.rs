//! The definition of a job: its fields, their defaults and their bounds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::deployment::{Deployment, Network};
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::{Fields, read_object};
use crate::domain::ids::JobName;
use crate::domain::schedule::Schedule;
use crate::domain::violation::ViolationCode::{
    Duplicate, Format, NotAllowed, Range, Required, Type,
};
use crate::domain::violation::{Violation, pointer_token};

/// The environment variable in which a scheduled task finds the time it was meant to start, in
/// RFC 3339.
pub const SCHEDULED_TIME: &str = "SCHEDULED_TIME";

/// The tag that says who made a resource; its value is `cronplane`.
pub const MANAGED_BY_TAG: &str = "managed-by";
/// What the other tags of ours start with.
pub const MANAGED_TAG_PREFIX: &str = "cronplane:";

/// CloudWatch Logs API Reference, PutRetentionPolicy, `retentionInDays`.
const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];
const DEFAULT_RETENTION_DAYS: u32 = 30;

/// Amazon ECS endpoints and quotas: a task definition may have 64 KB. What Cronplane adds fits in
/// the rest.
const CONTAINER_BYTES_MAX: usize = 60 * 1024;
/// Amazon ECS API Reference, ContainerDefinition, `image`.
const IMAGE_MAX: usize = 255;
/// EventBridge API Reference, PutRule: `Description`.
const DESCRIPTION_MAX: usize = 512;
/// 50 tags a resource (ECS, EventBridge, SNS, IAM), less the four that Cronplane sets everywhere and
/// the one more of a task definition.
const TAGS_MAX: usize = 45;
/// Amazon ECS API Reference, AwsVpcConfiguration.
const SUBNETS_MAX: usize = 16;
const SECURITY_GROUPS_MAX: usize = 5;
/// Each one is a call when the job is made: this many fit well into one request.
const SUBSCRIBERS_MAX: usize = 20;

/// What a team asks for, complete: every default is filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDefinition {
    pub name: JobName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub image: Image,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    #[serde(flatten)]
    pub size: FargateSize,
    pub network: Network,
    /// An existing cluster; without it the job gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// ARN of the role that the job's own code has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_role: Option<String>,
    pub schedule: Schedule,
    /// Whether the schedule starts tasks.
    pub enabled: bool,
    pub log_retention_days: u32,
    pub tags: BTreeMap<String, String>,
    pub subscribers: Vec<Subscriber>,
}

/// Where the image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Image {
    /// A full reference, as `docker pull` takes it.
    Reference(String),
    /// A repository of this account and region's ECR, and a tag.
    Repository { repository: String, tag: String },
}

impl Image {
    /// The full reference.
    pub fn reference(&self, deployment: &Deployment) -> String {
        match self {
            Image::Reference(reference) => reference.clone(),
            Image::Repository { repository, tag } => format!(
                "{}.dkr.ecr.{}.{}/{repository}:{tag}",
                deployment.account, deployment.region, deployment.url_suffix
            ),
        }
    }
}

/// Who is told when a run fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subscriber {
    pub protocol: Protocol,
    /// An address, or an `https://` URL.
    pub endpoint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Email,
    Https,
}

impl Protocol {
    /// The name that SNS knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Email => "email",
            Protocol::Https => "https",
        }
    }
}

impl JobDefinition {
    /// Reads a definition from the JSON of a request and fills in the defaults.
    ///
    /// Errors: everything that is wrong with it, each with its JSON pointer.
    pub fn read(value: Value, deployment: &Deployment) -> Result<JobDefinition, Vec<Violation>> {
        let mut violations = Vec::new();
        let definition = read_object(value, String::new(), &mut violations, |fields| {
            read_definition(fields, deployment)
        });
        match definition {
            Some(definition) if violations.is_empty() => {
                // The task definition must fit into what ECS takes; which field is too much
                // can't be said.
                let size = definition.container_bytes();
                if size > CONTAINER_BYTES_MAX {
                    return Err(vec![Violation::new(
                        "",
                        Range,
                        format!(
                            "image, command, entry_point and environment take {size} bytes \
                             together; a task definition has room for {CONTAINER_BYTES_MAX}"
                        ),
                    )]);
                }
                Ok(definition)
            }
            _ => Err(violations),
        }
    }

    /// The names of the fields that [`JobDefinition::read`] knows.
    pub fn field_names() -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
        read_unchecked(&mut fields);
        fields.known().to_vec()
    }

    fn container_bytes(&self) -> usize {
        let container = serde_json::json!({
            "image": self.image,
            "command": self.command,
            "entryPoint": self.entry_point,
            "environment": self.environment.iter()
                .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
                .collect::<Vec<_>>(),
        });
        container.to_string().len()
    }
}

/// The fields as they were given, of the right JSON types and no more.
struct Unchecked {
    name: Option<String>,
    description: Option<String>,
    image: Option<Image>,
    command: Option<Vec<String>>,
    entry_point: Option<Vec<String>>,
    environment: Option<BTreeMap<String, String>>,
    cpu: Option<u32>,
    memory: Option<u32>,
    network: Option<UncheckedNetwork>,
    cluster: Option<String>,
    task_role: Option<String>,
    schedule: Option<String>,
    enabled: Option<bool>,
    log_retention_days: Option<u32>,
    tags: Option<BTreeMap<String, String>>,
    subscribers: Option<Vec<(Option<String>, Option<String>)>>,
}

struct UncheckedNetwork {
    subnets: Option<Vec<String>>,
    security_groups: Option<Vec<String>>,
    assign_public_ip: Option<bool>,
}

fn read_unchecked(fields: &mut Fields<'_>) -> Unchecked {
    let name = fields.string("name");
    Unchecked {
        name: fields.required("name", name),
        description: fields.string("description"),
        image: read_image(fields),
        command: fields.strings("command"),
        entry_point: fields.strings("entry_point"),
        environment: fields.string_map("environment"),
        cpu: fields.integer("cpu"),
        memory: fields.integer("memory"),
        network: fields.object("network", |network| UncheckedNetwork {
            subnets: network.strings("subnets"),
            security_groups: network.strings("security_groups"),
            assign_public_ip: network.boolean("assign_public_ip"),
        }),
        cluster: fields.string("cluster"),
        task_role: fields.string("task_role"),
        schedule: {
            let schedule = fields.string("schedule");
            fields.required("schedule", schedule)
        },
        enabled: fields.boolean("enabled"),
        log_retention_days: fields.integer("log_retention_days"),
        tags: fields.string_map("tags"),
        subscribers: fields
            .object("notifications", |notifications| {
                notifications.objects("subscribers", |one| {
                    let protocol = one.string("protocol");
                    let endpoint = one.string("endpoint");
                    (one.required("protocol", protocol), one.required("endpoint", endpoint))
                })
            })
            .flatten(),
    }
}

fn read_image(fields: &mut Fields<'_>) -> Option<Image> {
    let value = fields.value("image");
    match fields.required("image", value)? {
        Value::String(reference) => Some(Image::Reference(reference)),
        object @ Value::Object(_) => fields.nested("image", object, |image| {
            let repository = image.string("repository");
            let tag = image.string("tag");
            let repository = image.required("repository", repository);
            let tag = image.required("tag", tag);
            Some(Image::Repository { repository: repository?, tag: tag? })
        }),
        _ => {
            fields.violation(
                "image",
                Type,
                "must be a string, or an object with `repository` and `tag`",
            );
            None
        }
    }
}

fn read_definition(fields: &mut Fields<'_>, deployment: &Deployment) -> Option<JobDefinition> {
    let given = read_unchecked(fields);
    let name = given.name.and_then(|name| checked(fields, "name", JobName::parse(&name)));
    let schedule =
        given.schedule.and_then(|text| checked(fields, "schedule", Schedule::parse(&text)));
    if let Some(description) = &given.description {
        check_text(fields, "description", description, 0, DESCRIPTION_MAX);
    }
    if let Some(image) = &given.image {
        check_image(fields, image);
        let length = image.reference(deployment).len();
        if matches!(image, Image::Repository { .. }) && length > IMAGE_MAX {
            fields.violation_at(
                "image",
                Range,
                format!("with its registry it has {length} characters; ECS takes {IMAGE_MAX}"),
            );
        }
    }
    for (key, list) in [("command", &given.command), ("entry_point", &given.entry_point)] {
        for (index, text) in list.iter().flatten().enumerate() {
            check_printable(fields, &format!("{key}/{index}"), text);
        }
    }
    let environment = given.environment.unwrap_or_default();
    check_environment(fields, &environment);
    let size = match FargateSize::choose(given.cpu, given.memory) {
        Ok(size) => size,
        Err(wrong) => {
            fields.violation_at(wrong.pointer.trim_start_matches('/'), wrong.code, wrong.detail);
            FargateSize::SMALLEST
        }
    };
    let network = read_network(fields, given.network, deployment);
    if let Some(cluster) = &given.cluster {
        check_form(
            fields,
            "cluster",
            cluster,
            255,
            is_cluster_name,
            "letters, digits, hyphens and underscores: the name of a cluster, not its ARN",
        );
        // The cluster of another job goes when that job goes.
        if cluster.starts_with(&format!("{}_", deployment.stack)) {
            fields.violation_at(
                "cluster",
                NotAllowed,
                "is one that Cronplane makes for a single job: name a cluster of your own",
            );
        }
    }
    if let Some(role) = &given.task_role {
        check_task_role(fields, role, deployment);
    }
    let log_retention_days = given.log_retention_days.unwrap_or(DEFAULT_RETENTION_DAYS);
    if !RETENTION_DAYS.contains(&log_retention_days) {
        let offered: Vec<String> = RETENTION_DAYS.iter().map(|days| days.to_string()).collect();
        fields.violation(
            "log_retention_days",
            Range,
            format!("CloudWatch Logs keeps logs for {} days", offered.join(", ")),
        );
    }
    let tags = given.tags.unwrap_or_default();
    check_tags(fields, &tags);
    let subscribers = read_subscribers(fields, given.subscribers.unwrap_or_default());
    Some(JobDefinition {
        name: name?,
        description: given.description,
        image: given.image?,
        command: given.command,
        entry_point: given.entry_point,
        environment,
        size,
        network,
        cluster: given.cluster,
        task_role: given.task_role,
        schedule: schedule?,
        enabled: given.enabled.unwrap_or(true),
        log_retention_days,
        tags,
        subscribers,
    })
}

/// The value, or a violation at `key` with what the error says.
fn checked<T>(fields: &mut Fields<'_>, key: &str, result: Result<T, String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(detail) => {
            fields.violation_at(key, Format, detail);
            None
        }
    }
}

fn check_text(fields: &mut Fields<'_>, key: &str, text: &str, min: usize, max: usize) {
    let length = text.chars().count();
    if !(min..=max).contains(&length) {
        fields.violation_at(
            key,
            Range,
            format!("must have {min} to {max} characters, not {length}"),
        );
    }
    check_printable(fields, key, text);
}

/// Control characters have no use in a definition, break consoles, and swell an answer.
fn check_printable(fields: &mut Fields<'_>, key: &str, text: &str) {
    if text.chars().any(|one| one.is_control() && !matches!(one, '\n' | '\r' | '\t')) {
        fields.violation_at(key, Format, "must not hold control characters");
    }
}

fn check_form(
    fields: &mut Fields<'_>,
    key: &str,
    text: &str,
    max: usize,
    form: impl Fn(&str) -> bool,
    allowed: &str,
) {
    if text.is_empty() || text.len() > max || !form(text) {
        fields.violation_at(key, Format, format!("must be 1 to {max} characters: {allowed}"));
    }
}

fn is_cluster_name(text: &str) -> bool {
    text.bytes().all(|one| one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_'))
}

fn check_image(fields: &mut Fields<'_>, image: &Image) {
    match image {
        // Amazon ECS API Reference, ContainerDefinition, `image`.
        Image::Reference(reference) => check_form(
            fields,
            "image",
            reference,
            255,
            |text| {
                text.starts_with(|first: char| first.is_ascii_alphanumeric())
                    && text.bytes().all(|one| {
                        one.is_ascii_alphanumeric()
                            || matches!(one, b'-' | b'_' | b':' | b'.' | b'/' | b'#' | b'@')
                    })
            },
            "an image reference such as `busybox:1` or \
             `public.ecr.aws/docker/library/busybox:1`",
        ),
        Image::Repository { repository, tag } => {
            // Amazon ECR API Reference, CreateRepository and ImageIdentifier.
            let component = |text: &str| {
                text.bytes().all(|one| {
                    one.is_ascii_lowercase() || one.is_ascii_digit() || b"._-".contains(&one)
                }) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
                    && text.ends_with(|last: char| last.is_ascii_alphanumeric())
            };
            check_form(
                fields,
                "image/repository",
                repository,
                256,
                |text| text.split('/').all(component),
                "the name of an ECR repository, without registry and tag",
            );
            check_form(
                fields,
                "image/tag",
                tag,
                128,
                |text| {
                    text.bytes().all(|one| one.is_ascii_alphanumeric() || b"._-".contains(&one))
                        && !text.starts_with(['.', '-'])
                },
                "letters, digits, `.`, `_` and `-`",
            );
        }
    }
}

fn check_environment(fields: &mut Fields<'_>, environment: &BTreeMap<String, String>) {
    for (name, value) in environment {
        let key = format!("environment/{}", pointer_token(name));
        if name == SCHEDULED_TIME {
            fields.violation_at(
                &key,
                NotAllowed,
                format!("`{SCHEDULED_TIME}` is set by Cronplane, to the start that was scheduled"),
            );
        }
        if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
            fields.violation_at(
                &key,
                Format,
                "the name of a variable is not empty and holds neither `=` nor control characters",
            );
        }
        check_printable(fields, &key, value);
    }
}

fn read_network(
    fields: &mut Fields<'_>,
    given: Option<UncheckedNetwork>,
    deployment: &Deployment,
) -> Network {
    let default = &deployment.default_network;
    let network = match given {
        None => default.clone(),
        Some(given) => {
            // Security groups belong to a VPC: the deployment's go with the deployment's subnets
            // only.
            let own_subnets = given.subnets.is_some();
            Network {
                subnets: given.subnets.unwrap_or_else(|| default.subnets.clone()),
                security_groups: given.security_groups.unwrap_or_else(|| {
                    if own_subnets { Vec::new() } else { default.security_groups.clone() }
                }),
                assign_public_ip: given.assign_public_ip.unwrap_or(default.assign_public_ip),
            }
        }
    };
    if network.subnets.is_empty() {
        fields.violation_at(
            "network/subnets",
            Required,
            "at least one subnet is needed: this deployment has no default",
        );
    }
    for (key, list, prefix, max) in [
        ("subnets", &network.subnets, "subnet-", SUBNETS_MAX),
        ("security_groups", &network.security_groups, "sg-", SECURITY_GROUPS_MAX),
    ] {
        if list.len() > max {
            fields.violation_at(
                &format!("network/{key}"),
                Range,
                format!("a task takes at most {max}, not {}", list.len()),
            );
        }
        let mut seen = BTreeSet::new();
        for (index, id) in list.iter().enumerate() {
            let at = format!("network/{key}/{index}");
            let is_id = id.strip_prefix(prefix).is_some_and(|rest| {
                (1..=64).contains(&rest.len())
                    && rest.bytes().all(|one| one.is_ascii_alphanumeric())
            });
            if !is_id {
                fields.violation_at(
                    &at,
                    Format,
                    format!("must be an id such as `{prefix}0123456789abcdef0`"),
                );
            } else if !seen.insert(id) {
                fields.violation_at(&at, Duplicate, format!("`{id}` is named twice"));
            }
        }
    }
    network
}

fn check_task_role(fields: &mut Fields<'_>, role: &str, deployment: &Deployment) {
    let prefix = format!("arn:{}:iam::{}:role/", deployment.partition, deployment.account);
    let is_role = role.strip_prefix(&prefix).is_some_and(|name| {
        (1..=576).contains(&name.len())
            && name.bytes().all(|one| one.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&one))
    });
    if !is_role {
        fields.violation_at(
            "task_role",
            Format,
            format!("must be the ARN of a role of this account: `{prefix}<name>`"),
        );
    } else if !deployment.may_pass(role) {
        fields.violation_at(
            "task_role",
            NotAllowed,
            "this deployment may not pass that role: its administrator has to add it to the \
             stack's parameter PassableRoles",
        );
    }
}

fn check_tags(fields: &mut Fields<'_>, tags: &BTreeMap<String, String>) {
    if tags.len() > TAGS_MAX {
        fields.violation_at("tags", Range, format!("at most {TAGS_MAX} tags, not {}", tags.len()));
    }
    // Amazon ECS API Reference, Tag; IAM User Guide, "Tags for AWS Identity and Access Management
    // resources": the narrowest characters that all the services take.
    let characters =
        |text: &str| text.chars().all(|one| one.is_alphanumeric() || " +-=._:/@".contains(one));
    let mut seen = BTreeSet::new();
    for (tag, value) in tags {
        let key = format!("tags/{}", pointer_token(tag));
        let lower = tag.to_lowercase();
        if lower.starts_with("aws:")
            || lower.starts_with(MANAGED_TAG_PREFIX)
            || lower == MANAGED_BY_TAG
        {
            fields.violation_at(
                &key,
                NotAllowed,
                format!("`aws:`, `{MANAGED_TAG_PREFIX}` and `{MANAGED_BY_TAG}` are taken"),
            );
        }
        if tag.is_empty() || tag.chars().count() > 128 || !characters(tag) {
            fields.violation_at(
                &key,
                Format,
                "a tag's key has 1 to 128 letters, digits, spaces and `+-=._:/@`",
            );
        }
        if value.chars().count() > 256 || !characters(value) {
            fields.violation_at(
                &key,
                Format,
                "a tag's value has at most 256 letters, digits, spaces and `+-=._:/@`",
            );
        }
        if !seen.insert(lower) {
            fields.violation_at(
                &key,
                Duplicate,
                "IAM takes keys that differ only in case for the same",
            );
        }
    }
}

fn read_subscribers(
    fields: &mut Fields<'_>,
    given: Vec<(Option<String>, Option<String>)>,
) -> Vec<Subscriber> {
    const LIST: &str = "notifications/subscribers";
    if given.len() > SUBSCRIBERS_MAX {
        fields.violation_at(
            LIST,
            Range,
            format!("at most {SUBSCRIBERS_MAX} subscribers, not {}", given.len()),
        );
    }
    let mut subscribers: Vec<Subscriber> = Vec::with_capacity(given.len());
    for (index, (protocol, endpoint)) in given.into_iter().enumerate() {
        let protocol = protocol.and_then(|text| match text.as_str() {
            "email" => Some(Protocol::Email),
            "https" => Some(Protocol::Https),
            _ => {
                fields.violation_at(
                    &format!("{LIST}/{index}/protocol"),
                    NotAllowed,
                    "must be `email` or `https`",
                );
                None
            }
        });
        let (Some(protocol), Some(endpoint)) = (protocol, endpoint) else {
            continue;
        };
        let (good, wanted) = match protocol {
            Protocol::Email => (is_email(&endpoint), "an address such as `team@example.com`"),
            Protocol::Https => (
                is_https_url(&endpoint),
                "a URL that starts with `https://`, without user name and password",
            ),
        };
        if !good {
            fields.violation_at(
                &format!("{LIST}/{index}/endpoint"),
                Format,
                format!("must be {wanted}"),
            );
        }
        let subscriber = Subscriber { protocol, endpoint };
        if subscribers.contains(&subscriber) {
            fields.violation_at(&format!("{LIST}/{index}"), Duplicate, "is named twice");
        } else {
            subscribers.push(subscriber);
        }
    }
    subscribers
}

fn is_email(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|one| one.is_ascii_graphic());
    text.len() <= 320
        && text.split_once('@').is_some_and(|(local, host)| {
            plain(local) && plain(host) && !host.contains('@') && host.contains('.')
        })
}

/// SNS shows the password of a URL as `****`, so that a subscription could not be told from another,
/// and an answer of ours would show it: URLs that hold one are not taken.
fn is_https_url(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    text.len() <= 2048
        && text.chars().all(|one| one.is_ascii_graphic())
        && host
            .is_some_and(|host| !host.is_empty() && !host.starts_with(':') && !host.contains('@'))
}
