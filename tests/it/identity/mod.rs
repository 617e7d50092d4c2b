//! Sign-in with an OIDC provider, over real HTTP: a provider on 127.0.0.1 whose answers a test
//! chooses, keys that are made for the test, and tokens signed with whatever it likes.

mod attacks;
mod keys;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cronplane::domain::access::{Access, Principal, PrincipalKind, Role};
use cronplane::domain::oidc::{CachedKeys, OidcConfig};
use cronplane::error::{Error, Result};
use cronplane::identity::{KeyCache, Oidc, Refused, https_connector};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::job::{at, team};

const AUDIENCE: &str = "https://cronplane.example.com";
const SUBJECT: &str = "5f3a0c1e";

// --- Keys and tokens -------------------------------------------------------------------------

/// A key pair of the provider, or of somebody else.
#[derive(Clone)]
pub(crate) struct Key {
    kid: &'static str,
    algorithm: Algorithm,
    signing: EncodingKey,
}

impl Key {
    pub(crate) fn new(kid: &'static str, algorithm: Algorithm) -> Key {
        let signing = match algorithm {
            Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                EncodingKey::from_ed_der(der.as_ref())
            }
            _ => rsa(KeySize::Rsa2048),
        };
        Key { kid, algorithm, signing }
    }

    /// What the provider publishes of it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap())
                .unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    fn alg(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.alg(), "kid": self.kid, "typ": "JWT"})
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// A token with this header, whatever it says, signed with this key.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.signing, self.algorithm);
        format!("{message}.{}", signature.unwrap())
    }
}

/// Everything that everybody can read of a key, in every form in which somebody may take it for a secret.
pub(crate) fn public_forms(key: &Key) -> Vec<Vec<u8>> {
    let jwk = key.jwk();
    let mut forms = vec![jwk.to_string().into_bytes()];
    for name in ["n", "x"] {
        if let Some(text) = jwk[name].as_str() {
            forms.push(text.as_bytes().to_vec());
            forms.push(URL_SAFE_NO_PAD.decode(text).unwrap());
        }
    }
    if key.algorithm == Algorithm::RS256 {
        let pair = RsaKeyPair::from_der(key.signing.as_bytes()).unwrap();
        let der = pair.public_key().as_der().unwrap().as_ref().to_vec();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        let pem = lines.join("\n");
        forms.push(format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n").into());
        forms.push(der);
    }
    forms
}

/// A token whose header says `hmac`, signed with a secret.
pub(crate) fn hmac_token(kid: &str, claims: &Value, secret: &[u8], hmac: Algorithm) -> String {
    let message = message(&json!({"alg": format!("{hmac:?}"), "kid": kid}), claims);
    let secret = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, hmac).unwrap();
    format!("{message}.{signature}")
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EncodingKey {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EncodingKey::from_ec_der(document.as_ref())
}

fn rsa(size: KeySize) -> EncodingKey {
    let pair = RsaKeyPair::generate(size).unwrap();
    let pkcs8 = pair.as_der().unwrap();
    // RFC 5208: PKCS #1 stands in the last field, behind 26 bytes for keys of these sizes.
    EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..])
}

pub(crate) fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] =
        [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string().as_bytes()));
    format!("{header}.{claims}")
}

// --- The provider ----------------------------------------------------------------------------

/// How the provider is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Answers after some time.
    Slow(Duration),
    /// Answers 500.
    Broken,
    /// Takes the request and never answers.
    Hanging,
    /// Sends whoever asks for this path to the same below `/elsewhere`.
    Redirecting(&'static str),
    /// So many bytes more in the set of keys.
    Padded(usize),
    /// Answers this instead of what is at the path.
    Saying(&'static str, String),
}

#[derive(Default)]
struct Behaviour {
    mood: Mood,
    keys: Vec<Value>,
    /// The requests for the set of keys.
    fetches: usize,
    /// All requests.
    requests: usize,
    connections: usize,
}

/// A provider; it ends with the test.
#[derive(Clone)]
pub(crate) struct Idp {
    issuer: String,
    behaviour: Arc<Mutex<Behaviour>>,
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

impl Idp {
    pub(crate) async fn start(keys: &[&Key]) -> Idp {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let idp = Idp { issuer, behaviour: Arc::default() };
        idp.has(keys);
        let behaviour = idp.behaviour.clone();
        let listener = listener.tap_io(move |_| behaviour.lock().unwrap().connections += 1);
        let router = Router::new().fallback(answer).with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        idp
    }

    /// These are its keys from now on.
    fn has(&self, keys: &[&Key]) {
        self.publishes(keys.iter().map(|key| key.jwk()).collect());
    }

    fn publishes(&self, keys: Vec<Value>) {
        self.behaviour.lock().unwrap().keys = keys;
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.behaviour.lock().unwrap().mood = mood;
    }

    fn fetches(&self) -> usize {
        self.behaviour.lock().unwrap().fetches
    }

    fn requests(&self) -> usize {
        self.behaviour.lock().unwrap().requests
    }

    fn config(&self) -> OidcConfig {
        OidcConfig {
            issuer: self.issuer.clone(),
            audience: AUDIENCE.to_owned(),
            claim: "cronplane".to_owned(),
            prefix: String::new(),
        }
    }

    /// A verifier that has seen nothing yet.
    pub(crate) fn verifier(&self) -> Oidc {
        Oidc::new(self.config(), https_connector(), None)
    }

    fn verifier_sharing(&self, cache: &Arc<Shared>) -> Oidc {
        Oidc::new(self.config(), https_connector(), Some(cache.clone()))
    }

    /// Claims that let in at `at(0)`, and for the 10 days after it.
    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": at(0).as_second(),
            "nbf": at(0).as_second(),
            "exp": at(864_000).as_second(),
            "email": "kim@example.com",
            "cronplane": ["platform:editor"],
        })
    }

    /// Valid claims but for these, where null takes one away.
    pub(crate) fn claims_with(&self, changes: Value) -> Value {
        let mut claims = self.claims();
        json_patch::merge(&mut claims, &changes);
        claims
    }
}

async fn answer(State(idp): State<Idp>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (mood, keys) = {
        let mut behaviour = idp.behaviour.lock().unwrap();
        behaviour.requests += 1;
        behaviour.fetches += usize::from(path.ends_with("/jwks"));
        (behaviour.mood.clone(), behaviour.keys.clone())
    };
    let mut document = match path.trim_start_matches("/elsewhere") {
        DISCOVERY => json!({"issuer": idp.issuer, "jwks_uri": format!("{}/jwks", idp.issuer)}),
        "/jwks" => json!({"keys": keys}),
        _ => return Response::builder().status(404).body(Body::empty()).unwrap(),
    };
    match mood {
        Mood::Well => {}
        Mood::Slow(time) => tokio::time::sleep(time).await,
        Mood::Broken => return Response::builder().status(500).body(Body::empty()).unwrap(),
        Mood::Hanging => std::future::pending().await,
        Mood::Redirecting(from) if from == path => {
            let to = format!("/elsewhere{path}");
            // What follows no redirect could still read the answer's body.
            let body = Body::from(document.to_string());
            return Response::builder().status(302).header("location", to).body(body).unwrap();
        }
        Mood::Padded(bytes) if path == "/jwks" => document["padding"] = json!("x".repeat(bytes)),
        Mood::Saying(at, text) if at == path => return Response::new(Body::from(text)),
        Mood::Redirecting(_) | Mood::Padded(_) | Mood::Saying(..) => {}
    }
    Response::new(Body::from(document.to_string()))
}

// --- The cache of all instances ----------------------------------------------------------------

#[derive(Debug, Default)]
struct Shared {
    keys: Mutex<Option<CachedKeys>>,
    puts: Mutex<usize>,
    gets: Mutex<usize>,
    broken: bool,
}

impl Shared {
    fn puts(&self) -> usize {
        *self.puts.lock().unwrap()
    }
}

#[async_trait]
impl KeyCache for Shared {
    async fn get(&self) -> Result<Option<CachedKeys>> {
        *self.gets.lock().unwrap() += 1;
        if self.broken {
            return Err(Error::Internal("the cache is broken".to_owned()));
        }
        Ok(self.keys.lock().unwrap().clone())
    }

    async fn put(&self, keys: CachedKeys) -> Result<()> {
        *self.puts.lock().unwrap() += 1;
        if self.broken {
            return Err(Error::Internal("the cache is broken".to_owned()));
        }
        *self.keys.lock().unwrap() = Some(keys);
        Ok(())
    }
}

// --- What came of it ---------------------------------------------------------------------------

#[track_caller]
fn is_in(outcome: std::result::Result<Principal, Refused>) -> Principal {
    outcome.unwrap()
}

/// The reason that a caller is told.
#[track_caller]
fn is_refused(outcome: std::result::Result<Principal, Refused>) -> &'static str {
    match outcome {
        Err(Refused::Invalid(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn is_unavailable(outcome: std::result::Result<Principal, Refused>) {
    assert!(
        matches!(outcome, Err(Refused::Unavailable(Error::Unavailable(_)))),
        "not unavailable: {outcome:?}"
    );
}

#[tokio::test]
async fn whoever_has_a_valid_token_is_who_it_says() {
    let key = Key::new("a", Algorithm::EdDSA);
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    let principal = is_in(oidc.verify(&key.token(&idp.claims()), at(0)).await);
    assert_eq!(
        principal,
        Principal {
            kind: PrincipalKind::Oidc,
            id: SUBJECT.to_owned(),
            name: "kim@example.com".to_owned(),
            access: Access::of_team(team(), Role::Editor),
        }
    );

    let nameless = idp.claims_with(json!({"email": null, "cronplane": null}));
    let principal = is_in(oidc.verify(&key.token(&nameless), at(0)).await);
    assert_eq!((principal.name.as_str(), principal.access), (SUBJECT, Access::default()));
}

#[tokio::test]
async fn every_kind_of_key_that_is_allowed_lets_in() {
    let rsa = Key::new("rsa", Algorithm::RS256);
    let with = |algorithm| Key { algorithm, ..rsa.clone() };
    let keys = [
        with(Algorithm::RS256),
        with(Algorithm::RS384),
        with(Algorithm::RS512),
        with(Algorithm::PS256),
        with(Algorithm::PS384),
        with(Algorithm::PS512),
        Key::new("p256", Algorithm::ES256),
        Key::new("p384", Algorithm::ES384),
        Key::new("ed", Algorithm::EdDSA),
    ];
    for key in &keys {
        let idp = Idp::start(&[key]).await;
        let mut anonymous = key.jwk();
        for (jwk, header) in [
            (key.jwk(), key.header()),
            (key.jwk(), json!({"alg": key.alg()})),
            (
                {
                    for name in ["kid", "use", "alg"] {
                        anonymous.as_object_mut().unwrap().remove(name);
                    }
                    anonymous
                },
                json!({"alg": key.alg()}),
            ),
        ] {
            idp.publishes(vec![jwk]);
            let token = key.token_with(&header, &idp.claims());
            let outcome = idp.verifier().verify(&token, at(0)).await;
            assert!(outcome.is_ok(), "{header}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_audience_may_be_one_of_several_and_an_issuer_may_end_with_a_slash() {
    let key = Key::new("a", Algorithm::ES256);
    let mut idp = Idp::start(&[&key]).await;
    let claims = idp.claims_with(json!({"aud": ["other", AUDIENCE]}));
    is_in(idp.verifier().verify(&key.token(&claims), at(0)).await);

    let slash = format!("{}/", idp.issuer);
    let about = json!({"issuer": slash, "jwks_uri": format!("{}/jwks", idp.issuer)});
    idp.is(Mood::Saying(DISCOVERY, about.to_string()));
    idp.issuer = slash;
    is_in(idp.verifier().verify(&key.token(&idp.claims()), at(0)).await);
}
