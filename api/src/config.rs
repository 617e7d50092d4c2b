//! What the environment tells the functions; `template.yaml` sets it.

use std::env;

use crate::domain::deployment::{Deployment, Network};
use crate::domain::oidc::OidcConfig;
use crate::domain::rate::RateLimit;
use crate::domain::schedule::EngineChoice;

/// Longest name of a stack, in characters. Names of 64 characters at most begin with it whole, and
/// the functions' permissions are for names that do.
const STACK_MAX: usize = 40;

/// The environment, read once at start.
#[derive(Clone, Debug)]
pub struct Config {
    pub deployment: Deployment,
    pub table: String,
    /// SHA-256 of the administrator's token, 64 lower-case hexadecimal digits; the functions that
    /// serve no requests have none.
    pub admin_token_sha256: Option<String>,
    /// Whose tokens people may sign in with; `None` if nobody's.
    pub oidc: Option<OidcConfig>,
    /// How much everybody may send; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
}

/// A variable is missing or wrong: the deployment is broken, and the function can't start.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} {problem}")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl Config {
    /// Reads the environment of this process; the region is the one the AWS SDK found.
    pub fn from_env(region: &str) -> Result<Config, ConfigError> {
        Config::from_lookup(region, |name| env::var(name).ok())
    }

    /// Reads the variables through `lookup`.
    pub fn from_lookup(
        region: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        let given = |name: &'static str| lookup(name).filter(|value| !value.is_empty());
        let required = |name: &'static str| {
            given(name).ok_or(ConfigError { name, problem: "is not set".to_owned() })
        };
        let list = |name: &'static str| -> Vec<String> {
            given(name)
                .map(|value| {
                    value
                        .split(',')
                        .map(|one| one.trim().to_owned())
                        .filter(|one| !one.is_empty())
                        .collect()
                })
                .unwrap_or_default()
        };
        let stack = required("CRONPLANE_STACK")?;
        let characters = stack.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'-');
        if !characters || stack.len() > STACK_MAX {
            return Err(ConfigError {
                name: "CRONPLANE_STACK",
                problem: format!(
                    "must have at most {STACK_MAX} letters, digits and hyphens, not `{stack}`"
                ),
            });
        }
        let admin_token_sha256 = given("CRONPLANE_ADMIN_TOKEN_SHA256");
        if let Some(hash) = &admin_token_sha256
            && !(hash.len() == 64
                && hash.bytes().all(|one| one.is_ascii_digit() || (b'a'..=b'f').contains(&one)))
        {
            return Err(ConfigError {
                name: "CRONPLANE_ADMIN_TOKEN_SHA256",
                problem: "must be 64 lower-case hexadecimal digits".to_owned(),
            });
        }
        let days = |name: &'static str| {
            given(name).map_or(Ok(400), |days| {
                days.parse()
                    .ok()
                    .filter(|days| *days > 0)
                    .ok_or(ConfigError { name, problem: "must be a number of days".to_owned() })
            })
        };
        let count = |name: &'static str, default: u32| {
            given(name).map_or(Ok(default), |text| {
                text.parse()
                    .map_err(|_| ConfigError { name, problem: "must be a number".to_owned() })
            })
        };
        let per_second = count("CRONPLANE_RATE_LIMIT", 25)?;
        let burst = count("CRONPLANE_RATE_BURST", 100)?;
        if burst == 0 {
            let problem = "must be 1 at least".to_owned();
            return Err(ConfigError { name: "CRONPLANE_RATE_BURST", problem });
        }
        let oidc = given("CRONPLANE_OIDC_ISSUER").map(|issuer| OidcConfig {
            issuer,
            audience: given("CRONPLANE_OIDC_AUDIENCE").unwrap_or_default(),
            claim: given("CRONPLANE_OIDC_CLAIM").unwrap_or_else(|| "cronplane".to_owned()),
            prefix: given("CRONPLANE_OIDC_PREFIX").unwrap_or_default(),
        });
        if let Some(oidc) = &oidc {
            oidc.check()
                .map_err(|problem| ConfigError { name: "CRONPLANE_OIDC_ISSUER", problem })?;
        }
        let engine =
            given("CRONPLANE_SCHEDULE_ENGINE").map_or(Ok(EngineChoice::default()), |text| {
                EngineChoice::parse(&text).ok_or(ConfigError {
                    name: "CRONPLANE_SCHEDULE_ENGINE",
                    problem: format!("must be rules, by_need or scheduler, not `{text}`"),
                })
            })?;
        Ok(Config {
            deployment: Deployment {
                stack,
                partition: required("CRONPLANE_PARTITION")?,
                region: region.to_owned(),
                account: required("CRONPLANE_ACCOUNT_ID")?,
                url_suffix: required("CRONPLANE_URL_SUFFIX")?,
                public_url: required("CRONPLANE_PUBLIC_URL")?.trim_end_matches('/').to_owned(),
                default_network: Network {
                    subnets: list("CRONPLANE_DEFAULT_SUBNETS"),
                    security_groups: list("CRONPLANE_DEFAULT_SECURITY_GROUPS"),
                    assign_public_ip: given("CRONPLANE_DEFAULT_PUBLIC_IP").as_deref()
                        == Some("ENABLED"),
                },
                default_cluster: None,
                default_subscribers: Vec::new(),
                boundary_arn: required("CRONPLANE_BOUNDARY_ARN")?,
                dead_letter_queue_arn: required("CRONPLANE_SCHEDULE_DLQ_ARN")?,
                start_queue_arn: required("CRONPLANE_START_QUEUE_ARN")?,
                alert_queue_arn: required("CRONPLANE_ALERT_QUEUE_ARN")?,
                engine,
                schedule_group: required("CRONPLANE_SCHEDULE_GROUP")?,
                passable_roles: list("CRONPLANE_PASSABLE_ROLES"),
                readable_secrets: list("CRONPLANE_READABLE_SECRETS"),
                allow_secret_environment: given("CRONPLANE_ALLOW_SECRET_ENVIRONMENT").as_deref()
                    == Some("ENABLED"),
                history_days: days("CRONPLANE_HISTORY_DAYS")?,
                audit_days: days("CRONPLANE_AUDIT_DAYS")?,
            },
            table: required("CRONPLANE_TABLE")?,
            admin_token_sha256,
            oidc,
            rate_limit: (per_second > 0).then_some(RateLimit { per_second, burst }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        let value = match name {
            "CRONPLANE_STACK" => "cp",
            "CRONPLANE_DEFAULT_SUBNETS" => "subnet-a, subnet-b,",
            "CRONPLANE_DEFAULT_PUBLIC_IP" => "ENABLED",
            "CRONPLANE_ADMIN_TOKEN_SHA256" => return Some("0f".repeat(32)),
            "CRONPLANE_PUBLIC_URL" => "https://api.example.com/",
            "CRONPLANE_PASSABLE_ROLES" | "CRONPLANE_DEFAULT_SECURITY_GROUPS" => "",
            "CRONPLANE_READABLE_SECRETS" => "arn:a:*,arn:b",
            "CRONPLANE_HISTORY_DAYS"
            | "CRONPLANE_AUDIT_DAYS"
            | "CRONPLANE_RATE_LIMIT"
            | "CRONPLANE_RATE_BURST"
            | "CRONPLANE_OIDC_ISSUER"
            | "CRONPLANE_SCHEDULE_ENGINE"
            | "CRONPLANE_ALLOW_SECRET_ENVIRONMENT" => return None,
            _ => "x",
        };
        Some(value.to_owned())
    }

    #[test]
    fn lists_are_split_and_the_url_has_no_slash_at_its_end() {
        let config = Config::from_lookup("eu-west-1", variables).unwrap();
        assert_eq!(config.deployment.default_network.subnets, ["subnet-a", "subnet-b"]);
        assert!(config.deployment.default_network.assign_public_ip);
        assert!(config.deployment.passable_roles.is_empty());
        assert_eq!(config.deployment.readable_secrets, ["arn:a:*", "arn:b"]);
        assert_eq!(config.deployment.public_url, "https://api.example.com");
        assert_eq!(config.deployment.history_days, 400);
    }

    #[test]
    fn secrets_in_the_environment_are_allowed_by_one_word_only() {
        for (value, allowed) in [
            ("ENABLED", true),
            ("DISABLED", false),
            ("enabled", false),
            ("true", false),
            ("", false),
        ] {
            let config = Config::from_lookup("eu-west-1", |asked| {
                if asked == "CRONPLANE_ALLOW_SECRET_ENVIRONMENT" {
                    Some(value.to_owned())
                } else {
                    variables(asked)
                }
            });
            assert_eq!(config.unwrap().deployment.allow_secret_environment, allowed, "{value}");
        }
        let config = Config::from_lookup("eu-west-1", variables).unwrap();
        assert!(!config.deployment.allow_secret_environment);
    }

    fn with(set: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup("eu-west-1", |asked| {
            let found = set.iter().find(|(name, _)| *name == asked);
            found.map_or_else(|| variables(asked), |(_, value)| Some((*value).to_owned()))
        })
    }

    #[test]
    fn a_provider_needs_an_audience_and_has_a_claim_by_default() {
        assert_eq!(with(&[]).unwrap().oidc, None);
        let issuer = ("CRONPLANE_OIDC_ISSUER", "https://login.example.com");
        let none = ("CRONPLANE_OIDC_AUDIENCE", "");
        assert!(with(&[issuer, none]).unwrap_err().to_string().contains("OIDC"));
        let insecure = ("CRONPLANE_OIDC_ISSUER", "http://login.example.com");
        assert!(with(&[insecure]).is_err());
        let empty = ("CRONPLANE_OIDC_CLAIM", "");
        let oidc = with(&[issuer, empty, ("CRONPLANE_OIDC_PREFIX", "")]).unwrap().oidc.unwrap();
        assert_eq!((&*oidc.claim, &*oidc.prefix, &*oidc.audience), ("cronplane", "", "x"));
    }

    #[test]
    fn there_is_a_limit_unless_it_is_0() {
        let limit = |per_second, burst| Some(RateLimit { per_second, burst });
        assert_eq!(with(&[]).unwrap().rate_limit, limit(25, 100));
        let set = [("CRONPLANE_RATE_LIMIT", "3"), ("CRONPLANE_RATE_BURST", "4")];
        assert_eq!(with(&set).unwrap().rate_limit, limit(3, 4));
        assert_eq!(with(&[("CRONPLANE_RATE_LIMIT", "0")]).unwrap().rate_limit, None);
        assert!(with(&[("CRONPLANE_RATE_BURST", "0")]).is_err());
        assert!(with(&[("CRONPLANE_RATE_LIMIT", "-1")]).is_err());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value) in [
            ("CRONPLANE_TABLE", ""),
            ("CRONPLANE_STACK", "a_b"),
            ("CRONPLANE_STACK", "a-stack-whose-name-has-forty-one-letters-"),
            ("CRONPLANE_ADMIN_TOKEN_SHA256", "secret"),
            ("CRONPLANE_HISTORY_DAYS", "0"),
            ("CRONPLANE_AUDIT_DAYS", "many"),
            ("CRONPLANE_SCHEDULE_ENGINE", "Scheduler"),
            ("CRONPLANE_SCHEDULE_GROUP", ""),
        ] {
            let error = Config::from_lookup("eu-west-1", |asked| {
                if asked == name { Some(value.to_owned()) } else { variables(asked) }
            })
            .unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
