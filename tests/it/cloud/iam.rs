//! AWS Identity and Access Management: roles.

use std::collections::BTreeMap;

use aws_sdk_iam::Client;
use aws_sdk_iam::operation::create_role::{CreateRoleInput, CreateRoleOutput};
use aws_sdk_iam::operation::delete_role::{DeleteRoleInput, DeleteRoleOutput};
use aws_sdk_iam::operation::delete_role_policy::{DeleteRolePolicyInput, DeleteRolePolicyOutput};
use aws_sdk_iam::operation::get_account_summary::{
    GetAccountSummaryInput, GetAccountSummaryOutput,
};
use aws_sdk_iam::operation::get_role::{GetRoleInput, GetRoleOutput};
use aws_sdk_iam::operation::put_role_permissions_boundary::{
    PutRolePermissionsBoundaryInput, PutRolePermissionsBoundaryOutput,
};
use aws_sdk_iam::operation::put_role_policy::{PutRolePolicyInput, PutRolePolicyOutput};
use aws_sdk_iam::operation::tag_role::{TagRoleInput, TagRoleOutput};
use aws_sdk_iam::operation::untag_role::{UntagRoleInput, UntagRoleOutput};
use aws_sdk_iam::operation::update_assume_role_policy::{
    UpdateAssumeRolePolicyInput, UpdateAssumeRolePolicyOutput,
};
use aws_sdk_iam::primitives::DateTime;
use aws_sdk_iam::types::Tag;
use aws_smithy_mocks::mock;

use super::{ACCOUNT, Cloud, Refusal, Standing, State, Tags, client, content_of, refusal};

#[derive(Default)]
pub(crate) struct Iam {
    pub(crate) roles: BTreeMap<String, Role>,
    /// How many there can be, if the account's summary says so.
    pub(crate) roles_quota: Option<i32>,
    /// The account's summary does not say how many roles there are.
    pub(crate) tells_no_roles: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) path: String,
    pub(crate) trust: String,
    pub(crate) boundary: Option<String>,
    pub(crate) tags: Tags,
    /// Inline policies by name.
    pub(crate) policies: BTreeMap<String, String>,
}

impl Iam {
    pub(crate) fn standing(&self) -> impl Iterator<Item = (String, Standing)> {
        self.roles.iter().map(|(name, role)| {
            let tags = role.tags.clone();
            let content = content_of(role);
            (format!("role {name}"), Standing { tags, content })
        })
    }

    pub(super) fn has_role(&self, arn: &str) -> bool {
        let mut all = self.roles.iter();
        all.any(|(name, role)| arn == role_arn(name, role))
    }

    fn role(&mut self, name: Option<&str>) -> Result<&mut Role, Refusal> {
        let name = name.unwrap();
        let message = format!("The role with name {name} cannot be found.");
        let role = self.roles.get_mut(name);
        role.ok_or_else(|| refusal("NoSuchEntity", message))
    }
}

fn role_arn(name: &str, role: &Role) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role{}{name}", role.path)
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_iam,
        [
            cloud.read("iam:GetRole", mock!(Client::get_role), get_role),
            cloud.read(
                "iam:GetAccountSummary",
                mock!(Client::get_account_summary),
                get_account_summary,
            ),
            cloud.write("iam:CreateRole", mock!(Client::create_role), create_role),
            cloud.write("iam:DeleteRole", mock!(Client::delete_role), delete_role),
            cloud.write(
                "iam:UpdateAssumeRolePolicy",
                mock!(Client::update_assume_role_policy),
                update_assume_role_policy,
            ),
            cloud.write(
                "iam:PutRolePermissionsBoundary",
                mock!(Client::put_role_permissions_boundary),
                put_role_permissions_boundary,
            ),
            cloud.write("iam:PutRolePolicy", mock!(Client::put_role_policy), put_role_policy,),
            cloud.write(
                "iam:DeleteRolePolicy",
                mock!(Client::delete_role_policy),
                delete_role_policy,
            ),
            cloud.write("iam:TagRole", mock!(Client::tag_role), tag_role),
            cloud.write("iam:UntagRole", mock!(Client::untag_role), untag_role),
        ]
    )
}

fn described(name: &str, role: &Role) -> aws_sdk_iam::types::Role {
    let tags =
        role.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build().unwrap());
    aws_sdk_iam::types::Role::builder()
        .role_name(name)
        .role_id("AROA0")
        .path(&role.path)
        .arn(role_arn(name, role))
        .create_date(DateTime::from_secs(0))
        .set_tags(Some(tags.collect()))
        .build()
        .unwrap()
}

fn get_role(state: &mut State, input: &GetRoleInput) -> Result<GetRoleOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    let role = described(input.role_name().unwrap(), role);
    Ok(GetRoleOutput::builder().role(role).build())
}

fn get_account_summary(
    state: &mut State,
    _: &GetAccountSummaryInput,
) -> Result<GetAccountSummaryOutput, Refusal> {
    let roles = i32::try_from(state.iam.roles.len()).unwrap();
    let mut told = GetAccountSummaryOutput::builder().summary_map("Users".into(), 7);
    if !state.iam.tells_no_roles {
        told = told.summary_map("Roles".into(), roles);
    }
    if let Some(quota) = state.iam.roles_quota {
        told = told.summary_map("RolesQuota".into(), quota);
    }
    Ok(told.build())
}

fn create_role(state: &mut State, input: &CreateRoleInput) -> Result<CreateRoleOutput, Refusal> {
    let name = input.role_name().unwrap();
    if name.len() > 64 {
        return Err(refusal("ValidationError", "roleName is too long."));
    }
    if state.iam.roles.contains_key(name) {
        return Err(refusal(
            "EntityAlreadyExists",
            format!("Role with name {name} already exists."),
        ));
    }
    let tags = input.tags().iter();
    let role = Role {
        path: input.path().unwrap_or("/").to_owned(),
        trust: input.assume_role_policy_document().unwrap().to_owned(),
        boundary: input.permissions_boundary().map(str::to_owned),
        tags: tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect(),
        policies: BTreeMap::new(),
    };
    let made = described(name, &role);
    state.iam.roles.insert(name.to_owned(), role);
    Ok(CreateRoleOutput::builder().role(made).build())
}

fn delete_role(state: &mut State, input: &DeleteRoleInput) -> Result<DeleteRoleOutput, Refusal> {
    if !state.iam.role(input.role_name())?.policies.is_empty() {
        return Err(refusal("DeleteConflict", "Cannot delete entity, must delete policies first."));
    }
    state.iam.roles.remove(input.role_name().unwrap());
    Ok(DeleteRoleOutput::builder().build())
}

fn update_assume_role_policy(
    state: &mut State,
    input: &UpdateAssumeRolePolicyInput,
) -> Result<UpdateAssumeRolePolicyOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    role.trust = input.policy_document().unwrap().to_owned();
    Ok(UpdateAssumeRolePolicyOutput::builder().build())
}

fn put_role_permissions_boundary(
    state: &mut State,
    input: &PutRolePermissionsBoundaryInput,
) -> Result<PutRolePermissionsBoundaryOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    role.boundary = input.permissions_boundary().map(str::to_owned);
    Ok(PutRolePermissionsBoundaryOutput::builder().build())
}

fn put_role_policy(
    state: &mut State,
    input: &PutRolePolicyInput,
) -> Result<PutRolePolicyOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    let name = input.policy_name().unwrap().to_owned();
    let document = input.policy_document().unwrap().to_owned();
    role.policies.insert(name, document);
    Ok(PutRolePolicyOutput::builder().build())
}

fn delete_role_policy(
    state: &mut State,
    input: &DeleteRolePolicyInput,
) -> Result<DeleteRolePolicyOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    match role.policies.remove(input.policy_name().unwrap()) {
        Some(_) => Ok(DeleteRolePolicyOutput::builder().build()),
        None => Err(refusal("NoSuchEntity", "The role policy with name cannot be found.")),
    }
}

/// Adds tags to those that are there.
fn tag_role(state: &mut State, input: &TagRoleInput) -> Result<TagRoleOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    let tags = input.tags().iter();
    role.tags.extend(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
    Ok(TagRoleOutput::builder().build())
}

/// A key that is not there is no error.
fn untag_role(state: &mut State, input: &UntagRoleInput) -> Result<UntagRoleOutput, Refusal> {
    let role = state.iam.role(input.role_name())?;
    role.tags.retain(|key, _| !input.tag_keys().contains(key));
    Ok(UntagRoleOutput::builder().build())
}
