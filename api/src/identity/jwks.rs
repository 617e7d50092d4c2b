//! The provider's public keys (RFC 7517), and which of them may check a token.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How a token may be signed, and with what kind of key (RFC 7518, section 3.1; RFC 8037). Those with a
/// secret are not among them, as a key that everybody can read would be the secret.
#[derive(Debug, PartialEq)]
pub(super) struct Method {
    /// What `alg` reads.
    name: &'static str,
    pub(super) algorithm: Algorithm,
    kty: &'static str,
    /// The curve, and how many characters a coordinate of it has in base64url.
    curve: Option<(&'static str, usize)>,
}

const fn rsa(name: &'static str, algorithm: Algorithm) -> Method {
    Method { name, algorithm, kty: "RSA", curve: None }
}

const METHODS: [Method; 9] = [
    rsa("RS256", Algorithm::RS256),
    rsa("RS384", Algorithm::RS384),
    rsa("RS512", Algorithm::RS512),
    rsa("PS256", Algorithm::PS256),
    rsa("PS384", Algorithm::PS384),
    rsa("PS512", Algorithm::PS512),
    Method { name: "ES256", algorithm: Algorithm::ES256, kty: "EC", curve: Some(("P-256", 43)) },
    Method { name: "ES384", algorithm: Algorithm::ES384, kty: "EC", curve: Some(("P-384", 64)) },
    Method { name: "EdDSA", algorithm: Algorithm::EdDSA, kty: "OKP", curve: Some(("Ed25519", 43)) },
];

impl Method {
    /// The method that a token's header names exactly so.
    pub(super) fn named(alg: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == alg)
    }
}

/// A public key, without what no signature needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_ops: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl Jwk {
    /// Whether the key is one for `method`, and meant to check signatures.
    fn fits(&self, method: &Method) -> bool {
        self.kty == method.kty
            && method.curve.is_none_or(|(curve, _)| self.crv.as_deref() == Some(curve))
            && self.alg.as_deref().is_none_or(|alg| alg == method.name)
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|allowed| allowed.iter().any(|one| one == "verify"))
    }

    fn decoding_key(&self, method: &Method) -> Option<DecodingKey> {
        let coordinate = |value: &'_ Option<String>| {
            let (_, length) = method.curve?;
            value.clone().filter(|text| text.len() == length)
        };
        match method.kty {
            "RSA" => DecodingKey::from_rsa_components(self.n.as_deref()?, self.e.as_deref()?),
            "EC" => DecodingKey::from_ec_components(&coordinate(&self.x)?, &coordinate(&self.y)?),
            _ => DecodingKey::from_ed_components(&coordinate(&self.x)?),
        }
        .ok()
    }
}

/// The keys that the provider had at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeySet {
    keys: Vec<Jwk>,
    pub(super) fetched_at: Timestamp,
}

impl KeySet {
    /// Reads a JWK set. Keys of kinds that are not known here are passed over (RFC 7517, section 5);
    /// `None` if it is no JWK set at all.
    pub(super) fn parse(text: &[u8], fetched_at: Timestamp) -> Option<KeySet> {
        let mut document: Value = serde_json::from_slice(text).ok()?;
        let Value::Array(keys) = document.get_mut("keys")?.take() else {
            return None;
        };
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        Some(KeySet { keys, fetched_at })
    }

    /// The set as JSON, which reads back as the same.
    pub(super) fn to_json(&self) -> String {
        json!({ "keys": self.keys }).to_string()
    }

    /// The time since the keys were fetched. Where clocks differ, a key from the future is as old as it
    /// will be young, so that none is used for ever.
    pub(super) fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.fetched_at).abs()
    }

    /// The one key that a token with this header can be signed with; none if several could be meant.
    pub(super) fn pick(&self, method: &Method, kid: Option<&str>) -> Option<DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| {
            key.fits(method) && kid.is_none_or(|wanted| key.kid.as_deref() == Some(wanted))
        });
        let key = fitting.next()?;
        if fitting.next().is_some() { None } else { key.decoding_key(method) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.2.
    const ED: &str =
        r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn set(keys: &[&str]) -> KeySet {
        let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        KeySet::parse(text.as_bytes(), Timestamp::UNIX_EPOCH).unwrap()
    }

    fn ed(more: &str) -> String {
        format!("{{{ED}{more}}}")
    }

    fn picks(set: &KeySet, alg: &str, kid: Option<&str>) -> bool {
        set.pick(Method::named(alg).unwrap(), kid).is_some()
    }

    #[test]
    fn only_asymmetric_algorithms_are_known_and_only_by_their_names() {
        for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
        {
            let method = Method::named(alg).unwrap();
            assert_eq!(format!("{:?}", method.algorithm), alg);
        }
        for alg in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "rs256", "RS256 "] {
            assert_eq!(Method::named(alg), None, "{alg}");
        }
    }

    #[test]
    fn a_key_must_be_of_the_kind_and_for_signatures() {
        for more in [
            "",
            r#","alg":"EdDSA""#,
            r#","use":"sig""#,
            r#","key_ops":["verify"]"#,
            r#","use":null,"x5c":["AA=="],"unknown":{}"#,
        ] {
            assert!(picks(&set(&[&ed(more)]), "EdDSA", None), "{more}");
        }
        for more in [
            r#","alg":"RS256""#,
            r#","alg":"none""#,
            r#","use":"enc""#,
            r#","use":"""#,
            r#","key_ops":["sign"]"#,
            r#","key_ops":[]"#,
        ] {
            assert!(!picks(&set(&[&ed(more)]), "EdDSA", None), "{more}");
        }
        for alg in ["RS256", "PS256", "ES256", "ES384"] {
            assert!(!picks(&set(&[&ed("")]), alg, None), "{alg}");
        }
    }

    #[test]
    fn a_point_of_another_length_is_no_key() {
        let short = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKx"}"#;
        assert!(!picks(&set(&[short]), "EdDSA", None));
        let other = r#"{"kty":"EC","crv":"P-384","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","y":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert!(!picks(&set(&[other]), "ES384", None));
        assert!(!picks(&set(&[other]), "ES256", None));
    }

    #[test]
    fn the_key_id_picks_and_without_one_there_must_be_no_choice() {
        let [a, b] = ["a", "b"].map(|kid| ed(&format!(r#","kid":"{kid}""#)));
        let both = set(&[&a, &b]);
        assert!(picks(&both, "EdDSA", Some("a")) && picks(&both, "EdDSA", Some("b")));
        assert!(!picks(&both, "EdDSA", Some("c")) && !picks(&both, "EdDSA", None));
        assert!(picks(&set(&[&a]), "EdDSA", None));
        assert!(!picks(&set(&[&a, &a]), "EdDSA", Some("a")), "which one is meant?");
        assert!(!picks(&set(&[&ed("")]), "EdDSA", Some("a")), "a key without an id has none");
    }

    #[test]
    fn a_key_that_can_not_be_read_hides_no_other() {
        let odd = r#"{"kty":7}"#;
        let curve = r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#;
        let set = set(&[odd, "null", curve, &ed("")]);
        assert!(picks(&set, "EdDSA", None));
    }

    #[test]
    fn what_is_no_set_is_told_from_an_empty_one() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert_eq!(KeySet::parse(text.as_bytes(), Timestamp::UNIX_EPOCH), None, "{text}");
        }
        assert_eq!(set(&[]).keys, []);
    }

    #[test]
    fn a_set_reads_back_without_private_parts() {
        let first = set(&[&ed(r#","kid":"a","use":"sig","d":"secret""#)]);
        let json = first.to_json();
        assert!(!json.contains("secret"), "{json}");
        assert_eq!(KeySet::parse(json.as_bytes(), Timestamp::UNIX_EPOCH), Some(first));
    }
}
