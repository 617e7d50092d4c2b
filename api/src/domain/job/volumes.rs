//! Volumes: files that outlive a container, or that containers share.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::bounds::{check_count, check_form};
use super::container::check_path;
use crate::domain::fields::Fields;
use crate::domain::violation::ViolationCode::{Duplicate, Format, NotAllowed};

/// So many are plenty; AWS names no number, and a task definition has 64 KB.
pub(super) const VOLUMES_MAX: usize = 20;

/// A volume of the task: an EFS file system, or without one, empty space of the task's own storage
/// that its containers share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    /// Where the main container has it; without it only the sidecars that mount it do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// Whether the main container may only read it.
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efs: Option<Efs>,
}

/// Source: Amazon ECS API Reference, EFSVolumeConfiguration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Efs {
    pub file_system_id: String,
    /// The directory of the file system that is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_point_id: Option<String>,
    pub transit_encryption: bool,
    /// Whether the task role is what EFS lets in.
    pub iam_authorization: bool,
}

/// `None` for one that could not be read, so that the others keep their indices.
pub(super) fn read_volumes(fields: &mut Fields<'_>) -> Vec<Option<Volume>> {
    let volumes: Vec<Option<Volume>> = fields.objects("volumes", read_volume).unwrap_or_default();
    check_count(fields, "volumes", volumes.len(), VOLUMES_MAX, "volumes");
    let mut names = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let Some(volume) = volume else { continue };
        if !names.insert(&volume.name) {
            fields.violation_at(&format!("volumes/{index}/name"), Duplicate, "is named twice");
        }
        if let Some(path) = &volume.mount_path
            && !paths.insert(path)
        {
            let detail = "is where another volume is";
            fields.violation_at(&format!("volumes/{index}/mount_path"), Duplicate, detail);
        }
    }
    volumes
}

fn read_volume(volume: &mut Fields<'_>) -> Option<Volume> {
    let name = volume.string("name");
    let name = volume.required("name", name);
    if let Some(name) = &name {
        let characters = |text: &str| {
            text.bytes().all(|one| one.is_ascii_alphanumeric() || b"-_".contains(&one))
        };
        check_form(volume, "name", name, 255, characters, "letters, digits, `_` and `-`");
    }
    let mount_path = volume.string("mount_path");
    if let Some(path) = &mount_path {
        check_path(volume, "mount_path", path);
    }
    let read_only = volume.boolean("read_only").unwrap_or(false);
    let given = volume.object("efs", read_efs);
    let efs = match given {
        Some(efs) => Some(efs?),
        None => None,
    };
    Some(Volume { name: name?, mount_path, read_only, efs })
}

fn read_efs(efs: &mut Fields<'_>) -> Option<Efs> {
    let file_system_id = efs.string("file_system_id");
    let file_system_id = efs.required("file_system_id", file_system_id);
    if let Some(id) = &file_system_id {
        check_id(efs, "file_system_id", id, "fs-");
    }
    let access_point_id = efs.string("access_point_id");
    if let Some(id) = &access_point_id {
        check_id(efs, "access_point_id", id, "fsap-");
    }
    let root_directory = efs.string("root_directory");
    if let Some(path) = &root_directory {
        check_path(efs, "root_directory", path);
        if access_point_id.is_some() && path != "/" {
            let detail = "an access point has its own: leave it out, or say `/`";
            efs.violation("root_directory", NotAllowed, detail);
        }
    }
    let transit_encryption = efs.boolean("transit_encryption").unwrap_or(true);
    let iam_authorization = efs.boolean("iam_authorization").unwrap_or(false);
    if !transit_encryption && (iam_authorization || access_point_id.is_some()) {
        let detail = "an access point and IAM authorization want it";
        efs.violation("transit_encryption", NotAllowed, detail);
    }
    Some(Efs {
        file_system_id: file_system_id?,
        root_directory,
        access_point_id,
        transit_encryption,
        iam_authorization,
    })
}

/// Amazon EFS API Reference, FileSystemDescription and AccessPointDescription.
fn check_id(fields: &mut Fields<'_>, key: &str, id: &str, prefix: &str) {
    let good = id.strip_prefix(prefix).is_some_and(|rest| {
        (8..=40).contains(&rest.len())
            && rest.bytes().all(|one| one.is_ascii_digit() || (b'a'..=b'f').contains(&one))
    });
    if !good {
        let detail = format!("must be an id such as `{prefix}0123456789abcdef0`");
        fields.violation_at(key, Format, detail);
    }
}
