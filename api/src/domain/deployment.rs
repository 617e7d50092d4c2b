//! The deployment that a job lives in: what the stack's parameters say.

use super::job::Subscriber;
use super::schedule::EngineChoice;
use super::team::Team;

/// What `template.yaml` tells the functions of the stack they belong to.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The stack's name: the first part of every AWS name that Cronplane makes.
    pub stack: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    pub region: String,
    pub account: String,
    /// `amazonaws.com`, or `amazonaws.com.cn` in China.
    pub url_suffix: String,
    /// The API's own URL, without a slash at its end.
    pub public_url: String,
    /// Network of a job that names none.
    pub default_network: Network,
    /// Existing cluster of a job that names none; `None`: one of its own. A team's.
    pub default_cluster: Option<String>,
    /// Subscribers of a job that names none. A team's.
    pub default_subscribers: Vec<Subscriber>,
    /// ARN of the policy that bounds every role Cronplane makes.
    pub boundary_arn: String,
    /// ARN of the queue for invocations that a schedule could not deliver.
    pub dead_letter_queue_arn: String,
    /// ARN of the queue for starts that a schedule leaves to Cronplane.
    pub start_queue_arn: String,
    /// ARN of the queue for what the stack's failure rule finds.
    pub alert_queue_arn: String,
    /// What may carry the schedules of jobs.
    pub engine: EngineChoice,
    /// Name of the EventBridge Scheduler schedule group in which the schedules of jobs are.
    pub schedule_group: String,
    /// Which existing roles a job may name as its task role: ARNs, in which `*` stands for
    /// anything.
    pub passable_roles: Vec<String>,
    /// Which secrets and parameters a job may hand to its containers: ARNs, in which `*` stands for
    /// anything.
    pub readable_secrets: Vec<String>,
    /// Whether variables may hold what looks like a secret.
    pub allow_secret_environment: bool,
    /// Days that a run stays in the history.
    pub history_days: u32,
    /// Days that an entry stays in the audit log.
    pub audit_days: u32,
}

/// Where tasks get their network interface.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Network {
    pub subnets: Vec<String>,
    /// Empty: the VPC's default group.
    pub security_groups: Vec<String>,
    pub assign_public_ip: bool,
}

impl Deployment {
    /// The deployment as the jobs of `team` find it: with what those get by default.
    pub fn of_team(&self, team: &Team) -> Deployment {
        let defaults = &team.definition.defaults;
        let network = defaults.network.as_ref().unwrap_or(&self.default_network);
        Deployment {
            default_network: network.clone(),
            default_cluster: defaults.cluster.clone(),
            default_subscribers: defaults.subscribers.clone(),
            ..self.clone()
        }
    }

    /// Whether `cluster` has the name of one that Cronplane makes for a single job.
    pub fn is_own_cluster(&self, cluster: &str) -> bool {
        let prefix = format!("{}_", self.stack);
        cluster.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(&prefix))
    }

    /// Whether the stack may pass the role `arn` to a task.
    pub fn may_pass(&self, arn: &str) -> bool {
        self.passable_roles.iter().any(|pattern| matches_pattern(pattern, arn))
    }

    /// Whether a job may hand the secret `arn` to its containers.
    pub fn may_read_secret(&self, arn: &str) -> bool {
        self.readable_secrets.iter().any(|pattern| matches_pattern(pattern, arn))
    }

    /// `arn:<partition>:<service>:<region>:<account>:<resource>`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }

    /// The AWS console's host for this partition.
    pub fn console_url(&self) -> String {
        let host = match self.partition.as_str() {
            "aws-cn" => "console.amazonaws.cn",
            "aws-us-gov" => "console.amazonaws-us-gov.com",
            _ => "console.aws.amazon.com",
        };
        format!("https://{}.{host}", self.region)
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters, none included.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pattern.rsplit_once('*').map(|(_, last)| last) else {
        return rest.is_empty();
    };
    let Some(middle) = rest.strip_suffix(last) else {
        return false;
    };
    rest = middle;
    let stars = pattern.matches('*').count();
    for part in parts.take(stars - 1) {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// A deployment for unit tests.
#[cfg(test)]
pub(crate) fn for_tests() -> Deployment {
    Deployment {
        stack: "cp".to_owned(),
        partition: "aws".to_owned(),
        region: "eu-west-1".to_owned(),
        account: "111122223333".to_owned(),
        url_suffix: "amazonaws.com".to_owned(),
        public_url: "https://api.example.com".to_owned(),
        default_network: Network {
            subnets: vec!["subnet-0a".to_owned()],
            security_groups: vec!["sg-0a".to_owned()],
            assign_public_ip: false,
        },
        default_cluster: None,
        default_subscribers: Vec::new(),
        boundary_arn: "arn:aws:iam::111122223333:policy/boundary".to_owned(),
        dead_letter_queue_arn: "arn:aws:sqs:eu-west-1:111122223333:dlq".to_owned(),
        start_queue_arn: "arn:aws:sqs:eu-west-1:111122223333:starts".to_owned(),
        alert_queue_arn: "arn:aws:sqs:eu-west-1:111122223333:alerts".to_owned(),
        engine: EngineChoice::ByNeed,
        schedule_group: "cp".to_owned(),
        passable_roles: vec!["arn:aws:iam::111122223333:role/app-*".to_owned()],
        readable_secrets: vec!["*:secret:app/*".to_owned(), "*:parameter/app/*".to_owned()],
        allow_secret_environment: false,
        history_days: 400,
        audit_days: 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        for (pattern, text) in [
            ("arn:aws:iam::1:role/app-*", "arn:aws:iam::1:role/app-x"),
            ("arn:aws:iam::1:role/app-*", "arn:aws:iam::1:role/app-"),
            ("*", ""),
            ("a*b*c", "a--b--c"),
            ("a*b*b", "abb"),
            ("a", "a"),
        ] {
            assert!(matches_pattern(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("arn:aws:iam::1:role/app-*", "arn:aws:iam::1:role/ap"),
            ("a*b", "a"),
            ("a*b*b", "ab"),
            ("a", "ab"),
            ("", "a"),
            ("a.c", "abc"),
            ("aa*aa", "aaa"),
        ] {
            assert!(!matches_pattern(pattern, text), "{pattern} {text}");
        }
    }
}
