//! Secrets by reference: what the containers get in their environment without its standing in a
//! definition.

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::{ENTRIES_MAX, check_count, check_main_variable};
use crate::domain::deployment::Deployment;
use crate::domain::fields::Fields;
use crate::domain::violation::ViolationCode::{Duplicate, Forbidden, Format};
use crate::domain::violation::pointer_token;

/// The service that keeps a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretStore {
    SecretsManager,
    ParameterStore,
}

/// What `reference` (the `valueFrom` of ECS) names: its store and the ARN that permission is given
/// for; `None` if it has not the form of one.
///
/// Source: Amazon ECS Developer Guide, "Pass sensitive data to an Amazon ECS container":
/// `arn:…:secretsmanager:<region>:<account>:secret:<name>-<6 characters>` (a `!` stands in the names of
/// those that AWS services manage, such as a database's password), with
/// `:<json key>:<version stage>:<version id>` behind it where a part is meant, and
/// `arn:…:ssm:<region>:<account>:parameter/<name>`.
pub(in crate::domain) fn secret_resource(reference: &str) -> Option<(SecretStore, String)> {
    let parts: Vec<&str> = reference.split(':').collect();
    let ["arn", _, service, _, _, rest @ ..] = &parts[..] else {
        return None;
    };
    match (*service, rest) {
        ("secretsmanager", ["secret", name]) | ("secretsmanager", ["secret", name, _, _, _]) => {
            let (stem, suffix) = name.rsplit_once('-')?;
            let good = !stem.is_empty()
                && stem
                    .bytes()
                    .all(|one| one.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&one))
                && suffix.len() == 6
                && suffix.bytes().all(|one| one.is_ascii_alphanumeric())
                && rest[2..].iter().all(|part| part.chars().all(|one| one.is_ascii_graphic()));
            good.then(|| (SecretStore::SecretsManager, parts[..7].join(":")))
        }
        ("ssm", [parameter]) => {
            let name = parameter.strip_prefix("parameter/")?;
            let good = !name.is_empty()
                && name.bytes().all(|one| one.is_ascii_alphanumeric() || b"/_.-".contains(&one));
            good.then(|| (SecretStore::ParameterStore, reference.to_owned()))
        }
        _ => None,
    }
}

/// A reference must be one, of this account and region, to what the deployment may hand out.
pub(super) fn check_secret(
    fields: &mut Fields<'_>,
    key: &str,
    reference: &str,
    deployment: &Deployment,
) {
    let here = |service: &str| deployment.arn(service, "");
    let resource = secret_resource(reference)
        .filter(|_| {
            reference.len() <= 2048
                && (reference.starts_with(&here("secretsmanager"))
                    || reference.starts_with(&here("ssm")))
        })
        .map(|(_, arn)| arn);
    match resource {
        None => fields.violation_at(
            key,
            Format,
            format!(
                "must be the ARN of a secret or parameter of this account and region: \
                 `{}secret:<name>-<6 characters>`, `:<json key>::` behind it for one key of it, or \
                 `{}parameter/<name>`",
                here("secretsmanager"),
                here("ssm"),
            ),
        ),
        Some(arn) if !deployment.may_read_secret(&arn) => fields.violation_at(
            key,
            Forbidden,
            "this deployment may not hand out that secret: its administrator has to add it to the \
             stack's parameter ReadableSecrets",
        ),
        Some(_) => {}
    }
}

/// What a registry is logged in to with: a whole secret of Secrets Manager (Amazon ECS API Reference,
/// RepositoryCredentials).
pub(super) fn check_credentials(
    fields: &mut Fields<'_>,
    key: &str,
    reference: &str,
    deployment: &Deployment,
) {
    match secret_resource(reference) {
        Some((SecretStore::SecretsManager, arn)) if arn == reference => {
            check_secret(fields, key, reference, deployment);
        }
        _ => fields.violation_at(
            key,
            Format,
            "must be the ARN of a secret of Secrets Manager, and of no part of it",
        ),
    }
}

/// The secrets of the main container, by the variable that holds each.
pub(super) fn check_secrets(
    fields: &mut Fields<'_>,
    secrets: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
    deployment: &Deployment,
) {
    check_count(fields, "secrets", secrets.len(), ENTRIES_MAX, "secrets");
    for (name, reference) in secrets {
        let key = format!("secrets/{}", pointer_token(name));
        check_main_variable(fields, &key, name);
        if environment.contains_key(name) {
            fields.violation_at(&key, Duplicate, "is a variable of `environment` too");
        }
        check_secret(fields, &key, reference, deployment);
    }
}

/// The ARNs of `references`, by their store, each once.
pub fn secret_resources<'a>(
    references: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<SecretStore, BTreeSet<String>> {
    let mut resources: BTreeMap<SecretStore, BTreeSet<String>> = BTreeMap::new();
    for (store, arn) in references.into_iter().filter_map(secret_resource) {
        resources.entry(store).or_default().insert(arn);
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_is_given_for_the_secret_whatever_part_of_it_is_meant() {
        let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-AbC123";
        for reference in [
            secret.to_owned(),
            format!("{secret}:password::"),
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-AbC123:::".to_owned(),
            format!("{secret}:password:AWSPREVIOUS:"),
            format!("{secret}:::9d4cb84b-ad69-40c0-a0ab-cead36b967e8"),
        ] {
            let expected = Some((SecretStore::SecretsManager, secret.to_owned()));
            assert_eq!(secret_resource(&reference), expected, "{reference}");
        }
        let managed = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:rds!db-1f2e-AbC123";
        let expected = Some((SecretStore::SecretsManager, managed.to_owned()));
        assert_eq!(secret_resource(managed), expected);
        let parameter = "arn:aws:ssm:eu-west-1:111122223333:parameter/app/db.password";
        assert_eq!(
            secret_resource(parameter),
            Some((SecretStore::ParameterStore, parameter.to_owned()))
        );
    }

    #[test]
    fn what_could_name_more_than_one_secret_is_none() {
        for bad in [
            "",
            "app/db",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:*-AbC123",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a?-AbC123",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a-AbC12*",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a-AbC123:key",
            "arn:aws:ssm:eu-west-1:111122223333:parameter/*",
            "arn:aws:ssm:eu-west-1:111122223333:parameter/",
            "arn:aws:s3:::bucket/key",
        ] {
            assert_eq!(secret_resource(bad), None, "{bad}");
        }
    }
}
