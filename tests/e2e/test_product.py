"""Cronplane from end to end: the real template.yaml and the release binary in a local cloud, whose tasks
are real containers, spoken to over HTTP only.

Jobs start on the minute, so all are posted first and each test then waits for its own.
"""

import concurrent.futures
import datetime
import json
import shutil
import time
import types

import demo
import local_stack
import pytest
from conftest import ROOT, STACK
from product import (
    EVERY_MINUTE, ONE_START, TEAM, enabled_rules, example, first_ended_run, get, in_aws, instant, job_path, jobs,
    log_lines, phase, problem, runs, subscription_states, until,
)

# Name: what the job does, and what becomes of it.
JOBS = {
    "clean": {
        "description": "succeeds, with two lines in its log",
        "command": ["sh", "-c", 'echo "for $SCHEDULED_TIME"; echo "in $PLACE"'],
        "environment": {"PLACE": "the container"},
        "schedule": EVERY_MINUTE,
        "tags": {"cost-centre": "42"},
    },
    "failing": {
        "description": "ends with 7 and says why",
        "command": ["sh", "-c", 'echo "it is \\"broken\\""; exit 7'],
        "schedule": "rate(1 minute)",
    },
    "unpullable": {
        "description": "has an image that no registry has",
        "image": "127.0.0.1:9/nothing:1",
        "schedule": EVERY_MINUTE,
    },
    "long": {
        "description": "is still running when it is deleted",
        "command": ["sh", "-c", 'trap "exit 143" TERM; echo started; sleep 600 & wait'],
        "schedule": EVERY_MINUTE,
    },
    "resting": {"description": "is paused before its first start", "schedule": EVERY_MINUTE},
    "quiet": {"description": "never starts while we look", "schedule": "rate(1 day)"},
    "changing": {
        "description": "is changed before its first start",
        "command": ["sh", "-c", "echo before"],
        "schedule": "rate(1 day)",
        "tags": {"stage": "one", "owner": "us"},
    },
}


@pytest.fixture(scope="session")
def posted(stack, inbox):
    """Every job of JOBS, posted and ready, with its subscriber confirmed."""
    answers = {}
    for name, job in JOBS.items():
        definition = {
            "name": name, "image": "busybox:1", **job,
            "notifications": {"subscribers": [{"protocol": "https", "endpoint": inbox.url(f"/{name}")}]}}
        status, headers, answer = stack.call("POST", jobs(), definition)
        assert status == 201, answer
        answers[name] = types.SimpleNamespace(definition=definition, headers=headers, answer=answer)
        if name == "resting":
            assert stack.call("POST", job_path(name, "/pause"))[0] == 200
            answers[name].paused_at = time.monotonic()
    for name in JOBS:
        until(lambda: phase(stack, name) == "ready", 60, f"{name} is ready")
        until(lambda: subscription_states(stack, name) == ["confirmed"], 30, f"{name}'s subscriber is confirmed")
    return answers


# What the examples name that a new team may not, by README.md.
GUARDRAILS = ("clusters", "secrets", "task_roles", "file_systems")
WANTED = {"detect-terraform-drift": {"clusters"}, "arm-report": {"secrets"}, "efs-archive": {"task_roles", "file_systems"}}


@pytest.fixture(scope="session")
def demonstration(stack, posted):
    """The demo of scripts/up, which takes two minutes, while the other tests go on."""
    if shutil.which("terraform") is None:
        pytest.skip("the drift example's image is made from this machine's own terraform, which is not there")
    with concurrent.futures.ThreadPoolExecutor() as executor:
        yield executor.submit(demo.run, stack)


@pytest.fixture(scope="session", autouse=True)
def start_early(request):
    """Has the demo started before the first test, not when its own test comes to it."""
    if shutil.which("terraform") is not None and any(
            "demonstration" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("demonstration")


# ---- a job


def test_health_and_document_need_no_token(stack):
    assert stack.call("GET", "/healthz", token="")[0] == 200
    status, _, document = stack.call("GET", "/openapi.json", token="")
    assert status == 200
    assert document["openapi"].startswith("3.")
    assert document["servers"][0]["url"].rstrip("/") + "/teams/{team}/jobs" in (
        "/v1/teams/{team}/jobs", f"{stack.url}/v1/teams/{{team}}/jobs")
    assert "/teams/{team}/jobs" in document["paths"]


def test_a_posted_job_is_made_in_aws(stack, posted):
    clean = posted["clean"]
    assert clean.headers["Location"].endswith(job_path("clean"))
    job = get(stack, job_path("clean"))
    for field in ("name", "description", "command", "environment", "schedule", "tags"):
        assert job[field] == clean.definition[field]
    assert job["team"] == TEAM and job["enabled"] is True
    assert job["status"]["observed_generation"] == job["generation"]
    assert {resource["kind"]: resource["state"] for resource in job["status"]["resources"]} == dict.fromkeys(
        ["cluster", "log_group", "execution_role", "events_role", "topic", "task_definition", "schedule_rule",
         "failure_rule"], "ready")
    assert job["status"]["topic_arn"] in in_aws(stack, "clean")["topics"]

    starts = [instant(start) for start in job["status"]["next_starts"]]
    assert len(starts) == 5
    assert all(later - earlier == datetime.timedelta(minutes=1) for earlier, later in zip(starts, starts[1:]))


def test_the_schedule_targets_the_task_with_a_dead_letter_queue(stack, posted):
    events = stack.aws("events")
    (target,) = events.list_targets_by_rule(Rule=f"{STACK}_{TEAM}_clean")["Targets"]
    assert ":task-definition/" in target["EcsParameters"]["TaskDefinitionArn"]
    assert target["EcsParameters"]["PropagateTags"] == "TASK_DEFINITION"
    assert target["DeadLetterConfig"]["Arn"].rsplit(":", 1)[1] == (
        stack.output("ScheduleDeadLetterQueueUrl").rsplit("/", 1)[1])
    assert 60 <= target["RetryPolicy"]["MaximumEventAgeInSeconds"] < 86400


def test_roles_carry_the_boundary_and_the_log_group_its_retention(stack, posted):
    iam, logs = stack.aws("iam"), stack.aws("logs")
    roles = in_aws(stack, "clean")["roles"]
    assert len(roles) == 2
    for role in roles:
        assert iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == (
            stack.output("RoleBoundaryArn"))
    (group,) = logs.describe_log_groups(logGroupNamePrefix=f"/cronplane/{STACK}/{TEAM}/clean")["logGroups"]
    assert group["retentionInDays"] == get(stack, job_path("clean"))["log_retention_days"]


def test_the_smallest_job_works(stack):
    status, _, job = stack.call("POST", jobs(), {"name": "hello", "image": "busybox:1", "schedule": "rate(1 day)"})
    assert status == 201, job
    until(lambda: phase(stack, "hello") == "ready", 60, "hello is ready")
    assert get(stack, job_path("hello"))["network"]["subnets"] == [stack.subnet()]


def test_jobs_are_listed_in_pages(stack, posted):
    found, cursor = [], ""
    while cursor is not None:
        page = get(stack, jobs(f"?limit=2{cursor and '&cursor=' + cursor}"))
        assert len(page["items"]) <= 2
        found += [job["name"] for job in page["items"]]
        cursor = page["next"]
    assert len(found) == len(set(found))
    assert set(JOBS) <= set(found) | {"long"}
    problem(stack.call("GET", jobs(team="another-team")), 404, "not_found")


# ---- runs


def test_a_scheduled_run_is_in_the_history(stack, posted):
    run = first_ended_run(stack, "clean")
    assert (run["status"], run["trigger"], run["exit_code"]) == ("succeeded", "schedule", 0), run
    scheduled = instant(run["scheduled_time"])
    assert (scheduled.second, scheduled.microsecond) == (0, 0)
    assert abs(instant(run["created_at"]) - scheduled) < datetime.timedelta(seconds=30)
    assert instant(run["created_at"]) <= instant(run["started_at"]) <= instant(run["stopped_at"])
    assert run["durations"]["total_seconds"] >= run["durations"]["run_seconds"] >= 0
    (container,) = run["containers"]
    assert (container["name"], container["exit_code"]) == ("main", 0)
    assert run["id"].endswith(run["task_arn"].rsplit("/", 1)[1])

    assert get(stack, job_path("clean", f"/runs/{run['id']}"))["task_arn"] == run["task_arn"]
    last = get(stack, job_path("clean"))["status"]["last_run"]
    assert last["id"] >= run["id"]


def test_logs_have_a_cursor_and_a_tail(stack, posted):
    run = first_ended_run(stack, "clean")
    until(lambda: len(log_lines(stack, "clean", run)) == 2, 15, "both lines are in the log")
    lines = log_lines(stack, "clean", run)
    assert instant(lines[0].removeprefix("for ")) == instant(run["scheduled_time"])
    assert lines[1] == "in the container"
    assert log_lines(stack, "clean", run, "?tail=1") == lines[1:]
    page = get(stack, job_path("clean", f"/runs/{run['id']}/logs?limit=1"))
    assert [line["message"] for line in page["items"]] == lines[:1]
    following = get(stack, job_path("clean", f"/runs/{run['id']}/logs?limit=1&cursor={page['next']}"))
    assert [line["message"] for line in following["items"]] == lines[1:]


def test_a_failing_run_is_told_to_its_subscriber(stack, posted, inbox):
    run = first_ended_run(stack, "failing")
    assert (run["status"], run["exit_code"], run["stop_code"]) == ("failed", 7, "EssentialContainerExited"), run
    assert run["trigger"] == "schedule"
    message = inbox.wait("/failing", lambda body: body["event"]["detail"].get("taskArn") == run["task_arn"], 30)
    assert (message["team"], message["job"], message["stack"]) == (TEAM, "failing", STACK)
    assert message["region"] == local_stack.REGION
    assert message["event"]["detail"]["containers"][0]["exitCode"] == 7

    # The message's link is the run.
    assert message["run"].startswith(stack.url)
    assert [found["id"] for found in get(stack, message["run"].removeprefix(stack.url))["items"]] == [run["id"]]


def test_an_image_that_cannot_be_pulled_is_told_too(stack, posted, inbox):
    run = first_ended_run(stack, "unpullable")
    assert (run["status"], run["stop_code"], run["exit_code"]) == ("failed_to_start", "TaskFailedToStart", None), run
    assert run["stopped_reason"]
    inbox.wait("/unpullable", lambda body: body["event"]["detail"].get("taskArn") == run["task_arn"], 30)


def test_runs_are_filtered_and_paged(stack, posted):
    run = first_ended_run(stack, "failing")
    ids = [found["id"] for found in runs(stack, "failing")]
    assert ids == sorted(ids, reverse=True)
    assert run["id"] in [found["id"] for found in runs(stack, "failing", "?status=failed&trigger=schedule")]
    assert runs(stack, "failing", "?status=succeeded") == []
    assert runs(stack, "failing", "?trigger=manual") == []
    assert runs(stack, "failing", "?to=2020-01-01T00:00:00Z") == []
    assert get(stack, job_path("failing", "/runs?limit=1"))["items"][0]["id"] >= run["id"]


def test_a_success_is_told_to_nobody(stack, posted, inbox):
    first_ended_run(stack, "clean")
    inbox.wait("/failing", lambda body: True, 60)
    assert [envelope for path, envelope in inbox.messages if path == "/clean" and envelope["Type"] == "Notification"] == []


def test_a_notification_can_be_tested(stack, posted, inbox):
    status, _, answer = stack.call("POST", job_path("quiet", "/notifications/test"))
    assert status == 202, answer
    message = inbox.wait("/quiet", lambda body: body["event"]["id"] == answer["event_id"], 30)
    assert message["event"]["source"] == f"cronplane.{STACK}"
    assert (message["team"], message["job"]) == (TEAM, "quiet")
    # Nobody else's subscriber was told.
    assert not [path for path, envelope in inbox.messages if answer["event_id"] in envelope["Message"] and path != "/quiet"]


# ---- quotas


def test_what_is_used_of_the_quotas_is_told(stack, posted):
    report = get(stack, "/v1/quotas")
    quotas = {one["name"]: one for one in report["quotas"]}
    assert quotas.keys() == {"rules", "roles", "schedules", "clusters", "targets_per_rule"}
    assert [one["reason"] for one in report["quotas"]] == [None] * 5
    least = {"rules": 2 * len(JOBS), "clusters": len(JOBS)}
    for name, count in least.items():
        assert quotas[name]["used"] >= quotas[name]["used_by_jobs"] >= count, quotas[name]
    assert quotas["roles"]["used"] >= 2 * len(JOBS) and report["jobs"] >= len(JOBS)
    # Of everybody: the stack's own rules too.
    assert quotas["rules"]["used"] > quotas["rules"]["used_by_jobs"]
    left = {name: one["jobs_left"] for name, one in quotas.items() if one["jobs_left"] is not None}
    assert left.keys() == {"rules", "roles", "clusters"}
    assert report["jobs_left"] == left[report["limiting"]] == min(left.values()) > 0


# ---- pause, resume, delete


def test_a_paused_job_does_not_start_until_it_is_resumed(stack, posted):
    assert get(stack, job_path("resting"))["enabled"] is False
    assert f"{STACK}_{TEAM}_resting" not in enabled_rules(stack)
    time.sleep(max(0.0, posted["resting"].paused_at + 65 - time.monotonic()))
    assert runs(stack, "resting") == []

    status, _, job = stack.call("POST", job_path("resting", "/resume"))
    assert status == 200 and job["enabled"] is True
    assert f"{STACK}_{TEAM}_resting" in enabled_rules(stack)
    assert first_ended_run(stack, "resting")["status"] == "succeeded"


def test_a_pause_ends_by_itself_when_its_time_has_come(stack):
    path, rule = job_path("returning"), f"{STACK}_{TEAM}_returning"
    definition = {"name": "returning", "image": "busybox:1", "schedule": EVERY_MINUTE, "enabled": False}
    status, _, job = stack.call("POST", jobs(), definition)
    assert (status, job["status"]["pause"]["note"]) == (201, None), job
    until(lambda: phase(stack, "returning") == "ready", 60, "returning is ready")
    past = {"resume_at": "2020-01-01T00:00:00Z"}
    assert problem(stack.call("POST", path + "/pause", past), 422)["errors"][0]["pointer"] == "/resume_at"

    resume_at = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=5)
    said = {"note": "the database moves", "resume_at": resume_at.isoformat()}
    for _ in range(2):
        status, _, job = stack.call("POST", path + "/pause", said)
        pause = job["status"]["pause"]
        assert (status, job["enabled"], pause["note"]) == (200, False, said["note"]), job
        assert instant(pause["resume_at"]) == resume_at and pause["by"]["kind"] == "stack_token"
    assert rule not in enabled_rules(stack) and runs(stack, "returning") == []

    # The sweeper comes every minute.
    until(lambda: get(stack, path)["enabled"], 90, "returning is resumed")
    until(lambda: rule in enabled_rules(stack), 30, "the schedule of returning is on")
    job = get(stack, path)
    assert job["status"]["pause"] is None and len(job["status"]["next_starts"]) == 5
    resumed, paused, created = get(stack, path + "/audit")["items"]
    assert (resumed["principal"]["kind"], resumed["principal"]["id"]) == ("cronplane", "cronplane")
    assert instant(resumed["at"]) >= resume_at
    assert [one["operation"] for one in (resumed, paused, created)] == ["resume_job", "pause_job", "create_job"]
    assert first_ended_run(stack, "returning")["status"] == "succeeded"
    assert stack.call("DELETE", path + "?stop_tasks=true")[0] in (202, 204)


def test_a_change_reaches_aws_and_the_next_run(stack, posted, inbox):
    path, before = job_path("changing"), posted["changing"]
    events, ecs = stack.aws("events"), stack.aws("ecs")
    own_cluster = in_aws(stack, "changing")["clusters"]
    ecs.create_cluster(clusterName="e2e-shared")

    def target() -> dict:
        return events.list_targets_by_rule(Rule=f"{STACK}_{TEAM}_changing")["Targets"][0]

    first = target()["EcsParameters"]["TaskDefinitionArn"]
    tag = before.headers["ETag"]
    change = {
        "command": ["sh", "-c", 'echo "after: $WORD"'],
        "environment": {"WORD": "changed"},
        "cluster": "e2e-shared",
        "schedule": EVERY_MINUTE,
        "tags": {"stage": "two", "owner": None},
        "notifications": {"subscribers": []},
    }
    merge = {"Content-Type": "application/merge-patch+json", "If-Match": tag}
    status, headers, job = stack.call("PATCH", path, change, headers=merge)
    assert (status, job["generation"], job["tags"]) == (200, 2, {"stage": "two"}), job
    assert headers["ETag"] != tag
    status, _, problem = stack.call("PATCH", path, {"cpu": 512, "memory": 1024}, headers=merge)
    assert (status, problem["code"]) == (412, "precondition_failed")
    status, again, _ = stack.call("PUT", path, {
        **{key: value for key, value in job.items() if key in before.definition}, **change, "tags": {"stage": "two"}})
    assert (status, again["ETag"]) == (200, headers["ETag"])

    until(lambda: phase(stack, "changing") == "ready", 60, "the change is ready")
    assert target()["EcsParameters"]["TaskDefinitionArn"] != first
    assert target()["Arn"].endswith("cluster/e2e-shared")
    # A start from before the change can be on its way into it for half an hour.
    assert own_cluster and in_aws(stack, "changing")["clusters"] == own_cluster
    rule = events.describe_rule(Name=f"{STACK}_{TEAM}_changing")
    assert rule["ScheduleExpression"] == EVERY_MINUTE
    topic = get(stack, path)["status"]["topic_arn"]
    for tags in (
        events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"],
        stack.aws("sns").list_tags_for_resource(ResourceArn=topic)["Tags"],
    ):
        found = {tag["Key"]: tag["Value"] for tag in tags}
        assert found["stage"] == "two" and "owner" not in found and found["managed-by"] == "cronplane"
    assert in_aws(stack, "changing")["subscriptions"] == []

    run = first_ended_run(stack, "changing")
    assert (run["status"], run["trigger"], run["task_definition_revision"]) == ("succeeded", "schedule", 2)
    until(lambda: log_lines(stack, "changing", run) == ["after: changed"], 20, "the run has the new environment")


def test_a_put_makes_a_job_where_there_is_none(stack):
    path = job_path("put")
    definition = {"image": "busybox:1", "schedule": "rate(1 day)"}
    status, headers, job = stack.call("PUT", path, definition, headers={"If-None-Match": "*"})
    assert (status, job["name"], headers["Location"]) == (201, "put", path), job
    assert stack.call("PUT", path, definition, headers={"If-None-Match": "*"})[0] == 412
    assert stack.call("DELETE", path + "?delete_logs=true")[0] == 204
    assert not any(in_aws(stack, "put").values())
    assert stack.call("PUT", path, definition, headers={"If-Match": headers["ETag"]})[0] == 412


def test_deleting_stops_what_runs_and_leaves_nothing(stack, posted):
    until(lambda: any(run["status"] == "running" for run in runs(stack, "long")), ONE_START, "long is running")
    before = in_aws(stack, "long")
    assert [kind for kind, names in before.items() if not names] == ["schedules"], before
    neighbour = in_aws(stack, "quiet")

    # While its task runs, a job that is deleted waits for it; it starts nothing more.
    status, _, job = stack.call("DELETE", job_path("long"))
    assert status == 202 and job["status"]["phase"] == "deleting", job
    started = len(runs(stack, "long"))
    assert f"{STACK}_{TEAM}_long" not in enabled_rules(stack)
    assert stack.call("POST", job_path("long", "/pause"))[0] == 409

    status, _, _ = stack.call("DELETE", job_path("long", "?stop_tasks=true&delete_logs=true"))
    assert status in (202, 204)
    until(lambda: stack.call("GET", job_path("long"))[0] == 404, 180, "long is gone")
    assert in_aws(stack, "long") == dict.fromkeys(before, [])
    assert len(runs(stack, "long")) == started, "the history outlives the job, and nothing was started meanwhile"
    assert runs(stack, "long")[-1]["status"] == "stopped"
    assert in_aws(stack, "quiet") == neighbour
    assert stack.call("DELETE", job_path("long"))[0] == 404

    # A job made again under the name is another job.
    status, _, again = stack.call("POST", jobs(), {"name": "long", "image": "busybox:1", "schedule": "rate(1 day)"})
    assert status == 201 and again["id"] != posted["long"].answer["id"]
    stack.call("DELETE", job_path("long"))
    until(lambda: stack.call("GET", job_path("long"))[0] == 404, 60, "the second long is gone")
    left = in_aws(stack, "long")
    assert left.pop("log groups") == [f"/cronplane/{STACK}/{TEAM}/long"], "the log group stays by default"
    assert not any(left.values()), left


# ---- the way of task events


def test_a_poison_message_ends_in_the_dead_letter_queue_and_its_neighbours_do_not(stack, posted):
    sqs = stack.aws("sqs")
    queue, dead = stack.output("TaskEventQueueUrl"), stack.output("TaskEventDeadLetterQueueUrl")
    family = f"{STACK}_{TEAM}_quiet"
    task = "0" * 32
    arn = f"arn:aws:ecs:{local_stack.REGION}:000000000000"
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "version": "0", "id": "11111111-2222-3333-4444-555555555555", "detail-type": "ECS Task State Change",
        "source": "aws.ecs", "account": "000000000000", "time": now, "region": local_stack.REGION,
        "resources": [f"{arn}:task/{family}/{task}"],
        "detail": {
            "clusterArn": f"{arn}:cluster/{family}", "taskArn": f"{arn}:task/{family}/{task}",
            "taskDefinitionArn": f"{arn}:task-definition/{family}:1", "group": f"family:{family}",
            "containers": [{"containerArn": f"{arn}:container/1", "name": "main", "lastStatus": "STOPPED",
                            "exitCode": 3, "image": "busybox:1", "taskArn": f"{arn}:task/{family}/{task}"}],
            "cpu": "256", "memory": "512", "createdAt": now, "startedAt": now, "stoppedAt": now,
            "lastStatus": "STOPPED", "desiredStatus": "STOPPED", "launchType": "FARGATE",
            "overrides": {"containerOverrides": [{"name": "main"}]}, "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited", "version": 5, "updatedAt": now},
    }
    # Five receipts, each after the time that the queue hides a message: shortened, or it takes 15 minutes.
    visibility = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "2"})
    try:
        sqs.send_message_batch(QueueUrl=queue, Entries=[
            {"Id": "poison", "MessageBody": "this is no event"},
            {"Id": "neighbour", "MessageBody": json.dumps(event)}])
        until(lambda: [run["exit_code"] for run in runs(stack, "quiet")] == [3], 30, "the neighbour was applied")
        received = []

        def dead_letters() -> list:
            received.extend(sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get("Messages", []))
            return received

        until(dead_letters, 90, "the poison message is in the dead-letter queue")
        assert [message["Body"] for message in received] == ["this is no event"]
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=visibility)


# ---- what is refused


SMALLEST = {"name": "refused", "image": "busybox:1", "schedule": "rate(1 day)"}


@pytest.mark.parametrize("token", ["", "wrong", "a" * 64])
def test_every_v1_path_wants_the_token(stack, token):
    for method, path in (("GET", jobs()), ("POST", jobs()), ("GET", job_path("x")), ("PUT", job_path("x")),
                         ("PATCH", job_path("x")), ("DELETE", job_path("x")), ("POST", job_path("x", "/pause")),
                         ("POST", job_path("x", "/notifications/test")), ("GET", job_path("x", "/runs")),
                         ("POST", job_path("x", "/runs")), ("GET", job_path("x", "/runs/y/logs")),
                         ("POST", job_path("x", "/runs/y/stop")), ("GET", "/v1/teams"), ("GET", "/v1/me"),
                         ("PUT", f"/v1/teams/{TEAM}"), ("GET", f"/v1/teams/{TEAM}/tokens"),
                         ("GET", f"/v1/teams/{TEAM}/audit")):
        problem(stack.call(method, path, token=token), 401)


def test_all_violations_come_at_once_with_their_pointers(stack):
    body = problem(stack.call("POST", jobs(), {
        **SMALLEST, "name": "Not A Name", "schedule": "rate(1 minutes)", "cpu": 333, "colour": "red",
        "notifications": {"subscribers": [{"protocol": "http", "endpoint": "http://example.com"}]}}), 422)
    pointers = {error["pointer"] for error in body["errors"]}
    assert {"/name", "/schedule", "/colour"} <= pointers, body
    assert any(pointer.startswith("/notifications/subscribers/0") for pointer in pointers), body
    assert any(pointer in ("/cpu", "/memory") for pointer in pointers), body
    assert all(error["detail"] and error["code"] for error in body["errors"])


@pytest.mark.parametrize(("method", "path", "body", "status"), [
    ("GET", "/v1/nowhere", None, 404),
    ("GET", "/nowhere", None, 404),
    ("GET", job_path("missing"), None, 404),
    ("POST", job_path("missing", "/pause"), None, 404),
    ("GET", job_path("missing", "/runs"), None, 404),
    ("PATCH", jobs(), {}, 405),
    ("GET", jobs("?cursor=nonsense"), None, 400),
    ("GET", jobs("?limit=0"), None, 400),
    ("POST", jobs(), b"{", 400),
    ("POST", jobs(), {**SMALLEST, "description": "x" * 262144}, 413),
])
def test_a_request_that_cannot_be_answered_gets_a_clear_4xx(stack, method, path, body, status):
    problem(stack.call(method, path, body), status)


def test_a_name_is_taken_once(stack, posted):
    problem(stack.call("POST", jobs(), posted["quiet"].definition), 409)


@pytest.mark.parametrize("file", sorted(file.name for file in (ROOT / "examples").glob("*.json")))
def test_the_examples_are_accepted(stack, file):
    """By the team of the examples, and only with what README.md says that they need."""
    job = example(file)
    if "cluster" in job:
        stack.aws("ecs").create_cluster(clusterName=job["cluster"])
    wanted = WANTED.get(file.removesuffix(".json"), set())
    status, _, answer = stack.call("POST", jobs("?dry_run=true", "lists"), job)
    named = {guardrail for error in answer.get("errors", []) for guardrail in GUARDRAILS if f"`{guardrail}`" in error["detail"]}
    assert (status, named) == (422 if wanted else 200, wanted), answer
    status, _, answer = stack.call("POST", jobs(team="examples"), job)
    assert status == 201, answer
    path = job_path(job["name"], team="examples")
    until(lambda: get(stack, path)["status"]["phase"] == "ready", 60, "it is ready")


@pytest.mark.last
def test_the_demo_finds_drift_in_its_second_run(demonstration):
    demonstration.result(timeout=300)


@pytest.mark.last(2)
def test_nothing_was_undeliverable(stack, posted):
    """Looks back on all the others: no start and no notice was lost on the way."""
    attributes = stack.aws("sqs").get_queue_attributes(
        QueueUrl=stack.output("ScheduleDeadLetterQueueUrl"), AttributeNames=["ApproximateNumberOfMessages"])
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"
