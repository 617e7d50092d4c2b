//! Sign-in with an OIDC provider: what the deployment says of it, and what a token's claim grants.

use std::collections::btree_map::Entry;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::access::{Access, Role};
use super::ids::TeamName;

/// How long the provider's keys go on being used when it can't be asked for new ones.
pub const KEYS_USABLE: SignedDuration = SignedDuration::from_hours(24);

/// The OIDC provider whose tokens the deployment takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// The `iss` of every token, exactly, and where the provider says what it is:
    /// `<issuer>/.well-known/openid-configuration`.
    pub issuer: String,
    /// What `aud` of every token must contain.
    pub audience: String,
    /// The claim that holds what somebody may do.
    pub claim: String,
    /// What each of its values that is meant for this deployment starts with; may be empty.
    pub prefix: String,
}

impl OidcConfig {
    /// Whether one can sign in with it; the error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let issuer = &self.issuer;
        if !is_https(issuer) && !is_loopback(issuer) {
            return Err(format!("the issuer must be an https URL, not `{issuer}`"));
        }
        // OpenID Connect Discovery 1.0, section 4: a URL without query and fragment.
        if issuer.contains(['?', '#']) {
            return Err(format!("the issuer can't have a query or fragment, as `{issuer}` has"));
        }
        if self.audience.is_empty() {
            return Err(
                "an audience is wanted: without one any token of the provider is taken".to_owned()
            );
        }
        if self.claim.is_empty() {
            return Err("the claim must have a name".to_owned());
        }
        Ok(())
    }

    /// What the value of the claim grants: an array of strings, or one string with spaces. A value is
    /// `<team>:<role>` or `administrator`, behind the prefix; what is not of that form is for others.
    /// The greatest role of a team counts.
    pub fn access(&self, value: Option<&Value>) -> Access {
        let values: Vec<&str> = match value {
            Some(Value::String(text)) => text.split(' ').collect(),
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut access = Access::default();
        for value in values {
            let Some(granted) = value.strip_prefix(self.prefix.as_str()) else {
                continue;
            };
            if granted == Role::Administrator.as_str() {
                access.administrator = true;
            } else if let Some((team, role)) = role_in_team(granted) {
                match access.teams.entry(team) {
                    Entry::Vacant(entry) => {
                        entry.insert(role);
                    }
                    Entry::Occupied(mut entry) => {
                        let greatest = role.max(*entry.get());
                        entry.insert(greatest);
                    }
                }
            }
        }
        access
    }
}

fn role_in_team(text: &str) -> Option<(TeamName, Role)> {
    let (team, role) = text.split_once(':')?;
    let role = Role::OF_TEAMS.into_iter().find(|known| known.as_str() == role)?;
    Some((TeamName::parse(team).ok()?, role))
}

/// Whether `url` is one of https, with a host and without a user in it.
pub fn is_https(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| {
        let authority = authority(rest);
        !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@')
    })
}

/// Whether `url` is one of http at this machine itself, where nobody listens in.
pub fn is_loopback(url: &str) -> bool {
    url.strip_prefix("http://").is_some_and(|rest| {
        let authority = authority(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        matches!(host, "127.0.0.1" | "localhost" | "[::1]") && port.parse::<u16>().is_ok()
    })
}

/// Of a URL without its scheme: what stands before its path.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The provider's keys, as they are kept for all instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedKeys {
    /// A JWK set (RFC 7517), as JSON.
    pub jwks: String,
    pub fetched_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> OidcConfig {
        OidcConfig {
            issuer: "https://id.example.com/tenant".to_owned(),
            audience: "cronplane".to_owned(),
            claim: "cronplane".to_owned(),
            prefix: String::new(),
        }
    }

    fn teams(access: &Access) -> Vec<(&str, Role)> {
        access.teams.iter().map(|(team, role)| (team.as_str(), *role)).collect()
    }

    #[test]
    fn an_array_and_a_string_with_spaces_grant_the_same() {
        for value in [json!(["data:viewer", "platform:owner"]), json!("data:viewer platform:owner")]
        {
            let access = config().access(Some(&value));
            assert_eq!(teams(&access), [("data", Role::Viewer), ("platform", Role::Owner)]);
            assert!(!access.administrator);
        }
    }

    #[test]
    fn the_greatest_role_of_a_team_counts_in_any_order() {
        for value in [json!(["a:editor", "a:viewer"]), json!(["a:viewer", "a:editor"])] {
            assert_eq!(teams(&config().access(Some(&value))), [("a", Role::Editor)]);
        }
    }

    #[test]
    fn what_is_not_of_the_form_grants_nothing() {
        for value in [
            json!(null),
            json!(7),
            json!({"a": "editor"}),
            json!([["a:editor"], {"team": "a"}, 7]),
            json!(["a", "a:", ":editor", "a:root", "a:administrator", "a:Editor", "A:editor"]),
            json!(["a:editor:b", "a: editor", " a:editor", "a:editor b:editor"]),
            json!(["Administrator", "administrator ", "*:administrator", ""]),
            json!("a,editor"),
        ] {
            assert_eq!(config().access(Some(&value)), Access::default(), "{value}");
        }
        assert_eq!(config().access(None), Access::default());
    }

    #[test]
    fn an_administrator_is_told_by_the_word_alone() {
        assert!(config().access(Some(&json!(["administrator"]))).administrator);
        assert!(config().access(Some(&json!("x administrator"))).administrator);
    }

    #[test]
    fn only_what_starts_with_the_prefix_counts() {
        let config = OidcConfig { prefix: "cp-prod/".to_owned(), ..config() };
        let value = json!(["administrator", "a:owner", "cp-dev/b:owner", "cp-prod/c:viewer"]);
        let access = config.access(Some(&value));
        assert_eq!(teams(&access), [("c", Role::Viewer)]);
        assert!(!access.administrator);
        assert!(config.access(Some(&json!(["cp-prod/administrator"]))).administrator);
    }

    #[test]
    fn a_provider_is_reached_by_https_or_on_this_machine() {
        for issuer in [
            "https://id.example.com",
            "https://id.example.com/",
            "https://id.example.com:8443/tenant",
            "http://127.0.0.1:4000",
            "http://localhost/tenant",
            "http://[::1]:4000",
            "http://[::1]",
        ] {
            let config = OidcConfig { issuer: issuer.to_owned(), ..config() };
            assert_eq!(config.check(), Ok(()), "{issuer}");
        }
        for issuer in [
            "",
            "id.example.com",
            "http://id.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "http://127.0.0.1:1@example.com",
            "http://127.0.0.1:80\\@example.com",
            "http://localhost.example.com/",
            "https://",
            "https:///path",
            "https://user@id.example.com",
            "ftp://127.0.0.1",
            "https://id.example.com?tenant=1",
            "https://id.example.com/#x",
        ] {
            let config = OidcConfig { issuer: issuer.to_owned(), ..config() };
            assert!(config.check().is_err(), "{issuer}");
        }
    }

    #[test]
    fn without_an_audience_or_a_claim_nobody_signs_in() {
        assert!(OidcConfig { audience: String::new(), ..config() }.check().is_err());
        assert!(OidcConfig { claim: String::new(), ..config() }.check().is_err());
    }
}
