//! Tokens and providers that must let nobody in, each for its reason.

use jsonwebtoken::crypto::sign;

use super::*;

/// A provider with one key, its verifier, and the key.
async fn provider(algorithm: Algorithm) -> (Idp, Oidc, Key) {
    let key = Key::new("a", algorithm);
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    is_in(oidc.verify(&key.token(&idp.claims()), at(0)).await);
    (idp, oidc, key)
}

const KIND: &str = "the token's signature is of a kind that is not taken";
const SIGNATURE: &str = "the token's signature is not the provider's";
const NOT_A_JWT: &str = "the token is not a JSON Web Token";
const NO_KEY: &str = "the token is signed with a key that is not the provider's";

#[tokio::test]
async fn a_token_without_a_signature() {
    let (idp, oidc, key) = provider(Algorithm::ES256).await;
    let signature = key.token(&idp.claims()).rsplit_once('.').unwrap().1.to_owned();
    for alg in ["none", "None", "NONE", "nOnE", "none ", "", "NULL"] {
        for header in [json!({"alg": alg, "kid": "a"}), json!({"alg": alg})] {
            let message = message(&header, &idp.claims());
            for token in [format!("{message}."), format!("{message}.{signature}")] {
                assert_eq!(is_refused(oidc.verify(&token, at(0)).await), KIND, "{header}");
            }
        }
    }
    for header in [json!({"kid": "a"}), json!({"alg": null}), json!({"alg": ["ES256"]})] {
        let token = format!("{}.{signature}", message(&header, &idp.claims()));
        assert_eq!(is_refused(oidc.verify(&token, at(0)).await), NOT_A_JWT, "{header}");
    }
    // The algorithm is right, and there is nothing signed with it.
    let message = message(&key.header(), &idp.claims());
    for signature in ["", "AA", &"A".repeat(86)] {
        let token = format!("{message}.{signature}");
        assert_eq!(is_refused(oidc.verify(&token, at(0)).await), SIGNATURE, "{signature}");
    }
}

/// RFC 8725, section 2.1: what everybody can read, taken for a secret.
#[tokio::test]
async fn an_hmac_with_the_public_key() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (idp, oidc, key) = provider(algorithm).await;
        let secrets = public_forms(&key);
        for hmac in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for secret in &secrets {
                let token = hmac_token("a", &idp.claims(), secret, hmac);
                assert_eq!(is_refused(oidc.verify(&token, at(0)).await), KIND, "{hmac:?}");
            }
        }
        assert_eq!(idp.fetches(), 1, "refused before any key is looked at");
    }
}

/// Even where the provider itself publishes a secret.
#[tokio::test]
async fn an_hmac_with_a_secret_among_the_keys() {
    let idp = Idp::start(&[]).await;
    idp.publishes(vec![json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"})]);
    let token = hmac_token("a", &idp.claims(), b"secret", Algorithm::HS256);
    assert_eq!(is_refused(idp.verifier().verify(&token, at(0)).await), KIND);
}

#[tokio::test]
async fn claims_of_somebody_else_or_another_time() {
    let (idp, oidc, key) = provider(Algorithm::EdDSA).await;
    let other = "https://id.example.com";
    let issuer = idp.issuer.clone();
    for (changes, why) in [
        (json!({"aud": "other"}), "the token is for another audience"),
        (json!({"aud": ["other", "another"]}), "the token is for another audience"),
        (json!({"aud": []}), "the token is for another audience"),
        (json!({"aud": format!("{AUDIENCE}/")}), "the token is for another audience"),
        (json!({"aud": null}), "the token does not say whom it is for (aud)"),
        (json!({"aud": {"a": AUDIENCE}}), "the token does not say whom it is for (aud)"),
        (json!({"iss": other}), "the token is of another issuer"),
        (json!({"iss": format!("{issuer}/")}), "the token is of another issuer"),
        (json!({"iss": issuer.to_uppercase()}), "the token is of another issuer"),
        (json!({"iss": [issuer, other]}), "the token is of another issuer"),
        (json!({"iss": null}), "the token does not say who issued it (iss)"),
        (json!({"sub": null}), "the token does not say whom it speaks of (sub)"),
        (json!({"sub": ""}), "the token does not say whom it speaks of (sub)"),
        (json!({"sub": 7}), "the token does not say whom it speaks of (sub)"),
        (json!({"exp": null}), "the token does not say until when it is valid (exp)"),
        (json!({"exp": "never"}), "the token does not say until when it is valid (exp)"),
        (json!({"exp": at(-60).as_second()}), "the token has expired"),
        (json!({"nbf": at(61).as_second()}), "the token is not valid yet"),
        (json!({"iat": at(61).as_second()}), "the token was issued in the future"),
    ] {
        let token = key.token(&idp.claims_with(changes.clone()));
        assert_eq!(is_refused(oidc.verify(&token, at(0)).await), why, "{changes}");
    }
    for changes in [
        json!({"exp": at(-59).as_second()}),
        json!({"nbf": at(60).as_second()}),
        json!({"iat": at(60).as_second()}),
        json!({"nbf": null, "iat": null}),
    ] {
        let token = key.token(&idp.claims_with(changes));
        is_in(oidc.verify(&token, at(0)).await);
    }
    // The same claim twice, where one reader could take the first and another the last.
    let claims = idp.claims().to_string();
    let twice = format!(r#"{{"aud":"other",{}"#, &claims[1..]);
    let [header, claims] =
        [key.header().to_string(), twice].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let signature = sign(message.as_bytes(), &key.signing, key.algorithm).unwrap();
    is_refused(oidc.verify(&format!("{message}.{signature}"), at(0)).await);
}

#[tokio::test]
async fn a_token_that_was_changed() {
    let (idp, oidc, key) = provider(Algorithm::ES256).await;
    let token = key.token(&idp.claims());
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let greater = idp.claims_with(json!({"cronplane": ["administrator"]}));
    let greater = URL_SAFE_NO_PAD.encode(greater.to_string());
    let other = key.token(&idp.claims_with(json!({"sub": "other"})));
    let renamed = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": "a"}).to_string());
    for changed in [
        format!("{header}.{greater}.{signature}"),
        format!("{renamed}.{claims}.{signature}"),
        format!("{header}.{claims}.{}", other.rsplit_once('.').unwrap().1),
    ] {
        assert_eq!(is_refused(oidc.verify(&changed, at(0)).await), SIGNATURE);
    }
    for malformed in [
        String::new(),
        format!("{header}.{claims}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!(" {token}"),
        format!("{header}.{claims}.{signature}.a.b"),
        "a".repeat(8192),
    ] {
        assert_eq!(is_refused(oidc.verify(&malformed, at(0)).await), NOT_A_JWT, "{malformed}");
    }
    assert!(is_refused(oidc.verify(&"a".repeat(8193), at(0)).await).contains("8 KiB"));
    assert_eq!(idp.fetches(), 1);
}

/// A valid signature of a key that is not the provider's.
#[tokio::test]
async fn a_key_of_somebody_else() {
    let (idp, oidc, key) = provider(Algorithm::ES256).await;
    let same_id = Key::new("a", Algorithm::ES256);
    assert_eq!(is_refused(oidc.verify(&same_id.token(&idp.claims()), at(0)).await), SIGNATURE);
    let other_id = Key::new("b", Algorithm::ES256);
    assert_eq!(is_refused(oidc.verify(&other_id.token(&idp.claims()), at(0)).await), NO_KEY);
    let anonymous = other_id.token_with(&json!({"alg": "ES256"}), &idp.claims());
    assert_eq!(is_refused(oidc.verify(&anonymous, at(0)).await), SIGNATURE);
    is_in(oidc.verify(&key.token(&idp.claims()), at(0)).await);
}

/// The key that is meant by the id must be one for the algorithm, whatever the sender says.
#[tokio::test]
async fn a_key_of_another_kind_with_the_same_id() {
    for (published, used) in [
        (Algorithm::RS256, Algorithm::ES256),
        (Algorithm::ES256, Algorithm::RS256),
        (Algorithm::ES256, Algorithm::ES384),
        (Algorithm::EdDSA, Algorithm::ES256),
    ] {
        let (idp, oidc, _) = provider(published).await;
        let token = Key::new("a", used).token(&idp.claims());
        assert_eq!(is_refused(oidc.verify(&token, at(0)).await), NO_KEY, "{published:?} {used:?}");
    }
    // The provider's own key, in a way that it is not for: PKCS #1 is not PSS.
    let key = Key::new("a", Algorithm::RS256);
    let idp = Idp::start(&[&key]).await;
    let token = Key { algorithm: Algorithm::PS256, ..key }.token(&idp.claims());
    assert_eq!(is_refused(idp.verifier().verify(&token, at(0)).await), NO_KEY);
}

/// The provider has the key, for something else.
#[tokio::test]
async fn a_key_that_is_not_for_signatures() {
    let key = Key::new("a", Algorithm::RS256);
    let idp = Idp::start(&[&key]).await;
    let token = key.token(&idp.claims());
    for changes in [
        json!({"use": "enc"}),
        json!({"use": "enc", "alg": null}),
        json!({"use": null, "key_ops": ["encrypt", "wrapKey"]}),
        json!({"alg": "RSA-OAEP-256"}),
        json!({"kty": "oct"}),
    ] {
        let mut jwk = key.jwk();
        json_patch::merge(&mut jwk, &changes);
        idp.publishes(vec![jwk]);
        assert_eq!(is_refused(idp.verifier().verify(&token, at(0)).await), NO_KEY, "{changes}");
    }
}

/// The provider's key is too short to be trusted (RFC 7518, section 3.3: 2048 bits or more), and the
/// signature is right: both tokens were made with OpenSSL, as nothing here makes such keys.
#[tokio::test]
async fn a_short_rsa_key() {
    let made: Value = serde_json::from_str(include_str!("../fixtures/rsa-tokens.json")).unwrap();
    let verify = async |of: &str| {
        let jwks = json!({"keys": [made[of]["jwk"]]}).to_string();
        let shared = CachedKeys { jwks, fetched_at: at(0) };
        let cache = Shared { keys: Mutex::new(Some(shared)), ..Shared::default() };
        let config = OidcConfig {
            issuer: "https://id.example.com".to_owned(),
            audience: AUDIENCE.to_owned(),
            claim: "cronplane".to_owned(),
            prefix: String::new(),
        };
        let oidc = Oidc::new(config, https_connector(), Some(Arc::new(cache)));
        oidc.verify(made[of]["token"].as_str().unwrap(), at(0)).await
    };
    is_in(verify("long").await);
    assert_eq!(is_refused(verify("short").await), SIGNATURE);
}

#[tokio::test]
async fn a_critical_extension() {
    let (idp, oidc, key) = provider(Algorithm::ES256).await;
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!(null), json!("exp")] {
        let mut header = key.header();
        header["crit"] = crit;
        header["b64"] = json!(true);
        let token = key.token_with(&header, &idp.claims());
        let why = is_refused(oidc.verify(&token, at(0)).await);
        assert_eq!(why, "the token asks for an extension that is not known", "{header}");
    }
}

/// A token of the provider, and for another purpose.
#[tokio::test]
async fn a_token_of_another_type() {
    let (idp, oidc, key) = provider(Algorithm::ES256).await;
    for typ in [json!("logout+jwt"), json!("dpop+jwt"), json!("JWE"), json!(7)] {
        let mut header = key.header();
        header["typ"] = typ;
        let token = key.token_with(&header, &idp.claims());
        let why = is_refused(oidc.verify(&token, at(0)).await);
        assert_eq!(why, "the token is of a kind that is not taken", "{header}");
    }
    for typ in ["at+jwt", "application/at+jwt", "jwt"] {
        let mut header = key.header();
        header["typ"] = json!(typ);
        is_in(oidc.verify(&key.token_with(&header, &idp.claims()), at(0)).await);
    }
}

/// The header brings its own key, or says where to get it.
#[tokio::test]
async fn a_key_in_the_token() {
    let (idp, oidc, key) = provider(Algorithm::ES256).await;
    let mine = Key::new("mine", Algorithm::ES256);
    let server = Idp::start(&[&mine]).await;
    let url = format!("{}/jwks", server.issuer);
    for (name, value) in
        [("jwk", mine.jwk()), ("jku", json!(url)), ("x5u", json!(url)), ("x5c", json!(["AA=="]))]
    {
        for kid in ["mine", "a"] {
            let mut header = mine.header();
            header["kid"] = json!(kid);
            header[name] = value.clone();
            let token = mine.token_with(&header, &idp.claims());
            let why = is_refused(oidc.verify(&token, at(0)).await);
            assert_eq!(why, if kid == "a" { SIGNATURE } else { NO_KEY }, "{header}");
        }
        // With the provider's own signature what the header says besides is nobody's business.
        let mut header = key.header();
        header[name] = value;
        is_in(oidc.verify(&key.token_with(&header, &idp.claims()), at(0)).await);
    }
    assert_eq!(server.requests(), 0, "nobody asked the attacker");
}

/// Answers that could be another's, or that are none.
#[tokio::test]
async fn a_provider_that_is_not_the_one() {
    let key = Key::new("a", Algorithm::ES256);
    let idp = Idp::start(&[&key]).await;
    let elsewhere = Idp::start(&[&key]).await;
    let token = key.token(&idp.claims());
    let jwks = format!("{}/jwks", idp.issuer);
    let about = |issuer: &str, jwks: &str| {
        Mood::Saying(DISCOVERY, json!({"issuer": issuer, "jwks_uri": jwks}).to_string())
    };
    for mood in [
        about("https://id.example.com", &jwks),
        about(&format!("{}/", idp.issuer), &jwks),
        about(&elsewhere.issuer, &jwks),
        about(&idp.issuer, "http://id.example.com/jwks"),
        about(&idp.issuer, "http://127.0.0.1.example.com/jwks"),
        about(&idp.issuer, "file:///etc/jwks"),
        about(&idp.issuer, "/jwks"),
        about(&idp.issuer, ""),
        Mood::Saying(DISCOVERY, json!({"jwks_uri": jwks}).to_string()),
        Mood::Saying(DISCOVERY, "<html>".to_owned()),
        Mood::Saying("/jwks", "<html>".to_owned()),
        Mood::Saying("/jwks", "{}".to_owned()),
        Mood::Redirecting(DISCOVERY),
        Mood::Redirecting("/jwks"),
        Mood::Padded(256 * 1024),
        Mood::Broken,
    ] {
        idp.is(mood.clone());
        let outcome = idp.verifier().verify(&token, at(0)).await;
        assert!(matches!(outcome, Err(Refused::Unavailable(_))), "{mood:?}: {outcome:?}");
    }
    // As large as it may be.
    idp.is(Mood::Padded(255 * 1024));
    is_in(idp.verifier().verify(&token, at(0)).await);
    assert_eq!(elsewhere.requests(), 0);
}

/// Where the issuer is one of https, its keys are not fetched over a line that anybody can change.
#[tokio::test]
async fn an_issuer_without_tls_is_not_asked() {
    let key = Key::new("a", Algorithm::ES256);
    let idp = Idp::start(&[&key]).await;
    let port = idp.issuer.rsplit_once(':').unwrap().1;
    for issuer in [
        format!("http://id.example.com:{port}"),
        format!("http://127.0.0.1:{port}@id.example.com"),
        format!("http://0.0.0.0:{port}"),
    ] {
        let config = OidcConfig { issuer, ..idp.config() };
        let oidc = Oidc::new(config, https_connector(), None);
        is_unavailable(oidc.verify(&key.token(&idp.claims()), at(0)).await);
    }
    assert_eq!(idp.requests(), 0);
}
