//! Who may use the API: for now, whoever has the administrator's token.

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Api;
use super::problem::Problem;

/// The hash of the administrator's token.
#[derive(Clone)]
pub(super) struct AdminToken(Option<[u8; 32]>);

impl AdminToken {
    /// From 64 hexadecimal digits; anything else admits nobody.
    pub(super) fn from_hex(digits: &str) -> AdminToken {
        AdminToken(hash_from_hex(digits))
    }

    /// Compares hashes in constant time: how long it takes tells nothing of the token.
    fn admits(&self, token: &[u8]) -> bool {
        let hash: [u8; 32] = Sha256::digest(token).into();
        self.0.is_some_and(|wanted| bool::from(wanted.ct_eq(&hash)))
    }
}

fn hash_from_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

/// Lets a request below `/v1` through only if it bears the administrator's token, whether there is
/// something at its path or not.
pub(super) async fn require_admin(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path != "/v1" && !path.starts_with("/v1/") {
        return next.run(request).await;
    }
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    match given.map(bearer) {
        Some(Some(token)) if api.admin.admits(token) => next.run(request).await,
        Some(Some(_)) => Problem::unauthorized("this token is not known").into_response(),
        Some(None) => Problem::unauthorized("the header must read `Authorization: Bearer <token>`")
            .into_response(),
        None => {
            Problem::unauthorized("send a token: `Authorization: Bearer <token>`").into_response()
        }
    }
}

/// The token in the value of an `Authorization` header. RFC 6750; RFC 9110 takes the scheme in any
/// case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_admitted() {
        // printf %s secret | sha256sum
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let token = AdminToken::from_hex(hash);
        assert!(token.admits(b"secret"));
        assert!(!token.admits(b"Secret") && !token.admits(b"") && !token.admits(hash.as_bytes()));
        for digits in ["", "00", &"zz".repeat(32), &"ü".repeat(32)] {
            assert!(!AdminToken::from_hex(digits).admits(b""), "{digits:?}");
        }
    }

    #[test]
    fn the_scheme_is_taken_in_any_case() {
        assert_eq!(bearer(b"bEARER x"), Some(&b"x"[..]));
        for bad in [&b"Bearer"[..], b"Bearer ", b"Basic xxx", b"x", b""] {
            assert_eq!(bearer(bad), None);
        }
    }
}
