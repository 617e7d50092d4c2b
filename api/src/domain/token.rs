//! A team's tokens: how one is written, and what is kept of it.
//!
//! A token reads `cronplane_<team>_<43 characters><6 characters>`: 256 random bits in base 62, and the
//! CRC-32 of everything before it, so that a scanner for leaked secrets can tell a token from what only
//! looks like one, without asking anybody. The team in it tells whom to call. What is kept is its
//! SHA-256: of 256 random bits that needs no salt, and nothing slower.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::access::{PrincipalKind, Role};
use super::fields::{Fields, read_object};
use super::ids::TeamName;
use super::job::check_text;
use super::violation::Violation;
use super::violation::ViolationCode::{Format, NotAllowed, Range};

/// What every token starts with.
pub const PREFIX: &str = "cronplane_";
const RANDOM_BYTES: usize = 32;
const RANDOM_CHARACTERS: usize = 43;
const CHECKSUM_CHARACTERS: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DESCRIPTION_MAX: usize = 200;
/// Days that a token is good for where nothing is said, and at most.
const DAYS_DEFAULT: i64 = 90;
const DAYS_MAX: i64 = 400;

/// A token as its holder has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A token of `team` out of 256 random bits.
    pub fn new(team: &TeamName, random: [u8; RANDOM_BYTES]) -> Secret {
        let mut text = format!("{PREFIX}{team}_");
        text.push_str(&base62(&random, RANDOM_CHARACTERS));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Secret(text)
    }

    /// Takes `text` if it has a token's form and its checksum: the token, and the team that it says to be
    /// of.
    pub fn parse(text: &str) -> Option<(Secret, TeamName)> {
        let (team, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let team = TeamName::parse(team).ok()?;
        let is_long_enough = rest.len() == RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
        if !is_long_enough || !rest.bytes().all(|one| one.is_ascii_alphanumeric()) {
            return None;
        }
        let (before, given) = text.split_at(text.len() - CHECKSUM_CHARACTERS);
        (checksum(before) == given).then(|| (Secret(text.to_owned()), team))
    }

    /// As its holder has it. Shown once, when it was made.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256, in hexadecimal digits.
    pub fn hash(&self) -> String {
        Sha256::digest(&self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Names the token without telling it: the first 16 digits of its hash.
    pub fn id(&self) -> TokenId {
        TokenId(self.hash()[..TokenId::LENGTH].to_owned())
    }
}

/// Never the token itself: what is logged of a request must not hold it.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.id().as_str())
    }
}

fn checksum(text: &str) -> String {
    base62(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECKSUM_CHARACTERS)
}

/// The number in `bytes`, the most significant first, in so many digits of base 62.
fn base62(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; length];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_usize;
        for byte in &mut number {
            let value = rest * 256 + usize::from(*byte);
            // Below 62 * 256: what is left of the division by 62 is a byte.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[rest];
    }
    digits.into_iter().map(char::from).collect()
}

/// The id of a token: 16 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenId(String);

impl TokenId {
    const LENGTH: usize = 16;

    pub fn parse(text: &str) -> Option<TokenId> {
        let is_digit = |one: u8| one.is_ascii_digit() || (b'a'..=b'f').contains(&one);
        (text.len() == TokenId::LENGTH && text.bytes().all(is_digit))
            .then(|| TokenId(text.to_owned()))
    }

    /// Of no token: all zeros.
    pub fn nil() -> TokenId {
        TokenId("0".repeat(TokenId::LENGTH))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub team: TeamName,
    /// [`super::team::Team::id`]: a token does not outlive its team, nor come back with another one of
    /// the name.
    pub team_id: String,
    /// SHA-256 of the token, in hexadecimal digits.
    pub hash: String,
    pub role: Role,
    pub description: String,
    pub created_at: Timestamp,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Creator>,
    pub valid_until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// When it was last seen, to some minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// A principal, as [`super::access::Principal`] names it among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creator {
    pub kind: PrincipalKind,
    pub id: String,
}

/// What a token is worth at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Expired,
    Revoked,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Active => "active",
            Standing::Expired => "expired",
            Standing::Revoked => "revoked",
        }
    }
}

impl Token {
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if self.valid_until <= now {
            Standing::Expired
        } else {
            Standing::Active
        }
    }

    /// The id among the principals.
    pub fn principal_id(&self) -> String {
        format!("{}/{}", self.team, self.id.as_str())
    }
}

/// What is asked for in a new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    pub role: Role,
    pub description: String,
    pub valid_until: Timestamp,
}

impl TokenRequest {
    /// Reads a request's JSON at the time `now`.
    ///
    /// Errors: everything that is wrong, each with its JSON pointer.
    pub fn read(value: serde_json::Value, now: Timestamp) -> Result<TokenRequest, Vec<Violation>> {
        let mut violations = Vec::new();
        let request = read_object(value, String::new(), &mut violations, |fields| {
            TokenRequest::of_fields(fields, now)
        });
        match request {
            Some(request) if violations.is_empty() => Ok(request),
            _ => Err(violations),
        }
    }

    /// The names of the fields that [`TokenRequest::read`] knows.
    pub fn field_names() -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(serde_json::Value::Null, String::new(), &mut violations);
        TokenRequest::of_fields(&mut fields, Timestamp::UNIX_EPOCH);
        fields.known().to_vec()
    }

    fn of_fields(fields: &mut Fields<'_>, now: Timestamp) -> Option<TokenRequest> {
        let days = |days: i64| now.checked_add(jiff::SignedDuration::from_hours(24 * days));
        let description = fields.string("description");
        let description = fields.required("description", description);
        if let Some(text) = &description {
            check_text(fields, "description", text, 1, DESCRIPTION_MAX);
        }
        let given = fields.string("role");
        let role = fields.required("role", given).and_then(|text| {
            let role = Role::parse(&text).filter(|role| Role::OF_TEAMS.contains(role));
            if role.is_none() {
                let names: Vec<&str> = Role::OF_TEAMS.map(Role::as_str).to_vec();
                let detail = format!("must be one of `{}`", names.join("`, `"));
                fields.violation("role", NotAllowed, detail);
            }
            role
        });
        let valid_until = match fields.string("expires_at") {
            None => days(DAYS_DEFAULT).ok(),
            Some(text) => match text.parse::<Timestamp>() {
                Err(_) => {
                    let detail = "must be a time in RFC 3339, such as 2027-01-31T00:00:00Z";
                    fields.violation("expires_at", Format, detail);
                    None
                }
                Ok(at) if at <= now || days(DAYS_MAX).is_ok_and(|latest| at > latest) => {
                    let detail = format!("must be in the future, {DAYS_MAX} days at most");
                    fields.violation("expires_at", Range, detail);
                    None
                }
                Ok(at) => Some(at),
            },
        };
        Some(TokenRequest { role: role?, description: description?, valid_until: valid_until? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn team(name: &str) -> TeamName {
        TeamName::parse(name).unwrap()
    }

    #[test]
    fn a_token_reads_back_and_one_that_is_changed_anywhere_does_not() {
        let token = Secret::new(&team("data-2"), [0xa5; 32]);
        let (read, of) = Secret::parse(token.expose()).unwrap();
        assert_eq!((read.hash(), of), (token.hash(), team("data-2")));
        for at in 0..token.expose().len() {
            let mut text = token.expose().as_bytes().to_vec();
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            let text = String::from_utf8(text).unwrap();
            assert!(Secret::parse(&text).is_none(), "{text}");
        }
        for bad in [
            "",
            "cronplane_",
            "cronplane_a_",
            &token.expose()[1..],
            &format!("{}0", token.expose()),
        ] {
            assert!(Secret::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn base_62_is_as_it_is_computed_elsewhere() {
        assert_eq!(base62(&[0, 0, 0, 61], 2), "0z");
        assert_eq!(base62(&[0, 0, 0, 62], 2), "10");
        let digits = base62(&[255; 4], 6);
        let back = digits.bytes().fold(0_u64, |number, digit| {
            number * 62 + DIGITS.iter().position(|one| *one == digit).unwrap() as u64
        });
        assert_eq!(back, u64::from(u32::MAX));
        assert_eq!(base62(&[255; 32], 43).len(), 43);
    }

    #[test]
    fn what_is_printed_of_a_token_is_not_the_token() {
        let token = Secret::new(&team("platform"), [7; 32]);
        let printed = format!("{token:?}");
        assert!(!printed.contains(token.expose()) && printed.contains(token.id().as_str()));
    }

    #[test]
    fn a_request_is_read_with_everything_that_is_wrong() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let read = |value| TokenRequest::read(value, now);
        let request = read(json!({"role": "editor", "description": "CI"})).unwrap();
        assert_eq!(request.role, Role::Editor);
        assert_eq!(request.valid_until.to_string(), "2027-02-21T14:00:00Z");
        for (value, wrong) in [
            (json!({}), vec!["/description", "/role"]),
            (json!({"role": "administrator", "description": ""}), vec!["/description", "/role"]),
            (
                json!({"role": "owner", "description": "x", "expires_at": "2026-11-23T14:00:00Z"}),
                vec!["/expires_at"],
            ),
            (
                json!({"role": "owner", "description": "x", "expires_at": "2028-11-23T14:00:00Z"}),
                vec!["/expires_at"],
            ),
            (
                json!({"role": "owner", "description": "x", "expires_at": "soon"}),
                vec!["/expires_at"],
            ),
            (json!({"role": "owner", "description": "x", "team": "other"}), vec!["/team"]),
        ] {
            let violations = read(value).unwrap_err();
            let pointers: Vec<&str> = violations.iter().map(|one| one.pointer.as_str()).collect();
            assert_eq!(pointers, wrong);
        }
    }
}
