"""What a job's task can be, and what is done with runs and jobs besides waiting for the schedule: in the stack of
test_product.py, with real containers, over HTTP only.

Nothing here but the fallback from Spot waits for the minute: the jobs start once a day, and are run now. What takes its time is begun
together (`begun`), and each test then waits for its own.
"""

import collections
import dataclasses
import datetime
import hashlib
import io
import json
import sys
import time
import types
import typing
import uuid
import zipfile

import pytest
from conftest import ACCOUNT, REGION, ROOT, STACK
from product import (
    ENDED, EVERY_MINUTE, MERGE, ONE_START, TEAM, arn, at_once, dry, ended, get, in_aws, instant, job_path, jobs,
    log_lines, operations, patch, phase, post, problem, raw, run_now, runs, schedule_of, until,
)

DAILY = "rate(1 day)"


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def revisions(stack, name: str) -> list[str]:
    family = f"{STACK}_{TEAM}_{name}"
    return [
        found for status in ("ACTIVE", "INACTIVE")
        for found in stack.aws("ecs").list_task_definitions(familyPrefix=family, status=status)["taskDefinitionArns"]]


def target(stack, name: str) -> dict:
    (found,) = stack.aws("events").list_targets_by_rule(Rule=f"{STACK}_{TEAM}_{name}")["Targets"]
    return found


def tasks(stack, name: str) -> list[dict]:
    """All that ECS knows of, those that have stopped among them."""
    ecs, family = stack.aws("ecs"), f"{STACK}_{TEAM}_{name}"
    arns = [
        found for status in ("RUNNING", "STOPPED")
        for found in ecs.list_tasks(cluster=family, family=family, desiredStatus=status)["taskArns"]]
    return ecs.describe_tasks(cluster=family, tasks=arns)["tasks"] if arns else []


# ---- each field reaches AWS


@dataclasses.dataclass(frozen=True)
class Field:
    """What the fullest job says in a field and what AWS then tells, and the same after a patch."""

    first: typing.Any
    then: typing.Any
    told: typing.Callable[[types.SimpleNamespace], typing.Any]
    told_first: typing.Any
    told_then: typing.Any
    # Whether the change is one of the task itself: only then there is a new revision.
    revision: bool = True


def of_main(field: str):
    return lambda aws: aws.main.get(field)


def of_task(field: str):
    return lambda aws: aws.task.get(field)


def of_start(field: str):
    return lambda aws: aws.start.get(field, False)


def of_schedule(field: str):
    return lambda aws: aws.schedule.get(field)


def variables(field: str, value: str):
    return lambda aws: {one["name"]: one[value] for one in aws.main.get(field, [])}


def launched(aws) -> tuple:
    return aws.start.get("LaunchType"), aws.start.get("CapacityProviderStrategy")


EXTRA = {
    "cpu": 512,
    "memory": 2048,
    "memoryReservation": 1024,
    "portMappings": [{"containerPort": 8080, "protocol": "udp"}],
    "repositoryCredentials": {"credentialsParameter": arn("secretsmanager", "secret:app/registry-AbC123")},
    "linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"], "drop": ["NET_RAW"]}, "initProcessEnabled": True},
    "dependsOn": [{"containerName": "proxy", "condition": "HEALTHY"}],
    "startTimeout": 30,
    "user": "1000:1000",
    "readonlyRootFilesystem": False,
    "interactive": True,
    "pseudoTerminal": True,
    "dockerLabels": {"team": "platform"},
    "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
    "systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}],
    "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "non-blocking", "max-buffer-size": "1m"}},
}
SIDECAR = {
    "name": "proxy",
    "image": "envoyproxy/envoy:v1.33.0",
    "command": ["--quiet"],
    "entryPoint": ["/envoy"],
    "workingDirectory": "/etc/envoy",
    "environment": [{"name": "LEVEL", "value": "info"}],
    "secrets": [{"name": "KEY", "valueFrom": arn("ssm", "parameter/app/key")}],
    "healthCheck": {"command": ["CMD", "/healthy"], "interval": 5, "timeout": 2, "retries": 4, "startPeriod": 1},
    "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared", "readOnly": False}],
    "restartPolicy": {"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
    "stopTimeout": 5,
    "cpu": 256,
    "memoryReservation": 128,
}
OTHER_SIDECAR = {"name": "proxy", "image": "busybox:1", "healthCheck": {"command": ["CMD-SHELL", "true"]}}
# As ECS tells it, with what it fills in.
OTHER_SIDECAR_TOLD = {
    "name": "proxy", "image": "busybox:1",
    "healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3}}
EFS = {"file_system_id": "fs-0123456789abcdef0", "access_point_id": "fsap-0123456789abcdef0",
       "iam_authorization": True}
PASSWORD, TOKEN = arn("secretsmanager", "secret:app/db-AbC123") + ":password::", arn("ssm", "parameter/app/token")

FIELDS = {
    "image": Field(
        "busybox:1", {"repository": "tools/report", "tag": "1.2.3"}, of_main("image"),
        "busybox:1", f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/tools/report:1.2.3"),
    "command": Field(["report", "--all"], None, of_main("command"), ["report", "--all"], None),
    "entry_point": Field(["/bin/sh", "-c"], ["/bin/ash"], of_main("entryPoint"), ["/bin/sh", "-c"], ["/bin/ash"]),
    "working_directory": Field("/srv", None, of_main("workingDirectory"), "/srv", None),
    "environment": Field(
        {"MODE": "full", "GONE": ""}, {"MODE": "half", "GONE": None}, variables("environment", "value"),
        {"MODE": "full", "GONE": ""}, {"MODE": "half"}),
    "secrets": Field(
        {"DB_PASSWORD": PASSWORD}, {"DB_PASSWORD": None, "TOKEN": TOKEN}, variables("secrets", "valueFrom"),
        {"DB_PASSWORD": PASSWORD}, {"TOKEN": TOKEN}),
    "cpu": Field(1024, 2048, of_task("cpu"), "1024", "2048"),
    "memory": Field(4096, 8192, of_task("memory"), "4096", "8192"),
    "architecture": Field(
        "arm64", "x86_64", of_task("runtimePlatform"),
        {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}),
    "ephemeral_storage_gib": Field(100, None, of_task("ephemeralStorage"), {"sizeInGiB": 100}, None),
    "volumes": Field(
        [{"name": "shared"}, {"name": "reports", "mount_path": "/mnt/reports", "read_only": True, "efs": EFS}],
        [{"name": "shared", "mount_path": "/mnt/shared"}],
        lambda aws: (aws.task["volumes"], aws.main["mountPoints"]),
        ([{"name": "shared"},
          {"name": "reports", "efsVolumeConfiguration": {
              "fileSystemId": EFS["file_system_id"], "transitEncryption": "ENABLED",
              "authorizationConfig": {"accessPointId": EFS["access_point_id"], "iam": "ENABLED"}}}],
         [{"sourceVolume": "reports", "containerPath": "/mnt/reports", "readOnly": True}]),
        ([{"name": "shared"}], [{"sourceVolume": "shared", "containerPath": "/mnt/shared", "readOnly": False}])),
    "stop_timeout_seconds": Field(90, None, of_main("stopTimeout"), 90, None),
    "health_check": Field(
        {"command": ["CMD-SHELL", "test -f /tmp/ready"], "interval_seconds": 10, "timeout_seconds": 3, "retries": 4,
         "start_period_seconds": 20},
        {"interval_seconds": None, "start_period_seconds": None},
        of_main("healthCheck"),
        {"command": ["CMD-SHELL", "test -f /tmp/ready"], "interval": 10, "timeout": 3, "retries": 4,
         "startPeriod": 20},
        {"command": ["CMD-SHELL", "test -f /tmp/ready"], "interval": 30, "timeout": 3, "retries": 4}),
    "sidecars": Field(
        [SIDECAR], [OTHER_SIDECAR], lambda aws: aws.sidecars, [SIDECAR], [OTHER_SIDECAR_TOLD]),
    "extra_container_definition": Field(
        EXTRA, {"user": None, "cpu": 256, "linuxParameters": {"initProcessEnabled": False}},
        lambda aws: {key: value for key, value in aws.main.items() if key in EXTRA},
        EXTRA,
        {**{key: value for key, value in EXTRA.items() if key != "user"}, "cpu": 256,
         "linuxParameters": {**EXTRA["linuxParameters"], "initProcessEnabled": False}}),
    "task_role": Field(
        arn("iam", "role/jobs/report"), arn("iam", "role/jobs/other"), of_task("taskRoleArn"),
        arn("iam", "role/jobs/report"), arn("iam", "role/jobs/other")),
    "execution_role": Field(
        arn("iam", "role/jobs/start"), None, of_task("executionRoleArn"),
        arn("iam", "role/jobs/start"),
        arn("iam", f"role/cronplane/{STACK}_{TEAM}_fullest_{REGION}_execution")),
    "tags": Field(
        {"owner": "us", "stage": ""}, {"owner": "them", "stage": None},
        lambda aws: {key: value for key, value in aws.tags.items() if key in ("owner", "stage")},
        {"owner": "us", "stage": ""}, {"owner": "them"}),
}
# These are of the start, which is the rule's or the schedule's, and RunTask's.
START_FIELDS = {
    "network": Field(
        {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"], "assign_public_ip": False},
        {"assign_public_ip": True},
        lambda aws: aws.start["NetworkConfiguration"]["awsvpcConfiguration"],
        {"Subnets": ["subnet-0a1b2c3d"], "SecurityGroups": ["sg-0a1b2c3d"], "AssignPublicIp": "DISABLED"},
        {"Subnets": ["subnet-0a1b2c3d"], "SecurityGroups": ["sg-0a1b2c3d"], "AssignPublicIp": "ENABLED"}, False),
    "capacity": Field(
        "spot", "on_demand", launched,
        (None, [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]), ("FARGATE", None), False),
    "platform_version": Field("1.4.0", "LATEST", of_start("PlatformVersion"), "1.4.0", "LATEST", False),
    "enable_execute_command": Field(True, False, of_start("EnableExecuteCommand"), True, False, False),
    "enable_ecs_managed_tags": Field(True, False, of_start("EnableECSManagedTags"), True, False, False),
    "cluster": Field(
        "e2e-spot", None, lambda aws: aws.cluster.replace(aws.name, "its own"),
        arn("ecs", "cluster/e2e-spot"), arn("ecs", f"cluster/{STACK}_{TEAM}_its own"), False),
}
# These are of the schedule, and EventBridge Scheduler's alone but for the last.
MINUTE = int.from_bytes(hashlib.sha256(f"{TEAM}/timed".encode()).digest()[:4]) % 60
TIMING_FIELDS = {
    "timezone": Field(
        "Europe/Berlin", None, of_schedule("ScheduleExpressionTimezone"), "Europe/Berlin", "UTC", False),
    "start_date": Field(
        "2080-01-01T00:00:00Z", "2080-02-01T04:30:01Z", of_schedule("StartDate"),
        datetime.datetime(2080, 1, 1, tzinfo=datetime.timezone.utc),
        datetime.datetime(2080, 2, 1, 4, 30, 1, tzinfo=datetime.timezone.utc), False),
    "end_date": Field(
        "2090-01-01T00:00:00Z", None, of_schedule("EndDate"),
        datetime.datetime(2090, 1, 1, tzinfo=datetime.timezone.utc), None, False),
    "flexible_window_minutes": Field(
        15, None, of_schedule("FlexibleTimeWindow"), {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        {"Mode": "OFF"}, False),
    "spread": Field(
        True, False, of_schedule("ScheduleExpression"), f"cron({MINUTE} 4 * * ? *)", "cron(0 4 * * ? *)", False),
}
# What is not of the task, and a change of it.
OTHER_FIELDS = {
    "description": "Another one",
    "schedule": "rate(2 days)",
    "enabled": False,
    "log_retention_days": 7,
    "notifications": {"subscribers": [{"protocol": "email", "endpoint": "ops@example.com"}]},
}


def looked_at(stack, name: str) -> types.SimpleNamespace:
    """What AWS has of a job's task: the revision that the schedule starts, and how. A rule and a schedule say the
    latter in the same words."""
    on_scheduler = bool(in_aws(stack, name)["schedules"])
    schedule = schedule_of(stack, name) if on_scheduler else None
    started = schedule["Target"] if on_scheduler else target(stack, name)
    revision = started["EcsParameters"]["TaskDefinitionArn"]
    answer = stack.aws("ecs").describe_task_definition(taskDefinition=revision, include=["TAGS"])
    main, *sidecars = answer["taskDefinition"]["containerDefinitions"]
    return types.SimpleNamespace(
        name=name, task=answer["taskDefinition"], main=main, sidecars=sidecars,
        tags={tag["key"]: tag["value"] for tag in answer["tags"]},
        start=started["EcsParameters"], cluster=started["Arn"], schedule=schedule)


def holds(found, wanted) -> bool:
    """Whether all that is wanted is there; ECS, and an answer, fill in more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and holds(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return found == wanted


def posted(stack, name: str, schedule: str, fields: dict[str, Field], **more) -> types.SimpleNamespace:
    stack.aws("ecs").create_cluster(clusterName="e2e-spot", capacityProviders=["FARGATE", "FARGATE_SPOT"])
    definition = {"name": name, "image": "busybox:1", "schedule": schedule,
                  **{name: field.first for name, field in fields.items()}, **more}
    return types.SimpleNamespace(answer=post(stack, definition), aws=looked_at(stack, name))


@pytest.fixture(scope="module")
def fullest(stack):
    """A job that says all that can be said of its task. It is never run."""
    return posted(stack, "fullest", DAILY, FIELDS | START_FIELDS)


@pytest.fixture(scope="module")
def timed(stack):
    """A job that says all that can be said of its schedule, and is started as the other is: by EventBridge Scheduler.
    That somebody may look into its tasks takes a task role."""
    return posted(
        stack, "timed", "cron(0 4 * * ? *)", TIMING_FIELDS | START_FIELDS, task_role=FIELDS["task_role"].first)


def test_the_table_of_fields_is_whole():
    document = json.loads((ROOT / "openapi/openapi.json").read_text())
    assert FIELDS.keys() | START_FIELDS.keys() | TIMING_FIELDS.keys() | OTHER_FIELDS.keys() | {"name"} == (
        document["components"]["schemas"]["JobRequest"]["properties"].keys())


def check_field(stack, made: types.SimpleNamespace, name: str, field: Field) -> None:
    told, job = field.told(made.aws), made.aws.name
    assert holds(told, field.told_first), told
    if isinstance(field.told_first, dict):
        assert told.keys() == field.told_first.keys()
    given = field.first
    if name == "extra_container_definition":  # the driver can be no other, and is not said again
        given = {**given, "logConfiguration": {"options": EXTRA["logConfiguration"]["options"]}}
    assert holds(made.answer[name], given), made.answer[name]

    before = revisions(stack, job)
    changed = patch(stack, job, {name: field.then})
    aws = looked_at(stack, job)
    told = field.told(aws)
    assert holds(told, field.told_then), told
    if isinstance(field.told_then, dict):
        assert told.keys() == field.told_then.keys()
    after = revisions(stack, job)
    assert len(after) - len(before) == field.revision
    assert (aws.task["taskDefinitionArn"] in before) != field.revision

    # The same again changes nothing.
    assert patch(stack, job, {name: field.then})["generation"] == changed["generation"]
    assert revisions(stack, job) == after


@pytest.mark.parametrize("name", FIELDS | START_FIELDS)
def test_a_field_reaches_aws_and_so_does_its_change(stack, fullest, name):
    check_field(stack, fullest, name, (FIELDS | START_FIELDS)[name])


@pytest.mark.parametrize("name", TIMING_FIELDS | START_FIELDS)
def test_a_field_reaches_scheduler_and_so_does_its_change(stack, timed, name):
    check_field(stack, timed, name, (TIMING_FIELDS | START_FIELDS)[name])


def test_what_is_not_of_the_task_makes_no_revision(stack, fullest):
    before = revisions(stack, "fullest")
    job = patch(stack, "fullest", OTHER_FIELDS)
    for name, value in OTHER_FIELDS.items():
        assert job[name] == value
    assert revisions(stack, "fullest") == before


def test_a_put_replaces_the_task_and_leaves_nothing_of_the_old_one(stack):
    path = job_path("replaced")
    definition = {
        "name": "replaced", "image": "busybox:1", "schedule": DAILY, "working_directory": "/srv",
        "volumes": [{"name": "space", "mount_path": "/space"}], "sidecars": [OTHER_SIDECAR]}
    first = post(stack, definition)
    _, headers, _ = stack.call("GET", path)
    least = {"image": "busybox:1", "schedule": DAILY}
    for condition in ({"If-Match": '"another"'}, {"If-Match": f"W/{headers['ETag']}"}, {"If-None-Match": "*"}):
        problem(stack.call("PUT", path, least, headers=condition), 412, "precondition_failed")
    status, after, job = stack.call("PUT", path, least, headers={"If-Match": headers["ETag"]})
    assert (status, job["id"], job["generation"]) == (200, first["id"], 2), job
    assert (job["working_directory"], job["volumes"], job["sidecars"]) == (None, [], [])
    assert after["ETag"] != headers["ETag"]
    until(lambda: phase(stack, "replaced") == "ready", 60, "the replacement is ready")
    aws = looked_at(stack, "replaced")
    assert (aws.task["revision"], aws.sidecars, aws.task["volumes"]) == (2, [], [])
    assert (aws.main.get("workingDirectory"), aws.main["mountPoints"]) == (None, [])
    status, again, _ = stack.call("PUT", path, least, headers={"If-Match": "*"})
    assert (status, again["ETag"]) == (200, after["ETag"])
    assert len(revisions(stack, "replaced")) == 2


# ---- runs in containers


@pytest.fixture(scope="module")
def things(stack):
    """What jobs refer to: a secret, a parameter, a file system with an access point."""
    efs = stack.aws("efs")
    file_system = efs.create_file_system(CreationToken="e2e")["FileSystemId"]
    access_point = efs.create_access_point(
        ClientToken="e2e", FileSystemId=file_system, RootDirectory={
            "Path": "/reports", "CreationInfo": {"OwnerUid": 0, "OwnerGid": 0, "Permissions": "0755"}})
    stack.aws("ssm").put_parameter(Name="/e2e/token", Value="a token", Type="SecureString")
    return types.SimpleNamespace(
        secret=stack.aws("secretsmanager").create_secret(
            Name="e2e/db", SecretString=json.dumps({"user": "app", "password": "a password"}))["ARN"],
        parameter=arn("ssm", "parameter/e2e/token"),
        file_system=file_system, access_point=access_point["AccessPointId"])


MISSING_SECRET = arn("secretsmanager", "secret:e2e/missing-AbCdEf")
TRAPPED = 'trap "exit 143" TERM; echo started; sleep 600 & wait'


def runnable(things) -> dict[str, dict]:
    """Jobs by their names, each run once when it is ready."""
    mounted = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    return {
        "whole": {
            "command": shell(
                'echo "$DB_PASSWORD"; echo "$TOKEN"; echo "$PLACE"; pwd; cat ready; date > /mnt/reports/last; '
                "echo more > ready || echo refused"),
            "environment": {"PLACE": "the container"},
            "secrets": {"DB_PASSWORD": f"{things.secret}:password::", "TOKEN": things.parameter},
            "working_directory": "/mnt/shared",
            "volumes": [
                {"name": "shared", "mount_path": "/mnt/shared", "read_only": True},
                {"name": "reports", "mount_path": "/mnt/reports", "efs": {
                    "file_system_id": things.file_system, "access_point_id": things.access_point}}],
            "extra_container_definition": {"dependsOn": [{"containerName": "proxy", "condition": "HEALTHY"}]},
            "sidecars": [{
                "name": "proxy", "image": "busybox:1", "mountPoints": mounted, "stopTimeout": 10,
                "command": shell('trap "exit 5" TERM; echo "written by the proxy" > /shared/ready; sleep 600 & wait'),
                "healthCheck": {"command": ["CMD-SHELL", "test -f /shared/ready"], "interval": 5}}],
        },
        "archive": {
            "command": shell("cat /mnt/files/reports/last && echo found"),
            "enabled": False,
            "volumes": [{"name": "files", "mount_path": "/mnt/files", "efs": {
                "file_system_id": things.file_system, "root_directory": "/"}}],
        },
        "no-secret": {"secrets": {"DB_PASSWORD": MISSING_SECRET}},
        "no-volume": {"volumes": [{"name": "files", "mount_path": "/files", "efs": {"file_system_id": "fs-01234567"}}]},
        "overridden": {
            "command": shell("echo the definition"),
            "environment": {"MODE": "usual", "KEPT": "kept"},
            "enabled": False,
        },
        "polite": {"command": shell(TRAPPED)},
        "stubborn": {"command": shell('trap "" TERM; echo started; while :; do sleep 1; done'),
                     "stop_timeout_seconds": 2},
        "on-spot": {"capacity": "spot", "enable_ecs_managed_tags": True},
        "going": {"command": shell(TRAPPED)},
    }


OVERRIDES = {
    "overridden": {
        "command": shell('echo "$MODE $KEPT $ADDED"'), "environment": {"MODE": "full", "ADDED": "added"},
        "cpu": 512, "memory": 2048},
}


@pytest.fixture(scope="module")
def begun(stack, things):
    """The runs of all those jobs, by the jobs' names; "archive" reads what "whole" writes, and is not run yet."""
    definitions = runnable(things)

    def begin(name: str):
        post(stack, {"name": name, "image": "busybox:1", "schedule": DAILY, **definitions[name]})
        return run_now(stack, name, OVERRIDES.get(name)) if name != "archive" else None

    made = at_once(*(lambda name=name: begin(name) for name in definitions))
    return dict(zip(definitions, made))


def started(stack, run: dict) -> None:
    until(lambda: log_lines(stack, run["job"], run) == ["started"], 60, f"{run['job']} says that it has started")


def test_a_task_has_its_secrets_volumes_and_sidecar(stack, begun):
    run = ended(stack, begun["whole"])
    assert (run["status"], run["exit_code"], run["stop_code"]) == ("succeeded", 0, "EssentialContainerExited"), run
    assert {one["name"]: one["exit_code"] for one in run["containers"]} == {"main": 0, "proxy": 5}
    lines = ["a password", "a token", "the container", "/mnt/shared", "written by the proxy", "refused"]

    def told() -> list[str]:
        return [line for line in log_lines(stack, "whole", run) if not line.startswith("sh: ")]

    until(lambda: told() == lines, 20, f"its log is whole; it is {told()}")

    # What it wrote stays in the file system, and a run of another job finds it there.
    archive = ended(stack, run_now(stack, "archive"))
    assert archive["status"] == "succeeded", archive
    until(lambda: log_lines(stack, "archive", archive)[-1:] == ["found"], 20, "the file was found")


def test_the_value_of_a_secret_is_nowhere_but_in_the_container(stack, begun, things):
    ended(stack, begun["whole"])
    job, run = get(stack, job_path("whole")), get(stack, job_path("whole", f"/runs/{begun['whole']['id']}"))
    aws = looked_at(stack, "whole")
    for text in (json.dumps(job), json.dumps(run), json.dumps(aws.task, default=str)):
        assert "a password" not in text and "a token" not in text
    assert job["secrets"]["DB_PASSWORD"] == f"{things.secret}:password::"


def test_the_execution_role_reads_the_secrets_of_the_job_alone(stack, begun, things):
    (role,) = [name for name in in_aws(stack, "whole")["roles"] if name.endswith("_execution")]
    iam = stack.aws("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    statements = {
        one["Sid"]: one for one in iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]}
    assert statements["Secrets"]["Resource"] == [things.secret]
    assert statements["Parameters"]["Resource"] == [things.parameter]


@pytest.mark.parametrize(("name", "reason"), [
    ("no-secret", MISSING_SECRET), ("no-volume", "fs-01234567"),
])
def test_a_task_whose_secret_or_volume_is_missing_fails_to_start_and_says_why(stack, begun, name, reason):
    run = ended(stack, begun[name])
    assert (run["status"], run["stop_code"], run["exit_code"]) == ("failed_to_start", "TaskFailedToStart", None), run
    assert run["stopped_reason"].startswith("ResourceInitializationError: ") and reason in run["stopped_reason"]
    assert (run["started_at"], log_lines(stack, name, run)) == (None, [])


def test_a_run_on_spot_is_one(stack, begun):
    ecs = target(stack, "on-spot")["EcsParameters"]
    assert [one["capacityProvider"] for one in ecs["CapacityProviderStrategy"]] == ["FARGATE_SPOT"]
    assert "LaunchType" not in ecs
    run = ended(stack, begun["on-spot"])
    assert run["status"] == "succeeded", run
    (task,) = tasks(stack, "on-spot")
    assert (task["taskArn"], task["capacityProviderName"]) == (run["task_arn"], "FARGATE_SPOT")
    tags = {tag["key"]: tag["value"] for tag in task["tags"]}
    assert (tags["cronplane:job"], tags["aws:ecs:clusterName"]) == ("on-spot", f"{STACK}_{TEAM}_on-spot")
    (cluster,) = stack.aws("ecs").describe_clusters(clusters=[f"{STACK}_{TEAM}_on-spot"])["clusters"]
    assert set(cluster["capacityProviders"]) == {"FARGATE", "FARGATE_SPOT"}


def test_a_start_without_spot_capacity_is_made_on_demand(stack, begun):
    """On request and on schedule; the start that the schedule promised is told as for any other job."""
    ended(stack, begun["on-spot"])
    no_spot = stack.state / "no-spot"
    no_spot.touch()
    try:
        post(stack, {"name": "falls-back", "image": "busybox:1", "command": shell("echo for $SCHEDULED_TIME"),
                     "capacity": "spot_with_fallback", "schedule": EVERY_MINUTE})
        asked = ended(stack, run_now(stack, "falls-back"))
        assert (asked["status"], asked["trigger"], asked["capacity_provider"]) == ("succeeded", "manual", "FARGATE")

        def scheduled() -> list[dict]:
            return [run for run in runs(stack, "falls-back", "?trigger=schedule") if run["status"] in ENDED]

        until(scheduled, ONE_START, "its first start on schedule has ended")
    finally:
        no_spot.unlink()
    patch(stack, "falls-back", {"enabled": False})
    run = scheduled()[-1]
    assert (run["status"], run["capacity_provider"]) == ("succeeded", "FARGATE")
    assert instant(run["scheduled_time"]).second == 0
    assert log_lines(stack, "falls-back", run) == [f"for {run['scheduled_time']}"]
    later = ended(stack, run_now(stack, "falls-back"))
    assert (later["status"], later["capacity_provider"]) == ("succeeded", "FARGATE_SPOT")


def test_a_cluster_without_spot_is_refused_to_a_job_that_wants_it(stack, fullest):
    stack.aws("ecs").create_cluster(clusterName="e2e-plain")
    definition = {"name": "no-spot", "image": "busybox:1", "schedule": DAILY, "capacity": "spot"}
    body = problem(stack.call("POST", jobs(), {**definition, "cluster": "e2e-plain"}), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["/capacity"]
    problem(stack.call("GET", job_path("no-spot")), 404)
    post(stack, {**definition, "cluster": "e2e-spot"})
    body = problem(stack.call("PATCH", job_path("no-spot"), {"cluster": "e2e-plain"}, headers=MERGE), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["/capacity"]
    assert target(stack, "no-spot")["Arn"] == arn("ecs", "cluster/e2e-spot")


# ---- run now


def test_a_run_has_its_overrides_and_the_definition_stays(stack, begun):
    """The job is paused, which keeps only the schedule away."""
    asked = begun["overridden"]
    assert (asked["trigger"], asked["scheduled_time"], asked["status"]) == ("manual", None, "pending"), asked
    run = ended(stack, asked)
    assert (run["id"], run["trigger"], run["status"]) == (asked["id"], "manual", "succeeded"), run
    assert run["created_at"] == asked["created_at"]
    assert instant(run["created_at"]) <= instant(run["started_at"]) <= instant(run["stopped_at"])
    assert [found["id"] for found in runs(stack, "overridden")] == [run["id"]]
    assert runs(stack, "overridden", "?trigger=schedule") == []
    until(lambda: log_lines(stack, "overridden", run) == ["full kept added"], 20, "it ran what was asked for")
    assert (run["cpu"], run["memory"]) == (512, 2048)
    (task,) = tasks(stack, "overridden")
    assert (task["taskArn"], task["cpu"], task["memory"]) == (run["task_arn"], "512", "2048")
    assert task["startedBy"] == f"cronplane/{run['id']}"
    (main,) = run["overrides"]["containerOverrides"]
    assert main["command"] == OVERRIDES["overridden"]["command"]
    assert {one["name"]: one["value"] for one in main["environment"]} == {"MODE": "full", "ADDED": "added"}

    job = get(stack, job_path("overridden"))
    assert (job["enabled"], job["cpu"], job["memory"], job["generation"]) == (False, 256, 512, 1)
    assert job["environment"] == {"MODE": "usual", "KEPT": "kept"}
    last = job["status"]["last_run"]
    assert (last["id"], last["status"], job["status"]["last_outcome"]) == (run["id"], "succeeded", "succeeded")
    assert len(revisions(stack, "overridden")) == 1


@pytest.mark.parametrize(("overrides", "pointers"), [
    ({"command": []}, {"/command"}),
    ({"cpu": 300}, {"/cpu"}),
    ({"cpu": 1024}, {"/memory"}),
    ({"environment": {"SCHEDULED_TIME": "x"}}, {"/environment/SCHEDULED_TIME"}),
    ({"environment": {"a": 1}, "image": "busybox:2", "command": "date"}, {"/environment/a", "/image", "/command"}),
    ({"command": ["x" * 9000]}, {""}),
])
def test_overrides_that_cannot_be_are_refused_where_they_stand(stack, begun, overrides, pointers):
    body = problem(stack.call("POST", job_path("no-secret", "/runs"), overrides), 422, "invalid")
    assert {error["pointer"] for error in body["errors"]} == pointers, body
    assert len(runs(stack, "no-secret")) == 1


def test_what_cannot_be_run_is_not(stack, begun):
    problem(stack.call("POST", job_path("missing", "/runs")), 404, "not_found")
    run = begun["going"]
    started(stack, run)
    status, _, _ = stack.call("DELETE", job_path("going"))
    assert status == 202, "it waits for its run"
    problem(stack.call("POST", job_path("going", "/runs")), 409, "conflict")
    assert [found["id"] for found in runs(stack, "going")] == [run["id"]]
    status, _, _ = stack.call("POST", job_path("going", f"/runs/{run['id']}/stop"))
    assert status == 202
    assert ended(stack, run)["stopped_reason"] == "Stopped through Cronplane"

    # The name is somebody else's topic's: the job is never ready.
    stack.aws("sns").create_topic(Name=f"{STACK}_{TEAM}_hindered_failure")
    status, _, job = stack.call("POST", jobs(), {"name": "hindered", "image": "busybox:1", "schedule": DAILY})
    assert (status, job["status"]["phase"]) == (201, "failed"), job
    body = problem(stack.call("POST", job_path("hindered", "/runs")), 409, "conflict")
    assert "failed" in body["detail"] or job["status"]["reason"] in body["detail"], body
    assert runs(stack, "hindered") == []


# ---- stop


@pytest.mark.parametrize(("name", "exit_code"), [("polite", 143), ("stubborn", 137)])
def test_a_run_is_stopped_with_a_reason(stack, begun, name, exit_code):
    run = begun[name]
    started(stack, run)
    path = job_path(name, f"/runs/{run['id']}/stop")
    problem(stack.call("POST", path, {"reason": "x" * 256}), 422, "invalid")
    begin = time.monotonic()
    status, _, answer = stack.call("POST", path, {"reason": "It is “enough”"})
    assert (status, answer["id"]) == (202, run["id"]), answer
    run = ended(stack, run)
    assert time.monotonic() - begin < 15, "it is killed after its own stop timeout"
    assert (run["status"], run["stop_code"], run["exit_code"]) == ("stopped", "UserInitiated", exit_code), run
    assert run["stopped_reason"] == "It is “enough”"
    status, _, again = stack.call("POST", path, {"reason": "Another one"})
    assert (status, again) == (200, run)
    assert get(stack, job_path(name))["status"]["last_outcome"] == "stopped"


def test_a_run_that_is_not_there_cannot_be_stopped(stack, begun):
    problem(stack.call("POST", job_path("polite", f"/runs/20260101T000000-{'0' * 32}/stop")), 404, "not_found")


def test_a_run_is_stopped_before_it_has_begun(stack, begun):
    run = run_now(stack, "on-spot", {"command": shell(TRAPPED)})
    status, _, answer = stack.call("POST", job_path("on-spot", f"/runs/{run['id']}/stop"))
    assert status == 202, answer
    assert ended(stack, run)["status"] == "stopped"


# ---- who is told

BOOTSTRAP = f"""#!{sys.executable}
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as request:
        event, id = json.load(request), request.headers["Lambda-Runtime-Aws-Request-Id"]
    for record in event["Records"]:
        print("told", record["Sns"]["Message"], flush=True)
    urllib.request.urlopen(urllib.request.Request(api + id + "/response", data=b"null", method="POST"))
"""


@pytest.fixture(scope="module")
def told(stack):
    """A job with a queue and a function that it tells, and what either was told."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BOOTSTRAP)
    sqs, functions, logs = (stack.aws(service) for service in ("sqs", "lambda", "logs"))
    queue = sqs.create_queue(QueueName="e2e-told")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function = functions.create_function(
        FunctionName="e2e-told", Runtime="provided.al2023", Handler="told", Role=arn("iam", "role/told"),
        Code={"ZipFile": package.getvalue()})["FunctionArn"]
    job = post(stack, {
        "name": "told", "image": "busybox:1", "schedule": DAILY, "command": shell(TRAPPED),
        "notifications": {"subscribers": [
            {"protocol": "sqs", "endpoint": queue_arn}, {"protocol": "lambda", "endpoint": function}]}})
    topic = job["status"]["topic_arn"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue_arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]})})
    functions.add_permission(
        FunctionName="e2e-told", StatementId="topic", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com",
        SourceArn=topic)
    received = []

    def by_queue() -> list[dict]:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            received.append(json.loads(json.loads(message["Body"])["Message"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return received

    def by_function() -> list[dict]:
        try:
            lines = logs.filter_log_events(logGroupName="/aws/lambda/e2e-told")["events"]
        except logs.exceptions.ResourceNotFoundException:  # it has no log before its first invocation
            return []
        return [json.loads(line["message"].removeprefix("told "))
                for line in lines if line["message"].startswith("told ")]

    return types.SimpleNamespace(by_queue=by_queue, by_function=by_function)


def test_a_queue_and_a_function_are_told_of_a_failure_and_not_of_a_stop(stack, told):
    subscriptions = get(stack, job_path("told"))["status"]["subscriptions"]
    assert {(one["protocol"], one["state"]) for one in subscriptions} == {("sqs", "confirmed"), ("lambda", "confirmed")}
    run = run_now(stack, "told")
    started(stack, run)
    assert stack.call("POST", job_path("told", f"/runs/{run['id']}/stop"))[0] == 202
    assert ended(stack, run)["status"] == "stopped"
    assert ended(stack, run_now(stack, "told", {"command": ["true"]}))["status"] == "succeeded"

    failed = ended(stack, run_now(stack, "told", {"command": shell("exit 3")}))
    assert (failed["status"], failed["exit_code"]) == ("failed", 3), failed
    for messages in (told.by_queue, told.by_function):
        until(messages, 30, "the failure was told")
        (message,) = messages()
        assert (message["team"], message["job"], message["stack"]) == (TEAM, "told", STACK)
        assert message["event"]["detail"]["taskArn"] == failed["task_arn"]
        # The message's link is the run, whose id has another time than its task.
        assert [one["id"] for one in get(stack, message["run"].removeprefix(stack.url))["items"]] == [failed["id"]]
    status, _, answer = stack.call("POST", job_path("told", "/notifications/test"))
    assert (status, {one["state"] for one in answer["subscriptions"]}) == (202, {"confirmed"}), answer
    for messages in (told.by_queue, told.by_function):
        until(lambda: answer["event_id"] in [one["event"]["id"] for one in messages()], 30, "the test was told")


# ---- requests that are repeated


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_a_repeated_create_is_answered_byte_for_byte(stack):
    definition, once = {"name": "once", "image": "busybox:1", "schedule": DAILY, "tags": {"a": "b"}}, key()
    # What was refused leaves no trace.
    problem(stack.call("POST", jobs(), {**definition, "cpu": 1}, headers=once), 422, "invalid")
    status, first, answer = raw(stack, "POST", jobs(), definition, once)
    assert (status, "Idempotent-Replayed" in first) == (201, False), answer
    # In another order, and after the job has changed.
    patch(stack, "once", {"description": "changed"})
    status, again, replayed = raw(stack, "POST", jobs(), dict(reversed(definition.items())), once)
    assert (status, again["Idempotent-Replayed"], replayed) == (201, "true", answer)
    for header in ("Content-Type", "ETag", "Location"):
        assert again[header] == first[header], header
    problem(stack.call("POST", jobs(), {**definition, "cpu": 512}, headers=once), 422, "idempotency_mismatch")
    problem(stack.call("POST", job_path("once", "/runs"), {}, headers=once), 422, "idempotency_mismatch")
    problem(stack.call("POST", jobs(), definition), 409, "already_exists")
    problem(stack.call("POST", jobs(), definition, headers=key()), 409, "already_exists")
    problem(stack.call("POST", jobs(), definition, headers={"Idempotency-Key": "x" * 256}), 400, "bad_request")
    assert (get(stack, job_path("once"))["cpu"], runs(stack, "once")) == (256, [])


def sent_at_once(stack, times: int, path: str, body: dict, headers: dict[str, str]) -> bytes:
    """The one answer of a request that is sent several times at once."""
    answers = at_once(*[lambda: raw(stack, "POST", path, body, headers)] * times)
    first = [answer for status, told, answer in answers if status == 201 and "Idempotent-Replayed" not in told]
    assert len(first) == 1, answers
    for status, told, answer in answers:
        if status == 201:
            assert answer == first[0]
        else:  # while the first one went on
            assert (status, json.loads(answer)["code"]) == (409, "conflict"), answer
            assert int(told["Retry-After"]) > 0
    status, told, answer = raw(stack, "POST", path, body, headers)
    assert (status, told["Idempotent-Replayed"], answer) == (201, "true", first[0])
    return first[0]


def test_ten_creates_at_once_with_one_key_are_one_job(stack):
    definition = {"name": "ten", "image": "busybox:1", "schedule": DAILY}
    job = json.loads(sent_at_once(stack, 10, jobs(), definition, key()))
    found = get(stack, job_path("ten"))
    assert (found["id"], found["generation"], found["status"]["phase"]) == (job["id"], 1, "ready")
    assert {kind: len(names) for kind, names in in_aws(stack, "ten").items()} == {
        "clusters": 1, "task definitions": 1, "rules": 2, "schedules": 0, "roles": 2, "topics": 1, "subscriptions": 0,
        "log groups": 1}


def test_twenty_run_nows_at_once_with_one_key_are_one_run(stack):
    post(stack, {"name": "twenty", "image": "busybox:1", "schedule": DAILY})
    once, path = key(), job_path("twenty", "/runs")
    run = json.loads(sent_at_once(stack, 20, path, {"command": ["true"]}, once))
    assert ended(stack, run)["status"] == "succeeded"
    problem(stack.call("POST", path, {"command": ["false"]}, headers=once), 422, "idempotency_mismatch")
    problem(stack.call("POST", path, {"command": []}, headers=once), 422)
    assert [found["id"] for found in runs(stack, "twenty")] == [run["id"]]
    assert [task["taskArn"] for task in tasks(stack, "twenty")] == [ended(stack, run)["task_arn"]]

    # No body is the same as an empty one; without the key it is another run.
    once = key()
    _, _, body = raw(stack, "POST", path, None, once)
    assert raw(stack, "POST", path, {}, once)[2] == body
    other = run_now(stack, "twenty")
    assert len({run["id"], json.loads(body)["id"], other["id"]} & {one["id"] for one in runs(stack, "twenty")}) == 3


# ---- dry runs


def comparable(job: dict) -> dict:
    """A job without what only the real one has: its id, times, the number that ECS gives, and the state of a
    subscription, which SNS says."""
    resources = [
        {**one, "arn": one["arn"].rsplit(":", 1)[0]
         if one["kind"] == "task_definition" and one["arn"].rsplit(":", 1)[1].isdigit() else one["arn"]}
        for one in job["status"]["resources"]]
    status = {**job["status"], "resources": resources, "next_starts": len(job["status"]["next_starts"]),
              "subscriptions": [one["endpoint"] for one in job["status"]["subscriptions"]]}
    return {**job, "id": None, "created_at": None, "updated_at": None, "status": status}


def test_a_job_is_foreseen_made_changed_and_deleted(stack):
    """Each step dry first, which changes nothing, and then in earnest, which comes to what was foreseen."""
    definition = {
        "name": "foreseen", "image": "busybox:1", "schedule": "cron(0 6 * * ? *)", "tags": {"owner": "us"},
        "sidecars": [OTHER_SIDECAR], "notifications": {"subscribers": [
            {"protocol": "sqs", "endpoint": arn("sqs", "e2e-foreseen")}]}}
    path, once = job_path("foreseen"), key()
    nothing = in_aws(stack, "foreseen")
    foreseen = dry(stack, "POST", jobs(), definition, once)
    assert foreseen["status"] == 201
    assert set(foreseen["answer"]["id"]) <= set("0-")
    assert not any(nothing.values()) and in_aws(stack, "foreseen") == nothing
    problem(stack.call("GET", path), 404)
    status, headers, job = stack.call("POST", jobs(), definition, headers=once)
    assert (status, "Idempotent-Replayed" in headers) == (201, False), "a dry run uses up no key"
    assert comparable(foreseen["answer"]) == comparable(job)
    assert collections.Counter(operations(foreseen)) == {
        "ecs:CreateCluster": 1, "logs:CreateLogGroup": 1, "logs:PutRetentionPolicy": 1, "iam:CreateRole": 2,
        "iam:PutRolePolicy": 2, "sns:CreateTopic": 1, "sns:SetTopicAttributes": 1, "sns:Subscribe": 1,
        "ecs:RegisterTaskDefinition": 1, "events:PutRule": 2, "events:PutTargets": 2}

    tag = stack.call("GET", path)[1]["ETag"]
    made, before = in_aws(stack, "foreseen"), target(stack, "foreseen")
    change = {"image": "busybox:1.37"}
    foreseen = dry(stack, "PATCH", path, change, MERGE)
    assert (foreseen["status"], operations(foreseen)) == (200, ["ecs:RegisterTaskDefinition", "events:PutTargets"])
    assert (foreseen["answer"]["image"], foreseen["answer"]["generation"]) == ("busybox:1.37", 2)
    assert (in_aws(stack, "foreseen"), target(stack, "foreseen")) == (made, before)
    assert stack.call("GET", path)[1]["ETag"] == tag
    job = patch(stack, "foreseen", change)
    assert comparable(job) == comparable(foreseen["answer"])
    after = target(stack, "foreseen")
    assert len(revisions(stack, "foreseen")) == 2
    assert after["EcsParameters"]["TaskDefinitionArn"] != before["EcsParameters"]["TaskDefinitionArn"]
    assert operations(dry(stack, "PATCH", path, change, MERGE)) == []
    problem(stack.call("PATCH", path + "?dry_run=true", change, headers={**MERGE, "If-Match": tag}), 412)
    problem(stack.call("PATCH", path + "?dry_run=true", {"cpu": 1}, headers=MERGE), 422)

    foreseen = dry(stack, "POST", path + "/runs", {"command": ["true"]})
    assert (foreseen["status"], operations(foreseen)) == (201, ["ecs:RunTask"])
    assert set(foreseen["answer"]["id"].split("-")[1]) == {"0"}
    assert (runs(stack, "foreseen"), tasks(stack, "foreseen")) == ([], [])

    foreseen = dry(stack, "POST", path + "/pause")
    assert (foreseen["answer"]["enabled"], len(operations(foreseen))) == (False, 1)
    assert get(stack, path)["enabled"] is True

    made = in_aws(stack, "foreseen")
    foreseen = dry(stack, "DELETE", path + "?delete_logs=true")
    assert (foreseen["status"], foreseen["answer"]) == (204, None)
    deleted = {
        "ecs:DeleteCluster", "ecs:DeregisterTaskDefinition", "events:DeleteRule", "iam:DeleteRole", "sns:DeleteTopic",
        "logs:DeleteLogGroup"}
    assert deleted <= set(operations(foreseen))
    assert in_aws(stack, "foreseen") == made and phase(stack, "foreseen") == "ready"
    assert stack.call("DELETE", path + "?delete_logs=true")[0] == 204
    assert in_aws(stack, "foreseen") == nothing
    problem(stack.call("DELETE", path + "?dry_run=true"), 404)


def test_a_stop_is_foreseen(stack, begun):
    run = ended(stack, run_now(stack, "on-spot"))
    path = job_path("on-spot", f"/runs/{run['id']}/stop")
    foreseen = dry(stack, "POST", path)
    assert (foreseen["status"], foreseen["answer"], operations(foreseen)) == (200, run, [])
    run = run_now(stack, "on-spot", {"command": shell(TRAPPED)})
    path = job_path("on-spot", f"/runs/{run['id']}")
    started(stack, run)
    foreseen = dry(stack, "POST", path + "/stop")
    assert (foreseen["status"], foreseen["aws_calls"]) == (
        202, [{"operation": "ecs:StopTask", "resource": run["task_arn"]}])
    until(lambda: get(stack, path)["status"] == "running", 30, "nothing has stopped it")
    assert stack.call("POST", path + "/stop")[0] == 202
    assert ended(stack, run)["status"] == "stopped"


# ---- lists

LISTS = "lists"


@pytest.fixture(scope="module")
def listed(stack):
    """A team with a job in each state that can be asked for; the runs of its jobs by their names."""
    stack.aws("sns").create_topic(Name=f"{STACK}_{LISTS}_nightly-hindered_failure")
    definitions = {
        "nightly-clean": {"tags": {"owner": "ops", "stage": ""}},
        "nightly-failing": {"tags": {"owner": "ops"}, "command": ["false"]},
        "nightly-hindered": {"tags": {"owner": "dev"}},
        "paused": {"tags": {"owner": "dev", "stage": "two"}, "enabled": False},
        "undone": {"command": shell(TRAPPED)},
    }

    def make(name: str):
        status, _, job = stack.call("POST", jobs(team=LISTS), {
            "name": name, "image": "busybox:1", "schedule": "cron(0 6 * * ? *)", **definitions[name]})
        assert status == 201, job
        return None if name in ("nightly-hindered", "paused") else run_now(stack, name, team=LISTS)

    made = dict(zip(definitions, at_once(*(lambda name=name: make(name) for name in definitions))))
    undone = job_path("undone", team=LISTS)
    assert stack.call("DELETE", undone)[0] == 202
    at_once(*(lambda name=name: ended(stack, made[name]) for name in ("nightly-clean", "nightly-failing")))
    yield made
    stack.call("DELETE", undone + "?stop_tasks=true")


@pytest.mark.parametrize(("query", "names"), [
    ("", ["nightly-clean", "nightly-failing", "nightly-hindered", "paused", "undone"]),
    ("?order=-name", ["undone", "paused", "nightly-hindered", "nightly-failing", "nightly-clean"]),
    ("?phase=ready", ["nightly-clean", "nightly-failing", "paused"]),
    ("?phase=failed", ["nightly-hindered"]),
    ("?phase=deleting", ["undone"]),
    ("?phase=provisioning", []),
    ("?enabled=false", ["paused"]),
    ("?enabled=true&phase=ready", ["nightly-clean", "nightly-failing"]),
    ("?last_outcome=succeeded", ["nightly-clean"]),
    ("?last_outcome=failed", ["nightly-failing"]),
    ("?last_outcome=stopped", []),
    ("?tag=owner", ["nightly-clean", "nightly-failing", "nightly-hindered", "paused"]),
    ("?tag=owner,ops", ["nightly-clean", "nightly-failing"]),
    ("?tag=stage,", ["nightly-clean"]),
    ("?tag=owner,dev&tag=stage", ["paused"]),
    ("?tag=Owner", []),
    ("?name_prefix=nightly-", ["nightly-clean", "nightly-failing", "nightly-hindered"]),
    ("?name_prefix=nightly-&order=-name&enabled=true&tag=owner,ops", ["nightly-failing", "nightly-clean"]),
])
def test_jobs_are_filtered_and_ordered(stack, listed, query, names):
    answer = get(stack, jobs(query, LISTS))
    assert [job["name"] for job in answer["items"]] == names
    assert answer["next"] is None


def test_an_item_of_a_list_shows_its_runs_and_next_starts(stack, listed):
    items = {job["name"]: job for job in get(stack, jobs(team=LISTS))["items"]}
    for name, outcome in (("nightly-clean", "succeeded"), ("nightly-failing", "failed"), ("undone", None)):
        status = items[name]["status"]
        assert [run["id"] for run in status["recent_runs"]] == [listed[name]["id"]]
        assert status["last_run"] == status["recent_runs"][0]
        assert status["last_run"]["trigger"] == "manual"
        assert status["last_outcome"] == outcome
    assert items["paused"]["status"]["recent_runs"] == [] and items["paused"]["status"]["last_run"] is None
    starts = items["nightly-clean"]["status"]["next_starts"]
    assert len(starts) == 5 and all(start.endswith("T06:00:00Z") for start in starts) and starts == sorted(starts)
    assert items["paused"]["status"]["next_starts"] == []
    assert items["nightly-hindered"]["status"]["reason"]
    one = get(stack, job_path("nightly-clean", team=LISTS))
    assert items["nightly-clean"] == one, "an item is the job as GET shows it"


def test_pages_go_on_with_their_filter_and_order(stack, listed):
    query, found, cursor = "?tag=owner&order=-name&limit=1", [], ""
    while cursor is not None:
        page = get(stack, jobs(f"{query}{cursor and '&cursor=' + cursor}", LISTS))
        assert len(page["items"]) <= 1
        found += [job["name"] for job in page["items"]]
        cursor = page["next"]
    assert found == ["paused", "nightly-hindered", "nightly-failing", "nightly-clean"]
    cursor = get(stack, jobs(query, LISTS))["next"]
    for other in ("?tag=owner&limit=1", "?order=-name&limit=1", "?tag=owner,ops&order=-name&limit=1"):
        problem(stack.call("GET", jobs(f"{other}&cursor={cursor}", LISTS)), 400, "bad_request")


@pytest.mark.parametrize("query", [
    "?phase=broken", "?enabled=yes", "?last_outcome=running", "?order=created_at", "?tag=a&tag=a", "?tag=a,b,c",
    "?name_prefix=Nightly", "?owner=ops",
])
def test_a_filter_that_cannot_be_is_refused(stack, query):
    problem(stack.call("GET", jobs(query, LISTS)), 400, "bad_request")
