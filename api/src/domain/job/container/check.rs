//! What the containers of one task must be to each other.

use std::collections::BTreeSet;

use super::{ContainerSettings, DependencyCondition, SIDECARS_MAX, Sidecar};
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::Fields;
use crate::domain::task::MAIN_CONTAINER;
use crate::domain::violation::ViolationCode::{
    DoesNotExist, Duplicate, NotAllowed, Range, Required,
};

/// The containers of a task, as far as they depend on each other.
pub(in crate::domain::job) struct Containers<'a> {
    pub(in crate::domain::job) main: &'a ContainerSettings,
    pub(in crate::domain::job) main_is_checked: bool,
    /// `None` for one that could not be read.
    pub(in crate::domain::job) sidecars: &'a [Option<Sidecar>],
    /// The names of the volumes that the task has.
    pub(in crate::domain::job) volumes: BTreeSet<&'a str>,
}

impl<'a> Containers<'a> {
    /// The sidecars that could be read, each with its index.
    fn sidecars(&self) -> impl Iterator<Item = (usize, &'a Sidecar)> {
        let indexed = self.sidecars.iter().enumerate();
        indexed.filter_map(|(index, one)| Some((index, one.as_ref()?)))
    }

    /// Each container's name, settings and pointer.
    fn all(&self) -> Vec<(&'a str, &'a ContainerSettings, String)> {
        let main = (MAIN_CONTAINER, self.main, "extra_container_definition".to_owned());
        let sidecars = self
            .sidecars()
            .map(|(index, one)| (one.name.as_str(), &one.settings, format!("sidecars/{index}")));
        std::iter::once(main).chain(sidecars).collect()
    }

    /// Whether the container `name` has a health check; `None` if there is no such container.
    fn is_checked(&self, name: &str) -> Option<bool> {
        if name == MAIN_CONTAINER {
            return Some(self.main_is_checked);
        }
        let (_, sidecar) = self.sidecars().find(|(_, one)| one.name == name)?;
        Some(sidecar.health_check.is_some())
    }

    pub(in crate::domain::job) fn check(&self, fields: &mut Fields<'_>, size: FargateSize) {
        let mut names = BTreeSet::new();
        for (index, sidecar) in self.sidecars() {
            if !names.insert(sidecar.name.as_str()) {
                let at = format!("sidecars/{index}/name");
                fields.violation_at(&at, Duplicate, "is the name of another sidecar");
            }
            for (mount, point) in sidecar.mount_points.iter().enumerate() {
                if !self.volumes.contains(point.source_volume.as_str()) {
                    let at = format!("sidecars/{index}/mountPoints/{mount}/sourceVolume");
                    fields.violation_at(&at, DoesNotExist, "is none of `volumes`");
                }
            }
        }
        self.check_sizes(fields, size);
        self.check_dependencies(fields);
    }

    /// What is kept for the container of the task's memory, in MiB, and the name of the field.
    fn memory_of(settings: &ContainerSettings) -> (&'static str, u32) {
        match (settings.memory_reservation, settings.memory) {
            (Some(reserved), _) => ("memoryReservation", reserved),
            (None, limit) => ("memory", limit.unwrap_or(0)),
        }
    }

    /// The CPU units and the MiB that a task must have at least.
    pub(in crate::domain::job) fn least(
        settings: impl Iterator<Item = &'a ContainerSettings>,
    ) -> (u64, u64) {
        settings.fold((0, 0), |(cpu, memory), one| {
            let limit = u64::from(one.memory.unwrap_or(0));
            let kept = u64::from(Self::memory_of(one).1);
            (cpu + u64::from(one.cpu.unwrap_or(0)), limit.max(memory + kept))
        })
    }

    /// What is kept for the containers must not be more than the task has.
    fn check_sizes(&self, fields: &mut Fields<'_>, size: FargateSize) {
        let mut cpu = 0;
        let mut memory = 0;
        for (_, settings, at) in self.all() {
            cpu += u64::from(settings.cpu.unwrap_or(0));
            if settings.cpu.is_some() && cpu > u64::from(size.cpu) {
                let detail = format!("the containers want more than the task's {} units", size.cpu);
                fields.violation_at(&format!("{at}/cpu"), Range, detail);
            }
            let (key, wanted) = Self::memory_of(settings);
            memory += u64::from(wanted);
            let limit_fits = settings.memory.is_none_or(|limit| limit <= size.memory);
            if (wanted > 0 && memory > u64::from(size.memory)) || !limit_fits {
                let detail =
                    format!("the containers want more than the task's {} MiB", size.memory);
                fields.violation_at(&format!("{at}/{key}"), Range, detail);
            }
        }
    }

    fn check_dependencies(&self, fields: &mut Fields<'_>) {
        // So many are refused anyway, and what follows is for short lists.
        if self.sidecars.len() > SIDECARS_MAX {
            return;
        }
        let all = self.all();
        for (_, settings, at) in &all {
            let mut named = BTreeSet::new();
            for (index, one) in settings.depends_on.iter().enumerate() {
                if !named.insert(&one.container_name) {
                    let at = format!("{at}/dependsOn/{index}/containerName");
                    fields.violation_at(&at, Duplicate, "is waited for twice");
                    // What follows is for lists that are as short as there are containers.
                    return;
                }
            }
        }
        for (name, settings, at) in all {
            for (index, one) in settings.depends_on.iter().enumerate() {
                let at = format!("{at}/dependsOn/{index}");
                let on = one.container_name.as_str();
                let Some(is_checked) = self.is_checked(on) else {
                    let detail = "is neither `main` nor a sidecar";
                    fields.violation_at(&format!("{at}/containerName"), DoesNotExist, detail);
                    continue;
                };
                let condition = format!("{at}/condition");
                match one.condition {
                    DependencyCondition::Healthy if !is_checked => {
                        let detail = format!("`{on}` has no health check");
                        fields.violation_at(&condition, Required, detail);
                    }
                    DependencyCondition::Complete | DependencyCondition::Success
                        if on == MAIN_CONTAINER =>
                    {
                        let detail = "the task is over when the main container is";
                        fields.violation_at(&condition, NotAllowed, detail);
                    }
                    _ => {}
                }
                if self.reaches(on, name, &mut BTreeSet::new()) {
                    let detail = "the two wait for each other";
                    fields.violation_at(&format!("{at}/containerName"), NotAllowed, detail);
                }
            }
        }
    }

    /// Whether the container `from` is, or waits in the end for, `to`.
    fn reaches(&self, from: &'a str, to: &str, seen: &mut BTreeSet<&'a str>) -> bool {
        if from == to {
            return true;
        }
        if !seen.insert(from) {
            return false;
        }
        self.all().into_iter().filter(|(name, _, _)| *name == from).any(|(_, settings, _)| {
            settings.depends_on.iter().any(|one| self.reaches(&one.container_name, to, seen))
        })
    }
}
