//! The bounds of a definition's fields, each from AWS's own documentation.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Image, MANAGED_BY_TAG, MANAGED_TAG_PREFIX};
use crate::domain::deployment::Deployment;
use crate::domain::fields::Fields;
use crate::domain::task::SCHEDULED_TIME;
use crate::domain::violation::ViolationCode::{Duplicate, Forbidden, Format, NotAllowed, Range};
use crate::domain::violation::pointer_token;

/// CloudWatch Logs API Reference, PutRetentionPolicy, `retentionInDays`.
pub(super) const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// Amazon ECS endpoints and quotas: a task definition may have 64 KB. What Cronplane adds, most of it
/// the log configuration of up to ten containers, fits in the rest.
pub(super) const CONTAINER_BYTES_MAX: usize = 56 * 1024;
/// IAM User Guide, "IAM and AWS STS quotas": all inline policies of a role, without white space.
pub const POLICY_CHARACTERS_MAX: usize = 10_240;
/// What stands in the execution role's policy besides ARNs of secrets and images, at most.
pub(super) const POLICY_CHARACTERS_BESIDES: usize = 2_000;
/// Amazon ECS API Reference, ContainerDefinition, `image`.
pub(super) const IMAGE_MAX: usize = 255;
/// EventBridge API Reference, PutRule: `Description`.
pub(super) const DESCRIPTION_MAX: usize = 512;
/// 50 tags a resource (ECS, EventBridge, SNS, IAM), less the four that Cronplane sets everywhere and
/// the one more of a task definition.
pub(super) const TAGS_MAX: usize = 45;
/// Amazon ECS API Reference, AwsVpcConfiguration.
pub(super) const SUBNETS_MAX: usize = 16;
pub(super) const SECURITY_GROUPS_MAX: usize = 5;
/// Each one is a call when the job is made: this many fit well into one request.
pub(super) const SUBSCRIBERS_MAX: usize = 20;
/// Arguments of a command, variables and secrets of an environment, labels: so many are plenty. AWS names no
/// number, and a task definition has 64 KB.
pub(super) const ENTRIES_MAX: usize = 1000;
/// Ports, mount points and kernel parameters of a container, likewise.
pub(super) const SETTINGS_MAX: usize = 100;
/// GiB. Amazon ECS API Reference, EphemeralStorage, `sizeInGiB`; 20 are there anyway.
pub(in crate::domain) const EPHEMERAL_STORAGE_GIB: (u32, u32) = (21, 200);

/// The value, or a violation at `key` with what the error says.
pub(super) fn checked<T>(
    fields: &mut Fields<'_>,
    key: &str,
    result: Result<T, String>,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(detail) => {
            fields.violation_at(key, Format, detail);
            None
        }
    }
}

/// A list or a map, whose entries are `what`, has at most `max` of them.
pub(in crate::domain) fn check_count(
    fields: &mut Fields<'_>,
    key: &str,
    count: usize,
    max: usize,
    what: &str,
) {
    if count > max {
        fields.violation_at(key, Range, format!("at most {max} {what}, not {count}"));
    }
}

/// The arguments of a command.
pub(super) fn check_arguments(fields: &mut Fields<'_>, key: &str, arguments: &[String]) {
    check_count(fields, key, arguments.len(), ENTRIES_MAX, "arguments");
    for (index, text) in arguments.iter().enumerate() {
        check_printable(fields, &format!("{key}/{index}"), text);
    }
}

pub(in crate::domain) fn check_text(
    fields: &mut Fields<'_>,
    key: &str,
    text: &str,
    min: usize,
    max: usize,
) {
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
pub(super) fn check_printable(fields: &mut Fields<'_>, key: &str, text: &str) {
    if text.chars().any(|one| one.is_control() && !matches!(one, '\n' | '\r' | '\t')) {
        fields.violation_at(key, Format, "must not hold control characters");
    }
}

pub(super) fn check_form(
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

/// The name of an existing cluster.
pub(in crate::domain) fn check_cluster(fields: &mut Fields<'_>, key: &str, cluster: &str) {
    check_form(
        fields,
        key,
        cluster,
        255,
        is_cluster_name,
        "letters, digits, hyphens and underscores: the name of a cluster, not its ARN",
    );
}

/// What is wrong with the name of a cluster that Cronplane made: it is another team's, or goes when its
/// job goes.
pub(in crate::domain) const OWN_CLUSTER: &str =
    "is one that Cronplane makes for a single job: name a cluster of your own";

pub(super) fn check_image(fields: &mut Fields<'_>, image: &Image) {
    match image {
        // Amazon ECS API Reference, ContainerDefinition, `image`.
        Image::Reference(reference) => check_form(
            fields,
            "image",
            reference,
            255,
            is_image_reference,
            "an image reference such as `busybox:1` or \
             `public.ecr.aws/docker/library/busybox:1`",
        ),
        Image::Repository { repository, tag } => {
            // Amazon ECR API Reference, CreateRepository and ImageIdentifier.
            check_form(
                fields,
                "image/repository",
                repository,
                256,
                |text| text.split('/').all(is_path_component),
                "the name of an ECR repository, without registry and tag",
            );
            check_form(fields, "image/tag", tag, 128, is_tag, "letters, digits, `.`, `_` and `-`");
        }
    }
}

pub(super) fn check_environment(fields: &mut Fields<'_>, environment: &BTreeMap<String, String>) {
    check_count(fields, "environment", environment.len(), ENTRIES_MAX, "variables");
    for (name, value) in environment {
        let key = format!("environment/{}", pointer_token(name));
        check_main_variable(fields, &key, name);
        check_printable(fields, &key, value);
    }
}

/// A variable of the main container, in which Cronplane sets one itself.
pub(super) fn check_main_variable(fields: &mut Fields<'_>, key: &str, name: &str) {
    if name == SCHEDULED_TIME {
        fields.violation_at(
            key,
            NotAllowed,
            format!("`{SCHEDULED_TIME}` is set by Cronplane, to the start that was scheduled"),
        );
    }
    check_variable_name(fields, key, name);
}

pub(super) fn check_variable_name(fields: &mut Fields<'_>, key: &str, name: &str) {
    if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
        fields.violation_at(
            key,
            Format,
            "the name of a variable is not empty and holds neither `=` nor control characters",
        );
    }
}

/// A role that the task runs as, or is started with, is one that the deployment may pass.
pub(super) fn check_role(fields: &mut Fields<'_>, key: &str, role: &str, deployment: &Deployment) {
    let prefix = format!("arn:{}:iam::{}:role/", deployment.partition, deployment.account);
    let is_role = role.strip_prefix(&prefix).is_some_and(|name| {
        (1..=576).contains(&name.len())
            && name.bytes().all(|one| one.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&one))
    });
    if !is_role {
        fields.violation_at(
            key,
            Format,
            format!("must be the ARN of a role of this account: `{prefix}<name>`"),
        );
    } else if !deployment.may_pass(role) {
        fields.violation_at(
            key,
            Forbidden,
            "this deployment may not pass that role: its administrator has to add it to the \
             stack's parameter PassableRoles",
        );
    }
}

pub(super) fn is_tag_key(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && text.chars().all(is_of_tags)
}

pub(super) fn is_tag_value(text: &str) -> bool {
    text.chars().count() <= 256 && text.chars().all(is_of_tags)
}

/// Source: Amazon ECS API Reference, Tag; IAM User Guide, "Tags for AWS Identity and Access
/// Management resources": the narrowest characters that all the services take.
fn is_of_tags(one: char) -> bool {
    one.is_alphanumeric() || " +-=._:/@".contains(one)
}

/// The tags that stand at `at`.
pub(in crate::domain) fn check_tags(
    fields: &mut Fields<'_>,
    at: &str,
    tags: &BTreeMap<String, String>,
) {
    check_count(fields, at, tags.len(), TAGS_MAX, "tags");
    let mut seen = BTreeSet::new();
    for (tag, value) in tags {
        let key = format!("{at}/{}", pointer_token(tag));
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
        if !is_tag_key(tag) {
            fields.violation_at(
                &key,
                Format,
                "a tag's key has 1 to 128 letters, digits, spaces and `+-=._:/@`",
            );
        }
        if !is_tag_value(value) {
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

pub(super) fn is_email(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|one| one.is_ascii_graphic());
    text.len() <= 320
        && text.split_once('@').is_some_and(|(local, host)| {
            plain(local) && plain(host) && !host.contains('@') && host.contains('.')
        })
}

/// The ARN of an SQS queue or of a Lambda function, of whatever account.
///
/// Amazon SNS API Reference, Subscribe, `Endpoint`. A FIFO queue can't subscribe to a topic of ours.
pub(super) fn is_endpoint_arn(text: &str, service: &str, deployment: &Deployment) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", partition, of, region, account, rest @ ..] = &parts[..] else {
        return false;
    };
    let name = |text: &str| {
        (1..=140).contains(&text.len())
            && text.bytes().all(|one| one.is_ascii_alphanumeric() || b"-_".contains(&one))
    };
    let alias = |text: &str| text == "$LATEST" || name(text);
    *partition == deployment.partition
        && *of == service
        && name(region)
        && account.len() == 12
        && account.bytes().all(|one| one.is_ascii_digit())
        && match (service, rest) {
            ("sqs", [queue]) => name(queue),
            ("lambda", ["function", function]) => name(function),
            ("lambda", ["function", function, qualifier]) => name(function) && alias(qualifier),
            _ => false,
        }
}

/// SNS shows the password of a URL as `****`, so that a subscription could not be told from another,
/// and an answer of ours would show it: URLs that hold one are not taken.
pub(super) fn is_https_url(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    text.len() <= 2048
        && text.chars().all(|one| one.is_ascii_graphic())
        && host
            .is_some_and(|host| !host.is_empty() && !host.starts_with(':') && !host.contains('@'))
}

/// `[host[:port]/]path[:tag][@digest]`, the grammar of the OCI distribution specification: what
/// does not follow it is pulled by nobody.
pub(super) fn is_image_reference(text: &str) -> bool {
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest)),
        None => (text, None),
    };
    let good_digest = digest.is_none_or(|digest| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            is_path_component(algorithm)
                && hex.len() >= 32
                && hex.bytes().all(|one| one.is_ascii_digit() || (b'a'..=b'f').contains(&one))
        })
    });
    // A colon behind the last slash begins the tag; one before it, the port.
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    let mut parts = name.split('/').peekable();
    if let (Some(first), true) = (parts.peek().copied(), name.contains('/'))
        && (first.contains(['.', ':']) || first == "localhost")
    {
        if !is_host(first) {
            return false;
        }
        parts.next();
    }
    good_digest && tag.is_none_or(is_tag) && parts.all(is_path_component)
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && host.bytes().all(|one| one.is_ascii_alphanumeric() || b".-".contains(&one))
        && !port.is_empty()
        && port.bytes().all(|one| one.is_ascii_digit())
}

fn is_path_component(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit())
        && text
            .bytes()
            .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || b"._-".contains(&one))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|one| one.is_ascii_alphanumeric() || b"._-".contains(&one))
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_follow_the_grammar_of_references() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        for good in [
            "busybox",
            "busybox:1",
            "library/busybox:1.37_musl",
            "public.ecr.aws/docker/library/busybox:1",
            "localhost/a:b",
            "127.0.0.1:9/nothing:1",
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com/a/b-c_d:v1",
            &format!("busybox@{digest}"),
            &format!("example.com:443/a:1@{digest}"),
        ] {
            assert!(is_image_reference(good), "{good}");
        }
        for bad in [
            "",
            "busybox:",
            "BUSYBOX:1",
            "busybox@sha256:abc",
            "http://x/y:1",
            "../x:1",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a:b:c",
            "example.com:/a",
            "example.com:x/a",
            ":1",
            "a@",
            "a#b",
        ] {
            assert!(!is_image_reference(bad), "{bad}");
        }
    }
}
