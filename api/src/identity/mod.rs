//! Who bears a token of the deployment's OIDC provider.
//!
//! [`Oidc::verify`] takes a JSON Web Token, finds the provider's key that it claims to be signed with,
//! and says whom it speaks of. The keys are kept as [`Oidc`] tells. No message, and nothing in the log,
//! has any of a token in it.

mod jwks;
mod oidc;
mod provider;
mod token;

pub use oidc::{KeyCache, Oidc, Refused};
pub use provider::https_connector;
pub use token::looks_like_jwt;
