"""The words in which the tests of the product speak to Cronplane and look at AWS; the fixture `stack`, whose teams
stand here, is in conftest.py."""

import concurrent.futures
import datetime
import json
import re
import urllib.error
import urllib.request

import local_stack
from conftest import ACCOUNT, REGION, ROOT, STACK

TEAM = "platform"
EVERY_MINUTE = "cron(* * * * ? *)"
MERGE = {"Content-Type": "application/merge-patch+json"}
ENDED = {"succeeded", "failed", "failed_to_start", "timed_out", "stopped", "interrupted", "unknown"}
# The next start is at most a minute away; the rest is for a slow machine.
ONE_START = 120


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{'' if service == 'iam' else REGION}:{ACCOUNT}:{rest}"


def example(file: str) -> dict:
    """An example with the account and the region of the local cloud."""
    text = (ROOT / "examples" / file).read_text()
    return json.loads(text.replace("111122223333", ACCOUNT).replace("eu-west-1", REGION))


# The stack's teams: each is granted what the tests' jobs name, and nothing else.
TEAMS = {
    TEAM: {"guardrails": {
        "task_roles": [arn("iam", "role/jobs/report"), arn("iam", "role/jobs/other")],
        "execution_roles": [arn("iam", "role/jobs/start")],
        "clusters": ["e2e-shared", "e2e-spot", "e2e-plain", "e2e-gone"],
        "secrets": [
            *(arn("secretsmanager", f"secret:{name}-*") for name in ("app/db", "app/registry", "e2e/db", "e2e/missing")),
            *(arn("ssm", f"parameter/{name}") for name in ("app/token", "app/key", "e2e/token"))],
        # EFS gives their ids.
        "file_systems": ["fs-*"],
    }},
    "lists": {},
    "bounds": {"guardrails": {"task_roles": [arn("iam", "role/jobs/report")]}},
    "examples": example("teams/platform.json"),
}


def make_team(stack, team: str, definition: dict | None = None) -> dict:
    """By the administrator; the team is as `definition` says, whether it was there or not."""
    status, _, answer = stack.call("PUT", f"/v1/teams/{team}", definition or {})
    assert status in (200, 201), answer
    return answer


def jobs(rest: str = "", team: str = TEAM) -> str:
    return f"/v1/teams/{team}/jobs{rest}"


def job_path(name: str, rest: str = "", team: str = TEAM) -> str:
    return jobs(f"/{name}{rest}", team)


def get(stack, path: str) -> dict:
    status, _, answer = stack.call("GET", path)
    assert status == 200, answer
    return answer


def phase(stack, name: str) -> str:
    return get(stack, job_path(name))["status"]["phase"]


def subscription_states(stack, name: str) -> list[str]:
    return [subscription["state"] for subscription in get(stack, job_path(name))["status"]["subscriptions"]]


def runs(stack, name: str, query: str = "") -> list[dict]:
    return get(stack, job_path(name, f"/runs{query}"))["items"]


def until(true, seconds: float, what: str) -> None:
    assert local_stack.wait_until(true, seconds), f"not within {seconds} s: {what}"


def first_ended_run(stack, name: str) -> dict:
    def ended() -> bool:
        found = runs(stack, name)
        return bool(found) and found[-1]["status"] in ENDED

    until(ended, ONE_START, f"the first run of {name} has ended; its runs: {runs(stack, name)}")
    return runs(stack, name)[-1]


def log_lines(stack, name: str, run: dict, query: str = "") -> list[str]:
    return [line["message"] for line in get(stack, job_path(name, f"/runs/{run['id']}/logs{query}"))["items"]]


def instant(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def in_aws(stack, name: str) -> dict[str, list[str]]:
    """All that AWS holds with the job's name in it, by kind."""
    aws_name = f"{STACK}_{TEAM}_{name}"
    ecs, events, scheduler, iam, sns, logs = (
        stack.aws(service) for service in ("ecs", "events", "scheduler", "iam", "sns", "logs"))

    def named(names) -> list[str]:
        return [found for found in names if re.search(rf"{aws_name}($|[_:])", found)]

    return {
        "clusters": named(ecs.list_clusters()["clusterArns"]),
        "task definitions": named(ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]),
        "rules": named(rule["Name"] for rule in events.list_rules()["Rules"]),
        "schedules": named(
            f"{schedule['GroupName']}/{schedule['Name']}"
            for page in scheduler.get_paginator("list_schedules").paginate() for schedule in page["Schedules"]),
        "roles": named(role["RoleName"] for role in iam.list_roles(PathPrefix="/cronplane/")["Roles"]),
        "topics": named(topic["TopicArn"] for topic in sns.list_topics()["Topics"]),
        "subscriptions": named(found["TopicArn"] for found in sns.list_subscriptions()["Subscriptions"]),
        "log groups": [
            group["logGroupName"] for group in
            logs.describe_log_groups(logGroupNamePrefix=f"/cronplane/{STACK}/{TEAM}/{name}")["logGroups"]
            if group["logGroupName"].endswith(f"/{name}")],
    }


def schedule_of(stack, name: str, team: str = TEAM) -> dict:
    """Of EventBridge Scheduler."""
    return stack.aws("scheduler").get_schedule(
        GroupName=stack.output("ScheduleGroupName"), Name=f"{STACK}_{team}_{name}")


def enabled_rules(stack) -> list[str]:
    return [rule["Name"] for rule in stack.aws("events").list_rules()["Rules"] if rule["State"] == "ENABLED"]


def written_down(stack) -> dict[str, str]:
    """All that is in the table and in the logs of the functions, as text."""
    table = stack.aws("dynamodb").get_paginator("scan").paginate(TableName=stack.output("TableName"))
    logs = stack.aws("logs")
    groups = [found["PhysicalResourceId"] for found in stack.aws("cloudformation").describe_stack_resources(
        StackName=stack.name)["StackResources"] if found["ResourceType"] == "AWS::Logs::LogGroup"]
    lines = [event["message"] for group in groups
             for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
             for event in page["events"]]
    return {
        "table": json.dumps([page["Items"] for page in table], default=str),
        "functions' logs": "\n".join(lines),
        "local cloud's log": stack.log.read_text(errors="replace"),
    }


def raw(stack, method: str, path: str, body=None, headers: dict | None = None) -> tuple[int, dict, bytes]:
    """A request to the API; gives the status, the headers and the very bytes of the answer."""
    request = urllib.request.Request(
        stack.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {stack.token()}",
                 **({} if body is None else {"Content-Type": "application/json"}), **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def post(stack, definition: dict, team: str = TEAM) -> dict:
    """A job that is not there yet, once it is ready."""
    status, _, answer = stack.call("POST", jobs(team=team), definition)
    assert status == 201, answer
    path = job_path(definition["name"], team=team)
    until(lambda: get(stack, path)["status"]["phase"] == "ready", 60, f"{path} is ready")
    return answer


def patch(stack, name: str, change: dict, headers: dict | None = None) -> dict:
    status, _, job = stack.call("PATCH", job_path(name), change, headers={**MERGE, **(headers or {})})
    assert status == 200, job
    until(lambda: phase(stack, name) == "ready", 60, f"the change of {name} is ready")
    return job


def dry(stack, method: str, path: str, body=None, headers: dict | None = None) -> dict:
    """What would come of a request."""
    status, _, foreseen = stack.call(method, f"{path}{'&' if '?' in path else '?'}dry_run=true", body, headers=headers)
    assert status == 200, foreseen
    return foreseen


def operations(foreseen: dict) -> list[str]:
    assert all(call["resource"] for call in foreseen["aws_calls"])
    return [call["operation"] for call in foreseen["aws_calls"]]


def run_now(stack, name: str, overrides: dict | None = None, team: str = TEAM) -> dict:
    status, headers, run = stack.call("POST", job_path(name, "/runs", team), overrides)
    assert status == 201, run
    assert headers["Location"] == job_path(name, f"/runs/{run['id']}", team)
    return run


def ended(stack, run: dict, seconds: float = 60) -> dict:
    """A run once it has ended."""
    path = job_path(run["job"], f"/runs/{run['id']}", run["team"])
    until(lambda: get(stack, path)["status"] in ENDED, seconds, f"{path} has ended")
    return get(stack, path)


def at_once(*works) -> list:
    """What each of them gives, all done at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(works)) as executor:
        return [future.result() for future in [executor.submit(work) for work in works]]


def problem(answer, status: int, code: str | None = None) -> dict:
    got, headers, body = answer
    assert got == status, body
    assert headers["Content-Type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(body), body
    assert body["status"] == status
    assert code in (None, body["code"]), body
    return body
