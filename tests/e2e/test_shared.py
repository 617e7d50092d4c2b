"""Where EventBridge Scheduler carries every job: what a team's jobs share, how their failures are told, and how a job
comes there and back. In the stack of test_product.py, which is moved to that engine when the others are done with it.
"""

import pytest
from conftest import ACCOUNT, REGION, STACK
from product import (
    EVERY_MINUTE, ONE_START, arn, get, job_path, jobs, make_team, post,
    until,
)

pytestmark = pytest.mark.last

TEAM = "sharing"
MERGE = {"Content-Type": "application/merge-patch+json"}
DAILY = "rate(1 day)"
TOKEN = arn("ssm", "parameter/app/token")


def deploy(stack, engine: str) -> None:
    stack.parameters["ScheduleEngine"] = engine
    stack.deploy()
    stack.wait_for_health()


@pytest.fixture(scope="module")
def moved(stack, inbox):
    """A job that was made before, with a rule; then the stack is moved, and one that fails is begun at once."""
    make_team(stack, TEAM, {"guardrails": {"secrets": [TOKEN]}})
    post(stack, {"name": "older", "image": "busybox:1", "schedule": DAILY}, TEAM)
    before = account(stack)
    deploy(stack, "scheduler")
    post(stack, {
        "name": "broken", "image": "busybox:1", "command": ["sh", "-c", "exit 3"], "schedule": EVERY_MINUTE,
        "notifications": {"subscribers": [{"protocol": "https", "endpoint": inbox.url("/broken")}]}}, TEAM)
    yield before
    deploy(stack, "by_need")


def account(stack) -> dict[str, set[str]]:
    """The names of all rules, roles and schedules."""
    return {
        "rules": {one["Name"] for one in stack.aws("events").list_rules()["Rules"]},
        "roles": {
            one["RoleName"] for page in stack.aws("iam").get_paginator("list_roles").paginate() for one in page["Roles"]},
        "schedules": {one["Name"] for one in stack.aws("scheduler").list_schedules()["Schedules"]},
    }


def aws_name(name: str) -> str:
    return f"{STACK}_{TEAM}_{name}"


TEAM_ROLES = {f"{STACK}_{TEAM}_{REGION}_{last}" for last in ("execution", "schedules")}


def test_a_team_takes_two_roles_and_a_job_takes_none(stack, moved):
    after = account(stack)
    assert after["rules"] == moved["rules"]
    assert after["roles"] - moved["roles"] == TEAM_ROLES
    post(stack, {"name": "second", "image": "busybox:1", "schedule": DAILY}, TEAM)
    more = account(stack)
    assert (more["rules"], more["roles"]) == (after["rules"], after["roles"])
    assert aws_name("second") in more["schedules"] - after["schedules"]

    job = get(stack, job_path("second", team=TEAM))
    kinds = {one["kind"]: one["arn"] for one in job["status"]["resources"]}
    assert not {"schedule_rule", "failure_rule"} & kinds.keys()
    assert kinds["execution_role"].rsplit("/", 1)[1] in TEAM_ROLES
    assert job["status"]["schedule"]["engine"] == "scheduler"


def test_one_with_secrets_has_roles_of_its_own(stack, moved):
    before = account(stack)
    post(stack, {"name": "secretive", "image": "busybox:1", "schedule": DAILY, "secrets": {"TOKEN": TOKEN}}, TEAM)
    after = account(stack)
    assert after["roles"] - before["roles"] == {
        f"{aws_name('secretive')}_{REGION}_{last}" for last in ("execution", "events")}
    assert after["rules"] == before["rules"]
    assert stack.call("DELETE", job_path("secretive", team=TEAM))[0] == 204
    assert account(stack)["roles"] == before["roles"]


def test_a_failure_is_told_by_the_rule_of_the_stack(stack, moved, inbox):
    run = first_ended_run_of(stack, "broken")
    assert (run["status"], run["trigger"], run["exit_code"]) == ("failed", "schedule", 3)
    message = inbox.wait("/broken", lambda body: body["event"]["source"] == "aws.ecs", 60)
    assert (message["team"], message["job"], message["stack"]) == (TEAM, "broken", STACK)
    assert message["event"]["detail"]["taskArn"].startswith(f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/")
    # The link finds the run.
    path = message["run"].removeprefix(stack.url)
    (found,) = get(stack, path)["items"]
    assert found["task_arn"] == message["event"]["detail"]["taskArn"]

    status, _, answer = stack.call("POST", job_path("broken", "/notifications/test", TEAM))
    assert status == 202, answer
    tested = inbox.wait("/broken", lambda body: body["event"]["id"] == answer["event_id"], 30)
    assert tested["event"]["source"] == f"cronplane.{STACK}"


def first_ended_run_of(stack, name: str) -> dict:
    path = job_path(name, "/runs", TEAM)
    until(lambda: any(one["stopped_at"] for one in get(stack, path)["items"]), ONE_START, f"a run of {name} has ended")
    return [one for one in get(stack, path)["items"] if one["stopped_at"]][-1]


def test_a_job_of_before_moves_with_its_next_change(stack, moved):
    rules = {aws_name("older"), f"{aws_name('older')}_failure"}
    assert rules <= account(stack)["rules"]
    status, _, job = stack.call("PATCH", job_path("older", team=TEAM), {"tags": {"moved": "yes"}}, headers=MERGE)
    assert (status, job["status"]["phase"]) == (200, "ready"), job
    found = account(stack)
    assert not rules & found["rules"]
    assert aws_name("older") in found["schedules"]
    assert job["status"]["schedule"]["engine"] == "scheduler"


def test_the_report_of_quotas_says_what_is_left(stack, moved):
    report = get(stack, "/v1/quotas")
    quotas = {one["name"]: one for one in report["quotas"]}
    assert (quotas["rules"]["per_job"], quotas["roles"]["per_job"], quotas["schedules"]["per_job"]) == (0, 0, 1)
    assert quotas["schedules"]["used_by_jobs"] == len(account(stack)["schedules"])
    assert report["limiting"] == "clusters"


def test_with_the_team_its_roles_go(stack, moved):
    for name in ("older", "second", "broken"):
        stack.call("DELETE", job_path(name, "?stop_tasks=true", TEAM))
    until(lambda: get(stack, jobs(team=TEAM))["items"] == [], 120, "the jobs are gone")
    assert TEAM_ROLES <= account(stack)["roles"]
    status, _, answer = stack.call("DELETE", f"/v1/teams/{TEAM}")
    assert status == 204, answer
    found = account(stack)
    assert not TEAM_ROLES & found["roles"]
    for kind, names in found.items():
        assert not {name for name in names if name.startswith(f"{STACK}_{TEAM}_")}, kind
