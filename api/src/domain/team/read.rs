//! Reads a team's definition from the JSON of a request.

use serde_json::{Value, json};

use super::{Guardrails, Quotas, TeamDefaults, TeamDefinition};
use crate::domain::deployment::Deployment;
use crate::domain::fields::{Fields, read_object};
use crate::domain::ids::TeamName;
use crate::domain::job::{
    EPHEMERAL_STORAGE_GIB, OWN_CLUSTER, check_cluster, check_tags, check_text, given_network,
    given_subscribers, read_in, read_network, read_subscribers,
};
use crate::domain::violation::ViolationCode::{Forbidden, Format, NotAllowed, Range};
use crate::domain::violation::{Violation, pointer_token};

const DISPLAY_NAME_MAX: usize = 100;
/// Patterns a list.
const PATTERNS_MAX: usize = 100;
/// Characters of a pattern: as many as the longest ARN has (IAM API Reference, `arnType`).
const PATTERN_MAX: usize = 2048;
/// Bytes of a definition as JSON. A request reads the team each time, and DynamoDB takes 400 KB an item.
const DEFINITION_BYTES_MAX: usize = 64 * 1024;
/// CPU units, those of the smallest and the largest task of Fargate.
const CPU: (u32, u32) = (256, 16_384);
/// MiB, the same.
const MEMORY: (u32, u32) = (512, 122_880);
/// Minutes; a year of them.
const INTERVAL: (u32, u32) = (1, 525_600);
const JOBS: (u32, u32) = (0, 100_000);

impl TeamDefinition {
    /// Reads a team from the JSON of a request and fills in the defaults.
    ///
    /// Errors: everything that is wrong with it, each with its JSON pointer.
    pub fn read(
        value: Value,
        deployment: &Deployment,
    ) -> Result<(TeamName, TeamDefinition), Vec<Violation>> {
        let mut violations = Vec::new();
        let (name, definition) = read_object(value, String::new(), &mut violations, |fields| {
            (read_name(fields), read_definition(fields, deployment))
        });
        let bytes = definition.as_json().to_string().len();
        if violations.is_empty() && bytes > DEFINITION_BYTES_MAX {
            let detail = format!(
                "the definition takes {bytes} bytes; there is room for {DEFINITION_BYTES_MAX}"
            );
            violations.push(Violation::new("", Range, detail));
        }
        match name {
            Some(name) if violations.is_empty() => Ok((name, definition)),
            _ => Err(violations),
        }
    }

    /// Reads the whole definition of the team `name`; one that names no team is of this one.
    ///
    /// Errors: as [`TeamDefinition::read`], and another name.
    pub fn read_named(
        name: &TeamName,
        mut value: Value,
        deployment: &Deployment,
    ) -> Result<TeamDefinition, Vec<Violation>> {
        if let Some(fields) = value.as_object_mut() {
            fields.entry("name").or_insert_with(|| Value::from(name.as_str()));
        }
        let (read, definition) = TeamDefinition::read(value, deployment)?;
        if read == *name {
            return Ok(definition);
        }
        let detail = format!("a team keeps its name: `{name}`");
        Err(vec![Violation::new("/name", NotAllowed, detail)])
    }

    /// The definition of the team `name` with a JSON merge patch (RFC 7396) applied: what the patch sets
    /// to null goes back to its default.
    ///
    /// Errors: everything that is wrong with what comes out, each with its JSON pointer.
    pub fn patched(
        &self,
        name: &TeamName,
        patch: &Value,
        deployment: &Deployment,
    ) -> Result<TeamDefinition, Vec<Violation>> {
        let mut value = self.as_json();
        value["name"] = json!(name);
        json_patch::merge(&mut value, patch);
        TeamDefinition::read_named(name, value, deployment)
    }

    /// The definition as requests and answers have it, without the team's name.
    pub fn as_json(&self) -> Value {
        json!({
            "display_name": self.display_name,
            "defaults": {
                "network": self.defaults.network,
                "cluster": self.defaults.cluster,
                "notifications": {"subscribers": self.defaults.subscribers},
            },
            "guardrails": {
                "images": self.guardrails.images,
                "task_roles": self.guardrails.task_roles,
                "execution_roles": self.guardrails.execution_roles,
                "clusters": self.guardrails.clusters,
                "subnets": self.guardrails.subnets,
                "security_groups": self.guardrails.security_groups,
                "secrets": self.guardrails.secrets,
                "file_systems": self.guardrails.file_systems,
                "public_ip": self.guardrails.public_ip,
                "max_cpu": self.guardrails.max_cpu,
                "max_memory": self.guardrails.max_memory,
                "max_ephemeral_storage_gib": self.guardrails.max_ephemeral_storage_gib,
                "min_interval_minutes": self.guardrails.min_interval_minutes,
                "required_tags": self.guardrails.required_tags,
            },
            "quotas": {"max_jobs": self.quotas.max_jobs},
        })
    }

    /// The names of the fields that [`TeamDefinition::read`] knows.
    pub fn field_names(deployment: &Deployment) -> Vec<&'static str> {
        known(|fields| {
            read_name(fields);
            read_definition(fields, deployment);
        })
    }
}

impl TeamDefaults {
    /// The names of the fields that `defaults` of a team knows.
    pub fn field_names(deployment: &Deployment) -> Vec<&'static str> {
        known(|fields| drop(read_defaults(fields, deployment)))
    }
}

impl Guardrails {
    /// The names of the fields that `guardrails` of a team knows.
    pub fn field_names() -> Vec<&'static str> {
        known(|fields| drop(read_guardrails(fields)))
    }
}

impl Quotas {
    /// The names of the fields that `quotas` of a team knows.
    pub fn field_names() -> Vec<&'static str> {
        known(|fields| {
            read_quotas(fields);
        })
    }
}

fn known(read: impl FnOnce(&mut Fields<'_>)) -> Vec<&'static str> {
    let mut violations = Vec::new();
    let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
    read(&mut fields);
    fields.known().to_vec()
}

fn read_name(fields: &mut Fields<'_>) -> Option<TeamName> {
    let name = fields.string("name");
    match TeamName::parse(&fields.required("name", name)?) {
        Ok(name) => Some(name),
        Err(detail) => {
            fields.violation("name", Format, detail);
            None
        }
    }
}

fn read_definition(fields: &mut Fields<'_>, deployment: &Deployment) -> TeamDefinition {
    let display_name = fields.string("display_name");
    if let Some(name) = &display_name {
        check_text(fields, "display_name", name, 1, DISPLAY_NAME_MAX);
        if name.contains(['\n', '\r', '\t']) {
            fields.violation("display_name", Format, "must be one line");
        }
    }
    TeamDefinition {
        display_name,
        defaults: fields
            .object("defaults", |defaults| read_defaults(defaults, deployment))
            .unwrap_or_default(),
        guardrails: fields.object("guardrails", read_guardrails).unwrap_or_default(),
        quotas: fields.object("quotas", read_quotas).unwrap_or_default(),
    }
}

fn read_defaults(defaults: &mut Fields<'_>, deployment: &Deployment) -> TeamDefaults {
    let network = given_network(defaults);
    let network = network.map(|given| read_network(defaults, Some(given), deployment));
    let cluster = defaults.string("cluster");
    if let Some(cluster) = &cluster {
        check_cluster(defaults, "cluster", cluster);
        if deployment.is_own_cluster(cluster) {
            defaults.violation_at("cluster", Forbidden, OWN_CLUSTER);
        }
    }
    let subscribers = given_subscribers(defaults).unwrap_or_default();
    let subscribers = read_subscribers(defaults, subscribers, deployment);
    TeamDefaults { network, cluster, subscribers }
}

fn read_guardrails(fields: &mut Fields<'_>) -> Guardrails {
    let open = Guardrails::default();
    Guardrails {
        images: read_patterns(fields, "images"),
        task_roles: read_patterns(fields, "task_roles").unwrap_or_default(),
        execution_roles: read_patterns(fields, "execution_roles").unwrap_or_default(),
        clusters: read_patterns(fields, "clusters").unwrap_or_default(),
        subnets: read_patterns(fields, "subnets"),
        security_groups: read_patterns(fields, "security_groups"),
        secrets: read_patterns(fields, "secrets").unwrap_or_default(),
        file_systems: read_patterns(fields, "file_systems").unwrap_or_default(),
        public_ip: fields.boolean("public_ip").unwrap_or(open.public_ip),
        max_cpu: read_in(fields, "max_cpu", CPU),
        max_memory: read_in(fields, "max_memory", MEMORY),
        // The 20 GiB that every task has are the least that can be meant.
        max_ephemeral_storage_gib: read_in(
            fields,
            "max_ephemeral_storage_gib",
            (EPHEMERAL_STORAGE_GIB.0 - 1, EPHEMERAL_STORAGE_GIB.1),
        ),
        min_interval_minutes: read_in(fields, "min_interval_minutes", INTERVAL),
        required_tags: {
            let tags = fields.string_map("required_tags").unwrap_or_default();
            // Their values are patterns.
            let plain = tags.iter().map(|(key, value)| (key.clone(), value.replace('*', "")));
            check_tags(fields, "required_tags", &plain.collect());
            for (key, value) in &tags {
                let at = format!("required_tags/{}", pointer_token(key));
                check_text(fields, &at, value, 0, PATTERN_MAX);
            }
            tags
        },
    }
}

fn read_patterns(fields: &mut Fields<'_>, key: &'static str) -> Option<Vec<String>> {
    let patterns = fields.strings(key)?;
    if patterns.len() > PATTERNS_MAX {
        let detail = format!("at most {PATTERNS_MAX} patterns, not {}", patterns.len());
        fields.violation(key, Range, detail);
        return None;
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let at = format!("{key}/{index}");
        check_text(fields, &at, pattern, 1, PATTERN_MAX);
        if pattern.contains(['\n', '\r', '\t']) {
            fields.violation_at(&at, Format, "must be one line");
        }
    }
    Some(patterns)
}

fn read_quotas(quotas: &mut Fields<'_>) -> Quotas {
    Quotas { max_jobs: read_in(quotas, "max_jobs", JOBS) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::{Network, for_tests};
    use crate::domain::job::{Protocol, Subscriber};

    fn read(value: Value) -> Result<(TeamName, TeamDefinition), Vec<(String, &'static str)>> {
        TeamDefinition::read(value, &for_tests()).map_err(told)
    }

    fn told(violations: Vec<Violation>) -> Vec<(String, &'static str)> {
        violations.into_iter().map(|one| (one.pointer, one.code.as_str())).collect()
    }

    fn everything() -> Value {
        json!({
            "name": "data",
            "display_name": "Data & Reports",
            "defaults": {
                "network": {
                    "subnets": ["subnet-0c"],
                    "security_groups": ["sg-0c"],
                    "assign_public_ip": true,
                },
                "cluster": "cron-jobs",
                "notifications": {
                    "subscribers": [{"protocol": "email", "endpoint": "data@example.com"}],
                },
            },
            "guardrails": {
                "images": ["111122223333.dkr.ecr.eu-west-1.amazonaws.com/data/*"],
                "task_roles": ["arn:aws:iam::111122223333:role/app-data-*"],
                "execution_roles": ["arn:aws:iam::111122223333:role/app-execution"],
                "clusters": ["data-*"],
                "subnets": [],
                "security_groups": ["sg-0d"],
                "secrets": ["arn:aws:ssm:eu-west-1:111122223333:parameter/app/data/*"],
                "file_systems": ["fs-01234567"],
                "public_ip": false,
                "max_cpu": 1024,
                "max_memory": 4096,
                "max_ephemeral_storage_gib": 50,
                "min_interval_minutes": 15,
                "required_tags": {"cost-center": "47*", "owner": "*"},
            },
            "quotas": {"max_jobs": 50},
        })
    }

    #[test]
    fn everything_is_read_and_told_again() {
        let (name, definition) = read(everything()).unwrap();
        assert_eq!(name.as_str(), "data");
        let mut shown = definition.as_json();
        shown["name"] = json!("data");
        assert_eq!(shown, everything());
        assert_eq!(read(shown).unwrap(), (name, definition.clone()));
        // As it is kept.
        let kept = serde_json::to_value(&definition).unwrap();
        assert_eq!(serde_json::from_value::<TeamDefinition>(kept).unwrap(), definition);
        let network = Network {
            subnets: vec!["subnet-0c".to_owned()],
            security_groups: vec!["sg-0c".to_owned()],
            assign_public_ip: true,
        };
        assert_eq!(definition.defaults.network, Some(network));
        let endpoint = "data@example.com".to_owned();
        let subscribers = [Subscriber { protocol: Protocol::Email, endpoint }];
        assert_eq!(definition.defaults.subscribers, subscribers);
        assert_eq!(definition.guardrails.required_tags["cost-center"], "47*");
    }

    #[test]
    fn a_name_alone_is_a_team_that_is_granted_nothing() {
        let null = json!({
            "name": "data", "display_name": null, "defaults": null, "guardrails": null, "quotas": null,
        });
        let empty = json!({"name": "data", "defaults": {}, "guardrails": {}, "quotas": {}});
        for value in [json!({"name": "data"}), null, empty] {
            let (_, definition) = read(value).unwrap();
            assert_eq!(definition, TeamDefinition::default());
        }
        let Guardrails { images, task_roles, subnets, public_ip, .. } = Guardrails::default();
        assert_eq!((images, task_roles, subnets, public_ip), (None, vec![], None, true));
    }

    #[test]
    fn an_empty_list_is_not_the_same_as_none() {
        let (_, none) = read(json!({"name": "a", "guardrails": {"images": []}})).unwrap();
        let (_, open) = read(json!({"name": "a", "guardrails": {"images": null}})).unwrap();
        assert_eq!((none.guardrails.images, open.guardrails.images), (Some(vec![]), None));
    }

    /// What a network leaves out is the deployment's, as in a job.
    #[test]
    fn a_network_is_filled_in_from_the_deployments() {
        let value = json!({"name": "a", "defaults": {"network": {"subnets": ["subnet-0c"]}}});
        let (_, definition) = read(value).unwrap();
        let network = Network { subnets: vec!["subnet-0c".to_owned()], ..Network::default() };
        assert_eq!(definition.defaults.network, Some(network));
    }

    #[test]
    fn a_patch_keeps_what_it_does_not_name() {
        let (name, known) = read(everything()).unwrap();
        let patched = |patch: Value| known.patched(&name, &patch, &for_tests());
        assert_eq!(patched(json!({})).unwrap(), known);
        let change = json!({
            "display_name": null,
            "defaults": {"cluster": null},
            "guardrails": {"images": null, "max_cpu": 2048, "required_tags": {"owner": null}},
        });
        let mut wanted = known.clone();
        wanted.display_name = None;
        wanted.defaults.cluster = None;
        wanted.guardrails.images = None;
        wanted.guardrails.max_cpu = Some(2048);
        wanted.guardrails.required_tags.remove("owner");
        assert_eq!(patched(change).unwrap(), wanted);
        let wrong = told(patched(json!({"name": "other"})).unwrap_err());
        assert_eq!(wrong, [("/name".to_owned(), "not_allowed")]);
        let wrong = told(patched(json!({"guardrails": {"max_cpu": 1}, "x": 1})).unwrap_err());
        assert_eq!(
            wrong,
            [("/guardrails/max_cpu".to_owned(), "range"), ("/x".to_owned(), "unknown_field")]
        );
    }

    #[test]
    fn everything_wrong_is_told_with_its_pointer() {
        let long = "x".repeat(PATTERN_MAX + 1);
        let many = vec!["x"; PATTERNS_MAX + 1];
        let wrong = json!({
            "name": "Data",
            "display_name": "",
            "defaults": {
                "network": {"subnets": ["vpc-1"], "vpc": "x"},
                "cluster": "cp_other_job",
                "notifications": {"subscribers": [{"protocol": "sms", "endpoint": "1"}]},
                "image": "x",
            },
            "guardrails": {
                "images": ["", long, "a\nb", 1],
                "task_roles": "x",
                "clusters": many,
                "public_ip": "no",
                "max_cpu": 255,
                "max_memory": 122_881,
                "max_ephemeral_storage_gib": 19,
                "min_interval_minutes": 0,
                "required_tags": {"managed-by": "*", "cronplane:job": "*", "a!": "b", "c": "!"},
                "regions": [],
            },
            "quotas": {"max_jobs": -1, "max_runs": 1},
            "jobs": 1,
        });
        let mut found = read(wrong).unwrap_err();
        found.sort();
        let mut wanted: Vec<(String, &str)> = [
            ("/name", "format"),
            ("/display_name", "range"),
            ("/defaults/network/subnets/0", "format"),
            ("/defaults/network/vpc", "unknown_field"),
            ("/defaults/cluster", "forbidden"),
            ("/defaults/notifications/subscribers/0/protocol", "not_allowed"),
            ("/defaults/image", "unknown_field"),
            ("/guardrails/images/0", "range"),
            ("/guardrails/images/1", "range"),
            ("/guardrails/images/2", "format"),
            ("/guardrails/images/3", "type"),
            ("/guardrails/task_roles", "type"),
            ("/guardrails/clusters", "range"),
            ("/guardrails/public_ip", "type"),
            ("/guardrails/max_cpu", "range"),
            ("/guardrails/max_memory", "range"),
            ("/guardrails/max_ephemeral_storage_gib", "range"),
            ("/guardrails/min_interval_minutes", "range"),
            ("/guardrails/required_tags/managed-by", "not_allowed"),
            ("/guardrails/required_tags/cronplane:job", "not_allowed"),
            ("/guardrails/required_tags/a!", "format"),
            ("/guardrails/required_tags/c", "format"),
            ("/guardrails/regions", "unknown_field"),
            ("/quotas/max_jobs", "type"),
            ("/quotas/max_runs", "unknown_field"),
            ("/jobs", "unknown_field"),
        ]
        .map(|(pointer, code)| (pointer.to_owned(), code))
        .into();
        wanted.sort();
        assert_eq!(found, wanted);
        assert_eq!(read(json!({})).unwrap_err(), [("/name".to_owned(), "required")]);
        assert_eq!(read(json!([])).unwrap_err(), [(String::new(), "type")]);
    }

    /// As long as it may be, and longer by one.
    #[test]
    fn every_list_has_a_bound() {
        let mut lists: Vec<(String, usize)> = vec![
            ("/defaults/network/subnets".to_owned(), 16),
            ("/defaults/network/security_groups".to_owned(), 5),
            ("/defaults/notifications/subscribers".to_owned(), 20),
            ("/guardrails/required_tags".to_owned(), 45),
        ];
        let all = everything();
        let patterns = all["guardrails"].as_object().unwrap().iter();
        let patterns = patterns.filter(|(_, value)| value.is_array());
        lists.extend(patterns.map(|(key, _)| (format!("/guardrails/{key}"), PATTERNS_MAX)));
        assert_eq!(lists.len(), 12);
        for (pointer, max) in lists {
            let entry = |number: usize| match pointer.rsplit('/').next() {
                Some("subnets") => json!(format!("subnet-{number:08}")),
                Some("security_groups") => json!(format!("sg-{number:08}")),
                Some("subscribers") => {
                    json!({"protocol": "email", "endpoint": format!("a{number}@example.com")})
                }
                _ => json!(format!("a{number}")),
            };
            let refused = |count: usize| {
                let mut value = everything();
                let list = value.pointer_mut(&pointer).unwrap();
                *list = match list {
                    Value::Array(_) => (0..count).map(entry).collect(),
                    _ => (0..count).map(|number| (format!("k{number}"), entry(number))).collect(),
                };
                read(value).err().unwrap_or_default()
            };
            assert_eq!(refused(max), [], "{pointer}");
            assert_eq!(refused(max + 1), [(pointer.clone(), "range")]);
        }
    }

    /// Each list alone fits, all of them together do not.
    #[test]
    fn a_definition_is_bounded_as_a_whole() {
        let list = |number| json!(vec!["x".repeat(1000); number]);
        let value = |number| json!({"name": "a", "guardrails": {"images": list(number)}});
        assert!(read(value(60)).is_ok());
        assert_eq!(read(value(70)).unwrap_err(), [(String::new(), "range")]);
    }

    #[test]
    fn a_team_is_read_by_its_own_name() {
        let name = TeamName::parse("data").unwrap();
        let read = |value| TeamDefinition::read_named(&name, value, &for_tests()).map_err(told);
        assert_eq!(read(json!({})), Ok(TeamDefinition::default()));
        assert_eq!(read(json!({"name": "data"})), Ok(TeamDefinition::default()));
        assert_eq!(read(json!({"name": "b"})), Err(vec![("/name".to_owned(), "not_allowed")]));
    }

    #[test]
    fn all_fields_are_named() {
        let deployment = for_tests();
        let keys =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let all = everything();
        assert_eq!(TeamDefinition::field_names(&deployment), keys(&all));
        assert_eq!(TeamDefaults::field_names(&deployment), keys(&all["defaults"]));
        assert_eq!(Guardrails::field_names(), keys(&all["guardrails"]));
        assert_eq!(Quotas::field_names(), keys(&all["quotas"]));
    }
}
