"""Sign-in from end to end: a stack that takes the tokens of a real OIDC provider, and what becomes of them when
the provider changes its keys or is away. And what its rate limit does to those who ask too much.
"""

import contextlib
import hmac
import json
import time

import local_stack
import pytest
from conftest import ROOT, free_port
from oidc_provider import Provider, forge, new_key, parts, signer
from product import TEAM, at_once, jobs, make_team, problem, until, written_down

AUDIENCE = "https://cronplane.example.com"
OTHER_TEAM = "data"
# Requests a second, and at once.
RATE_LIMIT, RATE_BURST = 5, 20
CLIENTS = {
    "admin": {"cronplane": ["e2e/administrator"], "email": "admin@example.com"},
    "editor": {"cronplane": f"e2e/{TEAM}:editor e2e/{TEAM}:viewer"},
    "elsewhere": {"cronplane": ["administrator", f"{TEAM}:owner", "other/administrator"]},
    "stranger": {},
}
# An instance asks for an unknown key once in 30 s; the rest is for a slow machine.
NEW_KEY = 60


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    with Provider(tmp_path_factory.mktemp("oidc"), free_port(), CLIENTS) as provider:
        yield provider


@pytest.fixture(scope="module")
def stack(provider):
    """Cronplane in a local cloud of its own, with the provider, two teams, and a rate limit that is soon reached."""
    state = ROOT / ".local" / "e2e" / "oidc"
    up = local_stack.Stack(state, free_port(), free_port(), free_port(), name="oidc", parameters={
        "OidcIssuer": provider.issuer, "OidcAudience": AUDIENCE, "OidcClaim": "cronplane", "OidcPrefix": "e2e/",
        "RateLimit": str(RATE_LIMIT), "RateBurst": str(RATE_BURST)})
    try:
        up.up()
        for team in (TEAM, OTHER_TEAM):
            make_team(up, team)
        yield up
    finally:
        up.down(stop_runtime=False)


@contextlib.contextmanager
def stopped(provider):
    provider.stop()
    try:
        yield
    finally:
        provider.start()


def status(stack, token: str) -> int:
    return stack.call("GET", jobs(), token=token)[0]


def assert_refused(stack, token: str) -> str:
    """Gives back what the bearer is told."""
    found, headers, answer = stack.call("GET", jobs(), token=token)
    assert (found, answer["code"]) == (401, "unauthorized"), answer
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert token not in json.dumps(answer)
    return answer["detail"]


def test_an_administrator_by_the_claim_sees_what_the_administrators_token_sees(stack, provider):
    by_claim = stack.call("GET", jobs(), token=provider.token("admin", AUDIENCE))
    by_token = stack.call("GET", jobs())
    assert by_claim[0] == by_token[0] == 200
    assert by_claim[2] == by_token[2]


def test_an_editor_by_the_claim_is_one_of_that_team_alone(stack, provider):
    token = provider.token("editor", AUDIENCE)
    found, _, me = stack.call("GET", "/v1/me", token=token)
    assert (found, me["kind"], me["teams"]) == (200, "oidc", {TEAM: "editor"}), me
    job = {"name": "by-claim", "image": "busybox:1", "schedule": "rate(1 day)"}
    assert stack.call("POST", jobs("?dry_run=true"), job, token=token)[0] == 200
    found, _, answer = stack.call("GET", f"/v1/teams/{TEAM}/audit", token=token)
    assert (found, answer["code"]) == (403, "forbidden"), answer
    found, _, answer = stack.call("GET", jobs(team=OTHER_TEAM), token=token)
    assert (found, answer["code"]) == (404, "not_found"), answer


def test_who_is_granted_nothing_here_is_signed_in_and_finds_no_team(stack, provider):
    for client in ("stranger", "elsewhere"):
        token = provider.token(client, AUDIENCE)
        found, _, answer = stack.call("GET", jobs(), token=token)
        assert (found, answer["code"]) == (404, "not_found"), answer
        assert stack.call("GET", "/v1/teams", token=token)[2]["items"] == []


def test_a_token_for_another_audience_lets_nobody_in(stack, provider):
    assert "audience" in assert_refused(stack, provider.token("admin", "https://other.example.com"))


def test_a_token_of_another_provider_lets_nobody_in(stack, provider, tmp_path):
    with Provider(tmp_path, free_port(), CLIENTS) as other:
        assert_refused(stack, other.token("admin", AUDIENCE))
    # Nor somebody who says the same as the provider, key id included, and signs it with another key.
    header, claims, _ = parts(provider.token("admin", AUDIENCE))
    assert status(stack, forge(header, claims, signer(provider.keys[0]))) == 200
    assert_refused(stack, forge(header, claims, signer(new_key("RS256"))))


def test_a_token_that_was_changed_lets_nobody_in(stack, provider):
    token = provider.token("stranger", AUDIENCE)
    said, claims, signature = parts(token)
    greater = {**claims, "cronplane": ["e2e/administrator"]}
    assert_refused(stack, forge(said, greater, lambda _: signature))
    for nothing in (b"", signature):
        assert_refused(stack, forge({**said, "alg": "none"}, greater, lambda _: nothing))
    published = json.dumps(next(key for key in provider.public_keys() if key["kid"] == provider.kid)).encode()
    assert_refused(stack, forge(
        {**said, "alg": "HS256"}, greater, lambda message: hmac.digest(published, message, "sha256")))


def test_a_new_key_is_found_and_one_that_was_taken_away_is_refused(stack, provider):
    before = provider.token("admin", AUDIENCE)
    assert status(stack, before) == 200
    provider.rotate(keep=True)
    until(lambda: status(stack, provider.token("admin", AUDIENCE)) == 200, NEW_KEY, "the new key is taken")
    assert status(stack, before) == 200, "the former one is still published"

    provider.rotate(keep=False)
    until(lambda: status(stack, provider.token("admin", AUDIENCE)) == 200, NEW_KEY, "the third key is taken")
    # Each instance learns it with the first token that has the new key's id.
    until(lambda: status(stack, before) == 401, NEW_KEY, "the first key is refused")


def test_an_outage_of_the_provider_signs_nobody_out(stack, provider):
    token = provider.token("admin", AUDIENCE)
    until(lambda: status(stack, token) == 200, NEW_KEY, "the key is known")
    with stopped(provider):
        assert status(stack, token) == 200
        header, claims, _ = parts(token)
        unknown = new_key("RS256")
        assert_refused(stack, forge({**header, "kid": unknown["kid"]}, claims, signer(unknown)))
        assert status(stack, token) == 200


def test_the_administrators_token_needs_no_provider(stack, provider):
    with stopped(provider):
        assert stack.call("GET", jobs())[0] == 200


def test_who_asks_too_much_is_told_when_to_come_back(stack, provider):
    """Each by themselves: nobody else is kept waiting."""
    token = provider.token("stranger", AUDIENCE)

    def ask_on():
        for passed in range(200):
            answer = stack.call("GET", "/v1/me", token=token)
            if answer[0] != 200:
                break
        return passed, answer

    asked = at_once(*[ask_on] * 4)
    for passed, answer in asked:
        problem(answer, 429, "rate_limited")
        assert int(answer[1]["Retry-After"]) > 0
    # Each instance lets a burst through before it knows of the others.
    assert sum(passed for passed, _ in asked) < 8 * RATE_BURST
    for other in (None, provider.token("editor", AUDIENCE)):
        assert stack.call("GET", "/v1/me", token=other)[0] == 200
    # What has been refilled meanwhile is soon used up.
    _, (refused, headers, _) = ask_on()
    assert refused == 429
    time.sleep(int(headers["Retry-After"]))
    assert stack.call("GET", "/v1/me", token=token)[0] == 200


def test_no_token_is_written_down_anywhere(stack, provider):
    token = provider.token("editor", AUDIENCE)
    assert status(stack, token) == 200
    texts = written_down(stack)
    assert all(texts.values()), {where: len(text) for where, text in texts.items()}
    for secret in token.split("."):
        for where, text in texts.items():
            assert secret not in text, where
