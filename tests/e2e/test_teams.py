"""Teams from end to end: who may do what with which token, for how long, and what is written down of it. In the stack
of test_product.py, over HTTP only.
"""

import datetime
import hashlib
import types

import pytest
from product import arn, at_once, get, job_path, jobs, make_team, post, problem, until, written_down

CREW, NEIGHBOUR, PASSING = "crew", "neighbour", "passing"
DAILY = "rate(1 day)"
MERGE = {"Content-Type": "application/merge-patch+json"}
# Instances go by what they read of a token for 30 s; the rest is for a slow machine.
FORGOTTEN = 60
ROLES = ("viewer", "operator", "editor", "owner")
# Every token that is made here: none is to be found afterwards.
MADE = []


def team_path(team: str = CREW, rest: str = "") -> str:
    return f"/v1/teams/{team}{rest}"


def make_token(stack, role: str, team: str = CREW, by: str | None = None, **more) -> types.SimpleNamespace:
    """By the administrator, or who has the token `by`."""
    request = {"description": f"{role} of the tests", "role": role, **more}
    status, headers, answer = stack.call("POST", team_path(team, "/tokens"), request, token=by)
    assert status == 201, answer
    MADE.append(answer["token"])
    return types.SimpleNamespace(text=answer["token"], id=answer["id"], path=headers["Location"], answer=answer)


def in_seconds(seconds: float) -> str:
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def refused_everywhere(stack, token: str) -> bool:
    """By whichever instances ten requests at once come to."""
    return all(status == 401 for status, _, _ in at_once(*[lambda: stack.call("GET", "/v1/me", token=token)] * 10))


@pytest.fixture(scope="session")
def crew(stack):
    """Two teams with a job each, and a token of each role in one of them."""
    made = make_team(stack, CREW, {"display_name": "The crew", "guardrails": {"max_cpu": 512, "images": ["busybox:*"]}})
    assert (made["name"], made["jobs"], made["guardrails"]["task_roles"]) == (CREW, 0, [])
    make_team(stack, NEIGHBOUR)
    definition = {"image": "busybox:1", "command": ["true"], "schedule": DAILY}
    at_once(lambda: post(stack, {"name": "ours", **definition}, CREW),
            lambda: post(stack, {"name": "theirs", **definition}, NEIGHBOUR))
    owner = make_token(stack, "owner")
    tokens = {role: make_token(stack, role, by=owner.text) for role in ROLES if role != "owner"}
    return types.SimpleNamespace(**tokens, owner=owner)


def ours(rest: str = "") -> str:
    return job_path("ours", rest, CREW)


# By role: requests that it may make, and requests that only a greater one may.
READ, AUDIT = ("GET", jobs(team=CREW), None, 200), ("GET", team_path(rest="/audit"), None, 200)
RUN = ("POST", ours("/runs"), None, 201)
RUN_OTHERWISE = ("POST", ours("/runs"), {"command": ["date"]}, 201)
CHANGE = ("PATCH", ours(), {"description": "changed"}, 200)
TOKENS = ("GET", team_path(rest="/tokens"), None, 200)
GRANT = ("PATCH", team_path(), {"display_name": "Crew"}, 200)
MAY = {
    "viewer": ([READ], [RUN, CHANGE, TOKENS]),
    "operator": ([READ, RUN], [RUN_OTHERWISE, CHANGE]),
    "editor": ([RUN_OTHERWISE, CHANGE], [TOKENS, AUDIT, GRANT]),
    "owner": ([CHANGE, TOKENS, AUDIT], [GRANT]),
    "administrator": ([READ, AUDIT, GRANT], []),
}


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_is_its_own_and_nothing_greater(stack, crew, role):
    token = None if role == "administrator" else getattr(crew, role).text
    may, may_not = MAY[role]

    def ask(method: str, path: str, body):
        return stack.call(method, path, body, headers=MERGE if method == "PATCH" else None, token=token)

    for method, path, body, wanted in may:
        status, _, answer = ask(method, path, body)
        assert status == wanted, answer
    for method, path, body, _ in may_not:
        problem(ask(method, path, body), 403, "forbidden")


def test_everybody_is_told_who_they_are(stack, crew):
    for role in ROLES:
        token = getattr(crew, role)
        status, _, me = stack.call("GET", "/v1/me", token=token.text)
        assert (status, me["kind"], me["id"], me["administrator"], me["teams"]) == (
            200, "team_token", f"{CREW}/{token.id}", False, {CREW: role}), me
        (team,) = stack.call("GET", "/v1/teams", token=token.text)[2]["items"]
        assert team["name"] == CREW
    assert get(stack, "/v1/me")["administrator"] is True
    assert {CREW, NEIGHBOUR} <= {team["name"] for team in get(stack, "/v1/teams?limit=100")["items"]}


def test_another_team_is_as_if_it_were_not_there(stack, crew):
    for token in (crew.viewer.text, crew.owner.text):
        for method, body, rest in (
                ("GET", None, "/jobs/theirs"), ("GET", None, "/jobs"), ("POST", None, "/jobs/theirs/runs"), ("GET", None, ""),
                ("GET", None, "/tokens"), ("PUT", {"image": "busybox:1", "schedule": DAILY}, "/jobs/theirs"),
                ("DELETE", None, "/jobs/theirs")):
            theirs, nobodys = (
                problem(stack.call(method, team_path(team, rest), body, token=token), 404, "not_found")
                for team in (NEIGHBOUR, "nobody"))
            told = {key: str(theirs[key]).replace(NEIGHBOUR, "nobody") for key in theirs if key != "request_id"}
            assert told == {key: str(nobodys[key]) for key in nobodys if key != "request_id"}
        for written in (NEIGHBOUR.replace("n", "%6E"), NEIGHBOUR.replace("n", "%256E"), f"{CREW}/../{NEIGHBOUR}"):
            assert stack.call("GET", team_path(written, "/jobs"), token=token)[0] in (400, 404)
    assert get(stack, job_path("theirs", team=NEIGHBOUR))["generation"] == 1


# ---- tokens


def test_a_token_is_shown_once_and_known_by_its_hash(stack, crew):
    token = make_token(stack, "viewer")
    prefix, team, random = token.text.split("_")
    assert (prefix, team, len(random)) == ("cronplane", CREW, 43 + 6)
    assert token.id == hashlib.sha256(token.text.encode()).hexdigest()[:16]
    assert token.path == team_path(rest=f"/tokens/{token.id}")
    for answer in (get(stack, token.path), *get(stack, team_path(rest="/tokens?limit=100"))["items"]):
        assert "token" not in answer and random not in str(answer)
    # One character else, and it is no token at all.
    problem(stack.call("GET", "/v1/me", token=token.text[:-1] + ("a" if token.text[-1] != "a" else "b")), 401)


@pytest.fixture(scope="session")
def over(stack, crew):
    """Tokens that were good and known to whichever instances there are, and then came to an end, each in its way."""
    make_team(stack, PASSING)
    tokens = {
        "revoked": make_token(stack, "owner"),
        "expired": make_token(stack, "viewer", expires_at=in_seconds(10)),
        "of a team that is gone": make_token(stack, "editor", PASSING),
    }
    for token in tokens.values():
        answers = at_once(*[lambda: stack.call("GET", "/v1/me", token=token.text)] * 10)
        assert [status for status, _, _ in answers] == [200] * 10
    # By its own holder, which an owner may.
    assert stack.call("DELETE", tokens["revoked"].path, token=tokens["revoked"].text)[0] == 204
    assert stack.call("DELETE", team_path(PASSING))[0] == 204
    return tokens


@pytest.mark.parametrize("how", ["revoked", "expired", "of a team that is gone"])
def test_a_token_that_came_to_its_end_is_soon_refused_everywhere(stack, over, how):
    token = over[how]
    until(lambda: refused_everywhere(stack, token.text), FORGOTTEN, "the token is refused")
    if how in ("revoked", "expired"):
        found = get(stack, token.path)
        assert found["status"] == how and found["last_used_at"] is not None
    else:
        # Nor does it come back with another team of the name.
        make_team(stack, PASSING)
        assert refused_everywhere(stack, token.text)
        problem(stack.call("GET", token.path), 404, "not_found")
        assert get(stack, team_path(PASSING, "/tokens"))["items"] == []


# ---- guardrails


def test_guardrails_hold_whoever_writes_the_job(stack, crew):
    definition = {
        "name": "greedy", "image": "alpine:3", "schedule": DAILY, "cpu": 1024, "cluster": "e2e-shared",
        "task_role": arn("iam", "role/jobs/report"),
        "secrets": {"A": arn("ssm", "parameter/e2e/token")},
        "volumes": [{"name": "a", "mount_path": "/a", "efs": {"file_system_id": "fs-01234567"}}]}
    forbidden = {"/image", "/cpu", "/cluster", "/task_role", "/secrets/A", "/volumes/0/efs/file_system_id"}
    for token in (crew.editor.text, None):
        body = problem(stack.call("POST", jobs(team=CREW), definition, token=token), 422)
        assert {error["pointer"] for error in body["errors"] if error["code"] == "forbidden"} == forbidden, body
    body = problem(stack.call("POST", ours("/runs"), {"cpu": 1024, "memory": 2048}, token=crew.editor.text), 422)
    assert [(error["pointer"], error["code"]) for error in body["errors"]] == [("/cpu", "forbidden")]


def test_a_guardrail_that_comes_later_shows_who_does_not_comply(stack, crew):
    change = {"guardrails": {"images": ["alpine:*"]}}
    status, _, foreseen = stack.call("PATCH", team_path(rest="?dry_run=true"), change, headers=MERGE)
    assert (status, [job["job"] for job in foreseen["not_complying"]["jobs"]]) == (200, ["ours"]), foreseen
    assert [job["name"] for job in get(stack, jobs("?compliant=false", CREW))["items"]] == []


# ---- the audit log


def entries(stack, token: str, query: str = "") -> list[dict]:
    status, _, page = stack.call("GET", team_path(rest=f"/audit?limit=100{query}"), token=token)
    assert status == 200, page
    return page["items"]


def test_the_log_tells_who_did_what_and_who_was_denied(stack, crew):
    status, _, _ = stack.call("PATCH", ours(), {"environment": {"MODE": "told"}}, headers=MERGE, token=crew.editor.text)
    assert status == 200
    problem(stack.call("PATCH", ours(), {"cpu": 1024, "memory": 2048}, headers=MERGE, token=crew.editor.text), 422)
    problem(stack.call("POST", ours("/pause"), token=crew.viewer.text), 403)
    neighbour = make_token(stack, "owner", NEIGHBOUR)
    problem(stack.call("DELETE", ours(), token=neighbour.text), 404)

    stranger, paused, refused, changed = [
        one for one in entries(stack, crew.owner.text) if one["operation"] in ("update_job", "pause_job", "delete_job")][:4]
    assert [one["outcome"] for one in (stranger, paused, refused, changed)] == ["denied", "denied", "denied", "accepted"]
    editor = {"kind": "team_token", "id": f"{CREW}/{crew.editor.id}", "name": "editor of the tests", "role": "editor"}
    assert changed["principal"] == refused["principal"] == editor
    assert (paused["principal"]["id"], paused["principal"]["role"]) == (f"{CREW}/{crew.viewer.id}", "viewer")
    assert (stranger["principal"]["id"], stranger["principal"]["role"]) == (f"{NEIGHBOUR}/{neighbour.id}", None)
    for one in (stranger, paused, refused, changed):
        assert one["target"] == {"job": "ours", "run": None, "token": None}
        # As API Gateway gives it.
        assert (one["source_ip"], one["user_agent"].split("/")[0]) == ("127.0.0.1", "Python-urllib")
    assert "max_cpu" in refused["reason"] and "operator" in paused["reason"]
    # That a variable was changed, and not to what.
    assert any(change["pointer"].startswith("/environment") and change["masked"] for change in changed["changes"])
    assert "told" not in str(changed["changes"])

    (created,) = entries(stack, crew.owner.text, "&operation=create_job&outcome=accepted")
    assert (created["principal"]["kind"], created["target"]["job"]) == ("stack_token", "ours")
    tokens = entries(stack, crew.owner.text, f"&operation=create_token&principal={CREW}/{crew.owner.id}")
    assert {one["target"]["token"] for one in tokens} == {crew.viewer.id, crew.operator.id, crew.editor.id}
    status, _, of_job = stack.call("GET", ours("/audit"), token=crew.owner.text)
    assert status == 200 and changed["id"] in [one["id"] for one in of_job["items"]]


def test_a_run_is_in_the_log_with_who_asked_for_it(stack, crew):
    status, _, run = stack.call("POST", ours("/runs"), token=crew.operator.text)
    assert status == 201, run
    (entry,) = [one for one in entries(stack, crew.owner.text, "&operation=start_run") if one["target"]["run"] == run["id"]]
    assert (entry["principal"]["id"], entry["outcome"]) == (f"{CREW}/{crew.operator.id}", "accepted")


# ---- the end of a team


def test_a_team_goes_when_its_jobs_have_gone(stack):
    team = "leaving"
    make_team(stack, team, {"quotas": {"max_jobs": 1}})
    definition = {"image": "busybox:1", "schedule": DAILY}
    status, _, job = stack.call("POST", jobs(team=team), {"name": "one", **definition})
    assert status == 201, job
    assert get(stack, team_path(team))["jobs"] == 1
    body = problem(stack.call("POST", jobs(team=team), {"name": "two", **definition}), 422)
    assert [error["code"] for error in body["errors"]] == ["forbidden"]
    problem(stack.call("DELETE", team_path(team)), 409, "conflict")
    status, _, _ = stack.call("DELETE", job_path("one", "?delete_logs=true", team))
    assert status in (202, 204)
    until(lambda: get(stack, team_path(team))["jobs"] == 0, 60, "the team has no jobs")
    assert stack.call("DELETE", team_path(team))[0] == 204
    for path in (team_path(team), jobs(team=team), team_path(team, "/tokens")):
        problem(stack.call("GET", path), 404, "not_found")
    # What was done stays in the log.
    log = get(stack, team_path(team, "/audit"))["items"]
    assert [one["operation"] for one in log if one["outcome"] == "accepted"] == [
        "delete_team", "delete_job", "create_job", "replace_team"]


@pytest.mark.last
def test_no_token_is_written_down_anywhere(stack, crew):
    """Looks back on all of the above: in the table, in what the functions logged and in the local cloud's own log."""
    texts = written_down(stack)
    assert all(texts.values()), {where: len(text) for where, text in texts.items()}
    assert hashlib.sha256(crew.owner.text.encode()).hexdigest() in texts["table"]
    for token in [*MADE, stack.token()]:
        for secret in (token, token.split("_")[-1][:43]):
            for where, text in texts.items():
                assert secret not in text, where
