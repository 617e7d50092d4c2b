//! JSON Web Tokens (RFC 7519): what must hold of one, before and after its signature was checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};

use super::jwks::Method;
use super::oidc::Refused;
use crate::domain::oidc::OidcConfig;

/// Longest token, in bytes.
const TOKEN_MAX: usize = 8 * 1024;
/// By how much the provider's clock and ours may differ, in seconds.
const LEEWAY: f64 = 60.0;
/// OpenID Connect Core 1.0, section 2: `sub` must not exceed 255 ASCII characters.
const SUBJECT_MAX: usize = 255;
/// Longest name for people, in characters.
const NAME_MAX: usize = 255;
/// What `typ` may be, besides absent: `JWT`, and `at+jwt` of RFC 9068. Other kinds, such as logout
/// tokens, have the same issuer and audience and mean something else (RFC 8725, section 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Whether `token` has the shape of a JSON Web Token, signed or not: three parts, of which the first is
/// a JSON object.
pub fn looks_like_jwt(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    parts.len() == 3 && object(parts[0]).is_some()
}

/// The JSON object that `part` of a token is.
fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A token whose header is understood. Nothing else about it is known to be true yet.
pub(super) struct Token<'a> {
    text: &'a str,
    pub(super) method: &'static Method,
    pub(super) kid: Option<String>,
}

/// Whom a token speaks of, and what it says of them.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl<'a> Token<'a> {
    /// Reads the header. Keys that are named or contained in it (`jku`, `jwk`, `x5u`, `x5c`) are never
    /// looked at: they are whatever the sender wants.
    pub(super) fn parse(text: &'a str) -> Result<Token<'a>, Refused> {
        if text.len() > TOKEN_MAX {
            return Err(Refused::Invalid("the token is longer than 8 KiB"));
        }
        const MALFORMED: Refused = Refused::Invalid("the token is not a JSON Web Token");
        let parts: Vec<&str> = text.split('.').collect();
        let [header, _, _] = parts[..] else {
            return Err(MALFORMED);
        };
        let header = object(header).ok_or(MALFORMED)?;
        let alg = header.get("alg").and_then(Value::as_str).ok_or(MALFORMED)?;
        let method = Method::named(alg)
            .ok_or(Refused::Invalid("the token's signature is of a kind that is not taken"))?;
        if header.contains_key("crit") {
            return Err(Refused::Invalid("the token asks for an extension that is not known"));
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(MALFORMED),
        };
        match header.get("typ") {
            None => {}
            Some(Value::String(typ)) if is_of_type(typ) => {}
            Some(_) => return Err(Refused::Invalid("the token is of a kind that is not taken")),
        }
        Ok(Token { text, method, kid })
    }

    /// What the token says, if `key` signed it and it is of the provider, for this deployment and valid
    /// at `now`.
    pub(super) fn claims(
        &self,
        key: &DecodingKey,
        config: &OidcConfig,
        now: Timestamp,
    ) -> Result<Claims, Refused> {
        let mut validation = Validation::new(self.method.algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        // It would take the system's clock; `check_times` takes ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(self.text, key, &validation);
        let claims = Claims(decoded.map_err(|error| refusal(error.kind()))?.claims);
        // The library also takes an array with the issuer in it.
        if claims.text("iss") != Some(&config.issuer) {
            return Err(refusal(&ErrorKind::InvalidIssuer));
        }
        claims.check_times(now)?;
        claims.subject()?;
        Ok(claims)
    }
}

/// RFC 7515, section 4.1.9: in any case, and `application/` may be left out.
fn is_of_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    TYPES.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

fn refusal(kind: &ErrorKind) -> Refused {
    Refused::Invalid(match kind {
        ErrorKind::InvalidSignature => "the token's signature is not the provider's",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token does not say until when it is valid (exp)",
            "iss" => "the token does not say who issued it (iss)",
            "aud" => "the token does not say whom it is for (aud)",
            _ => "the token does not say whom it speaks of (sub)",
        },
        _ => "the token is malformed",
    })
}

impl Claims {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A NumericDate (RFC 7519, section 2): seconds, with or without a fraction.
    fn seconds(&self, name: &str) -> Result<Option<f64>, Refused> {
        self.get(name)
            .map(|value| value.as_f64().ok_or(Refused::Invalid("a time in the token is no number")))
            .transpose()
    }

    fn check_times(&self, now: Timestamp) -> Result<(), Refused> {
        let now = now.as_millisecond() as f64 / 1000.0;
        let expires =
            self.seconds("exp")?.ok_or(refusal(&ErrorKind::MissingRequiredClaim("exp".into())))?;
        if now >= expires + LEEWAY {
            return Err(Refused::Invalid("the token has expired"));
        }
        if self.seconds("nbf")?.is_some_and(|begins| begins > now + LEEWAY) {
            return Err(Refused::Invalid("the token is not valid yet"));
        }
        if self.seconds("iat")?.is_some_and(|issued| issued > now + LEEWAY) {
            return Err(Refused::Invalid("the token was issued in the future"));
        }
        Ok(())
    }

    /// Names a person or program for good: it stands in the audit log.
    pub(super) fn subject(&self) -> Result<&str, Refused> {
        let subject = self.text("sub").unwrap_or_default();
        if subject.trim().is_empty() {
            return Err(refusal(&ErrorKind::MissingRequiredClaim("sub".into())));
        }
        let printable = subject.bytes().all(|one| one == b' ' || one.is_ascii_graphic());
        if subject.len() > SUBJECT_MAX || !printable {
            return Err(Refused::Invalid(
                "the token's subject (sub) must be at most 255 printable ASCII characters",
            ));
        }
        Ok(subject)
    }

    /// For people only, as the provider may let anybody choose it.
    pub(super) fn name(&self) -> Option<&str> {
        let names = ["email", "preferred_username", "name"].into_iter();
        names.filter_map(|claim| self.text(claim)).find(|name| is_presentable(name))
    }
}

/// Whether `name` can be shown: nothing that is invisible or turns the writing's direction.
fn is_presentable(name: &str) -> bool {
    let hidden = |one: char| {
        one.is_control()
            || matches!(one, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
    };
    !name.trim().is_empty() && name.chars().count() <= NAME_MAX && !name.contains(hidden)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(map) = value else { panic!("claims are an object") };
        Claims(map)
    }

    fn token(header: &str) -> String {
        format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn a_jwt_is_told_from_other_tokens() {
        for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"none"}"#, " { }"] {
            assert!(looks_like_jwt(&token(header)), "{header}");
        }
        assert!(looks_like_jwt(&format!("{}.e30.", URL_SAFE_NO_PAD.encode("{}"))));
        for text in
            ["", "..", "secret", "a.b.c", "cronplane_a_b", "e30.e30", "e30.e30.a.b", "W10.e30.a"]
        {
            assert!(!looks_like_jwt(text), "{text}");
        }
    }

    #[test]
    fn a_header_that_is_not_understood_is_refused() {
        for header in [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"EdDSA","kid":"a","typ":"JWT"}"#,
            r#"{"alg":"ES256","typ":"at+jwt","jku":"https://example.com"}"#,
            r#"{"alg":"ES256","typ":"application/AT+JWT"}"#,
        ] {
            assert!(Token::parse(&token(header)).is_ok(), "{header}");
        }
        for header in [
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"ES512"}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","crit":null}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","typ":"logout+jwt"}"#,
            r#"{"alg":"RS256","typ":"dpop+jwt"}"#,
            r#"{"alg":"RS256","typ":7}"#,
        ] {
            let refused = Token::parse(&token(header)).err();
            assert!(matches!(refused, Some(Refused::Invalid(_))), "{header}");
        }
    }

    #[test]
    fn a_token_of_8_kib_is_read_and_no_longer_one() {
        let start = format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#));
        let longest = format!("{start}{}", "A".repeat(TOKEN_MAX - start.len()));
        assert!(Token::parse(&longest).is_ok());
        assert!(Token::parse(&format!("{longest}A")).is_err());
    }

    #[test]
    fn times_are_taken_with_a_minute_of_leeway_and_no_more() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (times, valid) in [
            (json!({"exp": 1_000_001}), true),
            (json!({"exp": 999_941}), true),
            (json!({"exp": 999_940}), false),
            (json!({"exp": 999_940.5}), true),
            (json!({"exp": 0}), false),
            (json!({"exp": -1}), false),
            (json!({}), false),
            (json!({"exp": "1000001"}), false),
            (json!({"exp": null}), false),
            (json!({"exp": 2_000_000, "nbf": 1_000_060}), true),
            (json!({"exp": 2_000_000, "nbf": 1_000_061}), false),
            (json!({"exp": 2_000_000, "nbf": "0"}), false),
            (json!({"exp": 2_000_000, "nbf": null}), false),
            (json!({"exp": 2_000_000, "iat": 1_000_060}), true),
            (json!({"exp": 2_000_000, "iat": 1_000_061}), false),
            (json!({"exp": 2_000_000, "iat": true}), false),
        ] {
            let what = times.to_string();
            assert_eq!(claims(times).check_times(now).is_ok(), valid, "{what}");
        }
    }

    #[test]
    fn a_subject_is_short_and_printable() {
        for subject in
            ["a", "repo:octo/cat:ref:refs/heads/main", "auth0|7", "CN=a b", &"x".repeat(255)]
        {
            assert_eq!(claims(json!({"sub": subject})).subject().ok(), Some(subject));
        }
        for subject in [
            json!(""),
            json!("  "),
            json!(7),
            json!(null),
            json!("x".repeat(256)),
            json!("a\nb"),
            json!("a\u{7f}"),
            json!("\u{fc}"),
        ] {
            let what = subject.to_string();
            assert!(claims(json!({"sub": subject})).subject().is_err(), "{what}");
        }
    }

    #[test]
    fn the_name_is_the_first_that_can_be_shown() {
        for (given, name) in [
            (json!({"email": "a@b", "preferred_username": "p", "name": "n"}), Some("a@b")),
            (json!({"preferred_username": "p", "name": "n"}), Some("p")),
            (json!({"name": "Zo\u{eb} \u{4e16}"}), Some("Zo\u{eb} \u{4e16}")),
            (json!({"email": "", "name": "n"}), Some("n")),
            (json!({"email": "a\r\nb", "preferred_username": "\u{202e}x", "name": "n"}), Some("n")),
            (json!({"email": ["a@b"], "name": "x".repeat(256)}), None),
            (json!({}), None),
        ] {
            let what = given.to_string();
            assert_eq!(claims(given).name(), name, "{what}");
        }
    }
}
