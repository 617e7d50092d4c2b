//! What a request may ask of one run: what is different from the definition, and why it is stopped.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bounds::{check_arguments, check_environment, check_text};
use super::container::Containers;
use super::definition::JobDefinition;
use crate::domain::deployment::Deployment;
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::{Fields, VIOLATIONS_MAX, read_object};
use crate::domain::overrides::Overrides;
use crate::domain::team::Guardrails;
use crate::domain::violation::ViolationCode::{Duplicate, Range};
use crate::domain::violation::{Violation, pointer_token};

/// Amazon ECS API Reference, RunTask, `overrides`: so many characters in all, those of the JSON
/// around them included.
const OVERRIDES_MAX: usize = 8192;
/// Amazon ECS API Reference, StopTask, `reason`, as it stood until 2024; later editions name no
/// limit.
const STOP_REASON_MAX: usize = 255;

struct Unchecked {
    command: Option<Vec<String>>,
    environment: Option<BTreeMap<String, String>>,
    cpu: Option<u32>,
    memory: Option<u32>,
}

fn read_unchecked(fields: &mut Fields<'_>) -> Unchecked {
    Unchecked {
        command: fields.strings("command"),
        environment: fields.string_map("environment"),
        cpu: fields.integer("cpu"),
        memory: fields.integer("memory"),
    }
}

impl JobDefinition {
    /// Reads what one run is to have in place of this definition from the JSON of a request, within the
    /// guardrails of the job's team.
    ///
    /// Errors: everything that is wrong, each with its JSON pointer.
    pub fn read_overrides(
        &self,
        value: Value,
        guardrails: &Guardrails,
        deployment: &Deployment,
    ) -> Result<Overrides, Vec<Violation>> {
        let (overrides, mut violations) = Overrides::read_what_can_be(value, self.size);
        let secrets =
            overrides.environment.keys().filter(|name| self.secrets.contains_key(*name)).map(
                |name| {
                    let pointer = format!("/environment/{}", pointer_token(name));
                    Violation::new(pointer, Duplicate, "is one of the job's `secrets`")
                },
            );
        violations.extend(secrets);
        if let Some(size) = overrides.size {
            let settings = self.sidecars.iter().map(|one| &one.settings);
            let (cpu, memory) =
                Containers::least(settings.chain([&self.extra_container_definition]));
            for (pointer, wanted, kept, unit) in
                [("/cpu", size.cpu, cpu, "units"), ("/memory", size.memory, memory, "MiB")]
            {
                if u64::from(wanted) < kept {
                    let detail = format!("the job's containers want {kept} {unit}");
                    violations.push(Violation::new(pointer, Range, detail));
                }
            }
        }
        let told: BTreeSet<String> = violations.iter().map(|one| one.pointer.clone()).collect();
        let forbidden = guardrails.check_overrides(&overrides, deployment).into_iter();
        violations.extend(forbidden.filter(|one| !told.contains(&one.pointer)));
        violations.truncate(VIOLATIONS_MAX);
        if violations.is_empty() { Ok(overrides) } else { Err(violations) }
    }
}

impl Overrides {
    /// Reads them from the JSON of a request. Where only one of CPU and memory is given it goes
    /// with the other one of `size`, the job's.
    ///
    /// Errors: everything that is wrong, each with its JSON pointer.
    pub fn read(value: Value, size: FargateSize) -> Result<Overrides, Vec<Violation>> {
        let (overrides, violations) = Overrides::read_what_can_be(value, size);
        if violations.is_empty() { Ok(overrides) } else { Err(violations) }
    }

    fn read_what_can_be(value: Value, size: FargateSize) -> (Overrides, Vec<Violation>) {
        let mut violations = Vec::new();
        let overrides = read_object(value, String::new(), &mut violations, |fields| {
            let given = read_unchecked(fields);
            if given.command.as_ref().is_some_and(Vec::is_empty) {
                fields.violation(
                    "command",
                    Range,
                    "must have at least one argument: left out, the definition's command is run",
                );
            }
            check_arguments(fields, "command", given.command.as_deref().unwrap_or_default());
            let environment = given.environment.unwrap_or_default();
            check_environment(fields, &environment);
            let size = match (given.cpu, given.memory) {
                (None, None) => None,
                (cpu, memory) => {
                    let chosen = FargateSize::choose(
                        Some(cpu.unwrap_or(size.cpu)),
                        Some(memory.unwrap_or(size.memory)),
                    );
                    if let Err(wrong) = &chosen {
                        let path = wrong.pointer.trim_start_matches('/');
                        fields.violation_at(path, wrong.code, wrong.detail.clone());
                    }
                    chosen.ok()
                }
            };
            Overrides { command: given.command, environment, size }
        });
        let length = overrides.as_told().to_string().chars().count();
        if violations.is_empty() && length > OVERRIDES_MAX {
            violations.push(Violation::new(
                "",
                Range,
                format!(
                    "these overrides have {length} characters as ECS takes them; it takes \
                     {OVERRIDES_MAX}"
                ),
            ));
        }
        (overrides, violations)
    }

    /// The names of the fields that [`Overrides::read`] knows.
    pub fn field_names() -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
        read_unchecked(&mut fields);
        fields.known().to_vec()
    }
}

/// Reads why a run is to be stopped from the JSON of a request; `None` if it does not say.
///
/// Errors: everything that is wrong, each with its JSON pointer.
pub fn read_stop_reason(value: Value) -> Result<Option<String>, Vec<Violation>> {
    let mut violations = Vec::new();
    let reason = read_object(value, String::new(), &mut violations, |fields| {
        let reason = fields.string("reason");
        if let Some(text) = &reason {
            check_text(fields, "reason", text, 1, STOP_REASON_MAX);
        }
        reason
    });
    if violations.is_empty() { Ok(reason) } else { Err(violations) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SIZE: FargateSize = FargateSize { cpu: 512, memory: 1024 };

    fn wrong(value: Value) -> Vec<(String, &'static str)> {
        let violations = Overrides::read(value, SIZE).unwrap_err();
        violations.into_iter().map(|one| (one.pointer, one.code.as_str())).collect()
    }

    #[test]
    fn one_of_cpu_and_memory_goes_with_the_jobs_other_one() {
        for (value, size) in [
            (json!({}), None),
            (json!({"cpu": null, "command": null, "environment": null}), None),
            (json!({"memory": 2048}), Some((512, 2048))),
            (json!({"cpu": 256}), Some((256, 1024))),
            (json!({"cpu": 1024, "memory": 4096}), Some((1024, 4096))),
        ] {
            let read = Overrides::read(value.clone(), SIZE).unwrap();
            let size = size.map(|(cpu, memory)| FargateSize { cpu, memory });
            assert_eq!(read.size, size, "{value}");
        }
        assert_eq!(wrong(json!({"cpu": 1024})), [("/memory".to_owned(), "range")]);
        assert_eq!(wrong(json!({"cpu": 300})), [("/cpu".to_owned(), "range")]);
    }

    #[test]
    fn a_list_of_them_has_1000_entries_at_most() {
        let command = |count: usize| json!({"command": vec![""; count]});
        assert!(Overrides::read(command(1000), SIZE).is_ok());
        assert_eq!(wrong(command(1001)), [("/command".to_owned(), "range")]);
        let environment = |count: usize| -> Value {
            let variables: Value = (0..count).map(|one| (format!("V{one}"), json!(""))).collect();
            json!({"environment": variables})
        };
        assert_eq!(wrong(environment(1001)), [("/environment".to_owned(), "range")]);
        // So many don't fit into what ECS takes.
        assert_eq!(wrong(environment(1000)), [(String::new(), "range")]);
    }

    #[test]
    fn all_of_them_have_8192_characters_at_most() {
        let around = json!({"containerOverrides": [{"name": "main", "command": [""]}]});
        let room = 8192 - around.to_string().len();
        // Characters, not bytes.
        let fits = json!({"command": ["\u{fc}".repeat(room)]});
        assert!(Overrides::read(fits, SIZE).is_ok());
        let too_long = json!({"command": ["x".repeat(room + 1)]});
        assert_eq!(wrong(too_long), [(String::new(), "range")]);
    }
}
