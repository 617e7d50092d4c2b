"""The OIDC provider of the end-to-end tests issues what test_oidc.py takes for granted."""

import json
import time
import urllib.error

import pytest
from conftest import free_port
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from oidc_provider import Provider, decode, forge, new_key, parts, signer

AUDIENCE = "https://cronplane.example.com"
CLIENTS = {"deployer": {"cronplane": ["platform:editor"], "email": "deployer@example.com"}, "stranger": {}}


def integer(text: str) -> int:
    return int.from_bytes(decode(text), "big")


def verify(token: str, key: dict) -> None:
    """Raises InvalidSignature if it is not a signature of this key."""
    header, _, signature = parts(token)
    message = token.rsplit(".", 1)[0].encode()
    if header["alg"] == "ES256":
        public = ec.EllipticCurvePublicNumbers(integer(key["x"]), integer(key["y"]), ec.SECP256R1()).public_key()
        halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        public.verify(encode_dss_signature(*halves), message, ec.ECDSA(hashes.SHA256()))
    else:
        public = rsa.RSAPublicNumbers(integer(key["e"]), integer(key["n"])).public_key()
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())


@pytest.fixture(params=["RS256", "ES256"])
def provider(request, tmp_path):
    with Provider(tmp_path, free_port(), CLIENTS, request.param) as provider:
        yield provider


def test_a_token_is_an_access_token_with_the_claims_of_its_client(provider):
    token = provider.token("deployer", AUDIENCE)
    header, claims, _ = parts(token)
    assert header == {"alg": provider.algorithm, "typ": "at+jwt", "kid": provider.kid}
    assert claims["iss"] == provider.issuer and claims["aud"] == AUDIENCE and claims["sub"] == "deployer"
    assert claims["cronplane"] == ["platform:editor"] and claims["email"] == "deployer@example.com"
    assert abs(claims["iat"] - time.time()) < 30 and claims["exp"] == claims["iat"] + provider.seconds
    verify(token, next(key for key in provider.public_keys() if key["kid"] == provider.kid))

    _, claims, _ = parts(provider.token("stranger", "https://other.example.com"))
    assert "cronplane" not in claims and claims["aud"] == "https://other.example.com"


def test_only_clients_with_their_secret_get_tokens(provider):
    provider.clients["deployer"]["secret"] = "another"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        provider.token("deployer", AUDIENCE)


def test_no_private_part_is_published(provider):
    assert not {"d", "p", "q"} & set(json.dumps(provider.public_keys()).split('"'))


def test_a_rotation_changes_the_key_that_signs(provider):
    before, first = provider.kid, provider.token("deployer", AUDIENCE)
    provider.rotate(keep=True)
    assert provider.kid != before
    assert {key["kid"] for key in provider.public_keys()} == {before, provider.kid}
    second = provider.token("deployer", AUDIENCE)
    assert parts(second)[0]["kid"] == provider.kid
    new = next(key for key in provider.public_keys() if key["kid"] == provider.kid)
    verify(second, new)
    with pytest.raises(InvalidSignature):
        verify(first, new)
    provider.rotate(keep=False)
    assert [key["kid"] for key in provider.public_keys()] == [provider.kid]


def test_a_provider_that_is_stopped_answers_nobody_and_comes_back_the_same(provider):
    kid = provider.kid
    provider.stop()
    assert not provider.answers()
    provider.start()
    assert [key["kid"] for key in provider.public_keys()] == [kid]


def test_a_forged_token_is_signed_with_the_key_that_is_named():
    key, header = new_key("RS256"), {"alg": "RS256"}
    token = forge(header, {"sub": "x"}, signer(key))
    assert parts(token)[:2] == (header, {"sub": "x"})
    verify(token, key)
    with pytest.raises(InvalidSignature):
        verify(token, new_key("RS256"))
