"""The same provisioning against a second, independent emulator: moto takes each call of Cronplane's, and
holds afterwards what was asked for.

moto starts no tasks on a schedule and no containers, and tells of no task, so this is about what Cronplane
makes, changes and takes away, and of runs about the calls that start and stop them.

Where moto is known to be wrong, it is told at the place: `SecondCloud.as_aws_answers` (the tags of a log group
that is not there, the tasks of a deregistered revision, a task's time and version), `SecondCloud.as_moto_takes_it`
(what a task can leave out), `local_template` (schedule groups of a stack), `fullest` (the tags of a log group that was
deleted), `subscribers` (confirmed at once) and `test_notifications_can_be_tested` (events for a topic).
"""

import datetime
import json
import pathlib
import re
import time
import zlib

import pytest
from conftest import REGION, ROOT, eventually
from moto_cloud import MOTO_ACCOUNT, STACK, TEAM, SecondCloud

# What a definition can name of the account that moto has.
SECRET = f"arn:aws:secretsmanager:{REGION}:{MOTO_ACCOUNT}:secret:reports/db-AbC123"
PARAMETER = f"arn:aws:ssm:{REGION}:{MOTO_ACCOUNT}:parameter/reports/token"

# What only EventBridge Scheduler can do.
TIMING = {
    "timezone": "Europe/Berlin",
    "start_date": "2080-01-01T00:00:00Z",
    "end_date": "2090-01-01T00:00:00Z",
    "flexible_window_minutes": 10,
}

# Every field that a definition can have; test_the_fullest_definition_has_every_field holds it to the API.
FULLEST = {
    "name": "fullest",
    "description": "Has everything that a job can have",
    "image": {"repository": "tools/report", "tag": "1.2.3"},
    "command": ["report", "--all"],
    "entry_point": ["/bin/sh", "-c"],
    "environment": {"PLACE": "here", "EMPTY": ""},
    "working_directory": "/srv/report",
    "secrets": {"DB_PASSWORD": f"{SECRET}:password::", "TOKEN": PARAMETER},
    "cpu": 512,
    "memory": 2048,
    "architecture": "arm64",
    "ephemeral_storage_gib": 100,
    "volumes": [
        {"name": "shared"},
        {"name": "reports", "mount_path": "/mnt/reports", "read_only": True, "efs": {
            "file_system_id": "fs-0123456789abcdef0", "access_point_id": "fsap-0123456789abcdef0",
            "iam_authorization": True}}],
    "stop_timeout_seconds": 90,
    "health_check": {"command": ["CMD-SHELL", "test -f /tmp/ready"], "interval_seconds": 10, "timeout_seconds": 3,
                     "retries": 4, "start_period_seconds": 20},
    "extra_container_definition": {
        "cpu": 256,
        "memory": 1024,
        "dependsOn": [{"containerName": "proxy", "condition": "HEALTHY"}],
        "linuxParameters": {"initProcessEnabled": True},
        "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
        "logConfiguration": {"options": {"mode": "non-blocking"}}},
    "sidecars": [{
        "name": "proxy", "image": "envoyproxy/envoy:v1.33.0", "memoryReservation": 128,
        "healthCheck": {"command": ["CMD", "/healthy"], "interval": 5},
        "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}]}],
    "network": {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"], "assign_public_ip": True},
    "capacity": "spot",
    "platform_version": "1.4.0",
    "enable_execute_command": True,
    "enable_ecs_managed_tags": True,
    "cluster": "shared",
    "task_role": f"arn:aws:iam::{MOTO_ACCOUNT}:role/jobs/report",
    "execution_role": f"arn:aws:iam::{MOTO_ACCOUNT}:role/jobs/start",
    "schedule": "cron(0/15 8-18 ? * MON-FRI *)",
    **TIMING,
    "spread": True,
    "enabled": True,
    "log_retention_days": 90,
    "tags": {"cost-centre": "42", "owner": "us"},
    "notifications": {"subscribers": [
        {"protocol": "email", "endpoint": "ops@example.com"},
        {"protocol": "https", "endpoint": "https://hooks.example.com/cronplane"},
        {"protocol": "sqs", "endpoint": f"arn:aws:sqs:{REGION}:{MOTO_ACCOUNT}:alerts"},
        {"protocol": "lambda", "endpoint": f"arn:aws:lambda:{REGION}:{MOTO_ACCOUNT}:function:alert:live"}]},
}

# The same on a rule.
BY_RULE = {field: value for field, value in FULLEST.items() if field not in TIMING}
WITHOUT_TIMING = dict.fromkeys(TIMING)
on_either = pytest.mark.parametrize("fullest", [FULLEST, BY_RULE], ids=["schedule", "rule"], indirect=True)

# Calls that are meant to be refused now and then: they ask whether something is there.
QUESTIONS = {
    "ecs:DescribeTaskDefinition": ("ClientException", "Unable to describe task definition"),
    "events:ListTagsForResource": ("ResourceNotFoundException", "Rule .* does not exist"),
    "scheduler:GetSchedule": ("ResourceNotFoundException", "Schedule .* does not exist"),
    "sns:ListTagsForResource": ("ResourceNotFound", "Resource does not exist"),
    "logs:ListTagsForResource": ("ResourceNotFoundException", "The specified resource does not exist"),
    "iam:GetRole": ("NoSuchEntity", "Role .* not found"),
    # moto knows the quotas of VPCs only.
    "servicequotas:GetServiceQuota": ("NoSuchResourceException", "This service is not available"),
    # A run's stream that is not there yet; moto speaks of its group.
    "logs:GetLogEvents": ("ResourceNotFoundException", "The specified log (stream|group) does not exist"),
}

# Operations in the code that nothing here leads to, and why.
NOT_MADE = {
    "sns:Publish": "made by the function `events`, where all jobs share a failure rule; here there is only `http`",
    "events:DisableRule": "made when a paused job's reconcile is hindered; nothing here hinders one",
}


def definitions() -> list[pathlib.Path]:
    """The jobs among the examples."""
    found = [*(ROOT / "examples").glob("*.json"), *(ROOT / "examples").glob("*/job*.json")]
    return sorted(file for file in found if {"name", "image", "schedule"} <= json.loads(file.read_text()).keys())


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    cloud = SecondCloud(tmp_path_factory.mktemp("moto"))
    try:
        yield cloud.start()
    finally:
        cloud.stop()


@pytest.fixture
def fullest(request):
    """FULLEST, or what is given in its place, under a name of this test's own: in moto a new log group has the tags
    that one of its name had before it was deleted."""
    return {**getattr(request, "param", FULLEST), "name": f"fullest-{zlib.crc32(request.node.name.encode()):08x}"}


@pytest.fixture
def post(moto):
    """Posts a job in whose place nothing was before, and sees at the end to it that nothing is again."""
    before, posted = everything(moto), []

    def post(definition: dict) -> dict:
        cluster = definition.get("cluster")
        if cluster:
            shared(moto, cluster)
            before["clusters"].add(cluster)
        status, job = moto.call("POST", jobs(), definition)
        assert status == 201, job
        posted.append(definition["name"])
        return ready(job)

    yield post
    for name in posted:
        status, answer = moto.call("DELETE", f"{path(name)}?delete_logs=true")
        assert status in (204, 404), answer
    assert everything(moto) == before


# ---- words of the tests


def jobs() -> str:
    return f"/v1/teams/{TEAM}/jobs"


def path(name: str) -> str:
    return f"{jobs()}/{name}"


def shared(moto, cluster: str) -> None:
    """A cluster that others made, in which tasks can be on Spot."""
    moto.client("ecs").create_cluster(clusterName=cluster, capacityProviders=["FARGATE", "FARGATE_SPOT"])


def ready(job: dict) -> dict:
    """The job, after it was seen that AWS took all of it."""
    status = job["status"]
    assert (status["phase"], status["reason"]) == ("ready", None), status
    assert status["observed_generation"] == job["generation"]
    carrier = {"rule": "schedule_rule", "scheduler": "schedule"}[status["schedule"]["engine"]]
    assert {(one["kind"], one["state"], one["reason"]) for one in status["resources"]} == {
        (kind, "ready", None) for kind in (
            "cluster", "log_group", "execution_role", "events_role", "topic", "task_definition", carrier,
            "failure_rule")}
    return job


def change(moto, method: str, name: str, body=None, action: str = "") -> dict:
    status, job = moto.call(method, path(name) + action, body)
    assert status == 200, job
    return ready(job)


def everything(moto) -> dict[str, set[str]]:
    """The names of all that moto holds, of every kind that Cronplane makes."""
    ecs, events, iam, sns, logs = (moto.client(name) for name in ("ecs", "events", "iam", "sns", "logs"))
    return {
        "clusters": {  # one that was deleted is INACTIVE for a while
            one["clusterName"] for one in ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
            if one["status"] == "ACTIVE"},
        "task definitions": set(ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]),
        "rules": {rule["Name"] for rule in events.list_rules()["Rules"]},
        "schedules": {
            f"{one['GroupName']}/{one['Name']}" for one in moto.client("scheduler").list_schedules()["Schedules"]},
        "roles": {role["RoleName"] for role in iam.list_roles()["Roles"]},
        "topics": {topic["TopicArn"] for topic in sns.list_topics()["Topics"]},
        "subscriptions": {one["SubscriptionArn"] for one in sns.list_subscriptions()["Subscriptions"]},
        "log groups": {group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]},
    }


def tags(listed: list[dict]) -> dict[str, str]:
    return {tag.get("Key", tag.get("key")): tag.get("Value", tag.get("value")) for tag in listed}


def our_tags(name: str, own: dict[str, str]) -> dict[str, str]:
    return {"managed-by": "cronplane", "cronplane:stack": STACK, "cronplane:team": TEAM, "cronplane:job": name, **own}


def task_definition(moto, name: str) -> dict:
    """The revision that is started, with its tags."""
    (arn,) = [one["arn"] for one in moto.call("GET", path(name))[1]["status"]["resources"]
              if one["kind"] == "task_definition"]
    answer = moto.client("ecs").describe_task_definition(taskDefinition=arn, include=["TAGS"])
    return {**answer["taskDefinition"], "tags": tags(answer["tags"])}


def rule(moto, name: str) -> tuple[dict, dict]:
    """A rule with its tags, and its one target."""
    events = moto.client("events")
    found = events.describe_rule(Name=name)
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    return {**found, "Tags": tags(events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"])}, target


def is_on_scheduler(definition: dict) -> bool:
    return bool(TIMING.keys() & definition.keys()) or definition["schedule"].startswith("at(")


def schedule(moto, definition: dict) -> dict:
    """What starts a job, a rule or a schedule, with its `Target`; the other there is not."""
    name, there = f"{STACK}_{TEAM}_{definition['name']}", everything(moto)
    if is_on_scheduler(definition):
        assert name not in there["rules"]
        return moto.client("scheduler").get_schedule(GroupName=moto.variables["CRONPLANE_SCHEDULE_GROUP"], Name=name)
    assert not any(one.endswith(f"/{name}") for one in there["schedules"])
    found, target = rule(moto, name)
    return {**found, "Target": target}


def bounded(found: dict, definition: dict) -> None:
    """Whether a schedule has what the definition says besides its expression."""
    def moment(field: str) -> datetime.datetime | None:
        return datetime.datetime.fromisoformat(definition[field]) if field in definition else None

    window = definition.get("flexible_window_minutes")
    assert found["ScheduleExpressionTimezone"] == definition.get("timezone", "UTC")
    assert (found.get("StartDate"), found.get("EndDate")) == (moment("start_date"), moment("end_date"))
    assert found["FlexibleTimeWindow"] == (
        {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": window} if window else {"Mode": "OFF"})
    assert found["ActionAfterCompletion"] == "NONE"


def role(moto, arn: str) -> dict:
    iam, name = moto.client("iam"), arn.rsplit("/", 1)[-1]
    found = iam.get_role(RoleName=name)["Role"]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    statements = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]
    return {**found, "Tags": tags(found["Tags"]), "Statements": {one["Sid"]: one for one in statements}}


def subscribers(moto, topic_arn: str) -> set[tuple[str, str]]:
    """Who is subscribed. (moto takes every subscription as confirmed; on AWS these were pending.)"""
    listed = moto.client("sns").list_subscriptions_by_topic(TopicArn=topic_arn)["Subscriptions"]
    return {(one["Protocol"], one["Endpoint"]) for one in listed}


def starts_a_task(target: dict, arns: dict, definition: dict, network: dict) -> None:
    """Whether the schedule's target is a task as it is wanted."""
    assert (target["Arn"], target["RoleArn"]) == (arns["cluster"], arns["events_role"])
    assert target["EcsParameters"]["TaskDefinitionArn"] == arns["task_definition"]
    vpc = target["EcsParameters"]["NetworkConfiguration"]["awsvpcConfiguration"]
    assert vpc["Subnets"] == network["subnets"]
    assert vpc.get("SecurityGroups", []) == network.get("security_groups", [])
    assert vpc["AssignPublicIp"] == ("ENABLED" if network.get("assign_public_ip") else "DISABLED")
    start = target["EcsParameters"]
    assert (start["PropagateTags"], start["PlatformVersion"], start.get("EnableExecuteCommand", False),
            start.get("EnableECSManagedTags", False)) == (
        "TASK_DEFINITION", definition.get("platform_version", "LATEST"),
        definition.get("enable_execute_command", False), definition.get("enable_ecs_managed_tags", False))
    if definition.get("capacity", "on_demand") == "on_demand":
        assert (start["LaunchType"], start.get("CapacityProviderStrategy")) == ("FARGATE", None)
    else:
        assert "LaunchType" not in start
        assert start["CapacityProviderStrategy"][0]["capacityProvider"] == "FARGATE_SPOT"
    (override,) = input_of(target)["containerOverrides"]
    assert override["environment"][0]["name"] == "SCHEDULED_TIME"


def input_of(target: dict) -> dict:
    """What a target is given; where the time stands, the engine puts it in."""
    if "Input" in target:
        return json.loads(target["Input"].replace("<aws.scheduler.scheduled-time>", "<time>"))
    return json.loads(target["InputTransformer"]["InputTemplate"])


def looked_at(moto, definition: dict, moved: bool = False) -> None:
    """Holds what moto has of a job against the job's definition. One that has moved from one engine to the other can
    still be started by the former: that is granted to both for half an hour."""
    name, base = definition["name"], f"{STACK}_{TEAM}_{definition['name']}"
    job = moto.call("GET", path(name))[1]
    arns = {one["kind"]: one["arn"] for one in job["status"]["resources"]}
    expected_tags = our_tags(name, definition.get("tags", {}))
    boundary = moto.variables["CRONPLANE_BOUNDARY_ARN"]
    dead_letters = moto.variables["CRONPLANE_SCHEDULE_DLQ_ARN"]
    network = {"subnets": [moto.variables["CRONPLANE_DEFAULT_SUBNETS"]], **definition.get("network", {})}

    # The cluster: the job's own, with our tags, or the one it names, as it was.
    (cluster,) = moto.client("ecs").describe_clusters(clusters=[arns["cluster"]], include=["TAGS"])["clusters"]
    assert cluster["clusterName"] == definition.get("cluster", base)
    assert tags(cluster.get("tags", [])) == ({} if "cluster" in definition else expected_tags)

    found = task_definition(moto, name)
    assert found["taskDefinitionArn"] == arns["task_definition"]
    assert (found["family"], found["networkMode"], found["requiresCompatibilities"]) == (base, "awsvpc", ["FARGATE"])
    assert (found["cpu"], found["memory"]) == (str(job["cpu"]), str(job["memory"]))
    assert (found["executionRoleArn"], found.get("taskRoleArn")) == (
        arns["execution_role"], definition.get("task_role"))
    assert {**found["tags"], **expected_tags} == found["tags"]
    image = definition["image"]
    main, *sidecars = found["containerDefinitions"]
    assert main["name"] == "main"
    assert main["essential"] is True
    assert main["image"] == (image if isinstance(image, str) else (
        f"{moto.account}.dkr.ecr.{REGION}.amazonaws.com/{image['repository']}:{image['tag']}"))
    assert (main.get("command"), main.get("entryPoint")) == (definition.get("command"), definition.get("entry_point"))
    environment = {one["name"]: one["value"] for one in main["environment"]}
    assert {**environment, **definition.get("environment", {})} == environment
    log = {"logDriver": "awslogs", "options": {
        "awslogs-group": f"/cronplane/{STACK}/{TEAM}/{name}", "awslogs-region": REGION,
        "awslogs-stream-prefix": "run"}}
    extra = definition.get("extra_container_definition", {})
    options = extra.get("logConfiguration", {}).get("options", {})
    assert main["logConfiguration"] == {**log, "options": {**log["options"], **options}}
    assert {key: main[key] for key in extra if key != "logConfiguration"} == {
        key: value for key, value in extra.items() if key != "logConfiguration"}
    assert {one["name"]: one["valueFrom"] for one in main.get("secrets", [])} == definition.get("secrets", {})
    assert (main.get("workingDirectory"), main.get("stopTimeout")) == (
        definition.get("working_directory"), definition.get("stop_timeout_seconds"))
    check = definition.get("health_check")
    assert main.get("healthCheck") == (check and {
        "command": check["command"], "interval": check["interval_seconds"], "timeout": check["timeout_seconds"],
        "retries": check["retries"], "startPeriod": check["start_period_seconds"]})
    volumes = definition.get("volumes", [])
    assert [one["name"] for one in found["volumes"]] == [one["name"] for one in volumes]
    for volume, given in zip(found["volumes"], volumes):
        efs = volume.get("efsVolumeConfiguration", {})
        assert efs.get("fileSystemId") == given.get("efs", {}).get("file_system_id")
        assert efs.get("authorizationConfig", {}).get("accessPointId") == given.get("efs", {}).get("access_point_id")
    assert [(one["sourceVolume"], one["containerPath"], one["readOnly"]) for one in main["mountPoints"]] == [
        (one["name"], one["mount_path"], one.get("read_only", False)) for one in volumes if "mount_path" in one]
    for sidecar, given in zip(sidecars, definition.get("sidecars", []), strict=True):
        assert (sidecar["essential"], sidecar["logConfiguration"]) == (False, log)
        assert {key: sidecar.get(key) for key in given if key != "healthCheck"} == {
            key: value for key, value in given.items() if key != "healthCheck"}
        assert {**sidecar.get("healthCheck", {}), **given.get("healthCheck", {})} == sidecar.get("healthCheck", {})
    assert found["runtimePlatform"] == {
        "cpuArchitecture": definition.get("architecture", "x86_64").upper(), "operatingSystemFamily": "LINUX"}
    assert found.get("ephemeralStorage", {}).get("sizeInGiB") == definition.get("ephemeral_storage_gib")

    scheduled, on_scheduler = schedule(moto, definition), is_on_scheduler(definition)
    target = scheduled["Target"]
    assert scheduled["ScheduleExpression"] == job["status"]["schedule"]["expression"]
    if not definition.get("spread"):
        assert scheduled["ScheduleExpression"] == definition["schedule"]
    assert scheduled["State"] == ("ENABLED" if definition.get("enabled", True) else "DISABLED")
    if "description" in definition:
        assert scheduled["Description"] == definition["description"]
    if on_scheduler:  # a schedule has no tags
        bounded(scheduled, definition)
    else:
        assert scheduled["Tags"] == expected_tags
    assert target["DeadLetterConfig"] == {"Arn": dead_letters}
    if definition.get("capacity") == "spot_with_fallback":
        # Cronplane starts it itself, of a message, which Scheduler sends with the job's role.
        assert target["Arn"] == moto.variables["CRONPLANE_START_QUEUE_ARN"]
        assert target.get("RoleArn") == (arns["events_role"] if on_scheduler else None)
        message = input_of(target)
        assert (message["job"], message["scheduled_time"]) == (definition["name"], "<time>")
    else:
        starts_a_task(target, arns, definition, network)

    failures, told = rule(moto, f"{base}_failure")
    assert {"$or"} == json.loads(failures["EventPattern"]).keys()
    assert (failures["State"], failures["Tags"]) == ("ENABLED", expected_tags)
    assert (told["Arn"], told["DeadLetterConfig"]) == (arns["topic"], {"Arn": dead_letters})

    assert arns["execution_role"] == definition.get("execution_role", arns["execution_role"])
    engines = {"events", "scheduler"} if moved else {"scheduler"} if on_scheduler else {"events"}
    for kind, services in (("execution_role", {"ecs-tasks"}), ("events_role", engines)):
        if kind in definition:
            continue
        made = role(moto, arns[kind])
        assert (made["Path"], made["Tags"]) == ("/cronplane/", expected_tags)
        assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
        trusted = [one["Principal"]["Service"] for one in made["AssumeRolePolicyDocument"]["Statement"]]
        assert sorted(trusted) == sorted(f"{service}.amazonaws.com" for service in services)
    statements = role(moto, arns["events_role"])["Statements"]
    assert statements.get("SendMessages", {}).get("Resource", []) == (
        [dead_letters, moto.variables["CRONPLANE_START_QUEUE_ARN"]] if "scheduler" in engines else [])
    # After a change, what starts from before it take is granted beside this for half an hour.
    assert arns["cluster"] in statements["RunTask"]["Condition"]["ArnEquals"]["ecs:cluster"]
    passed = {arns["execution_role"], *filter(None, [definition.get("task_role")])}
    assert passed <= set(statements["PassRoles"]["Resource"])
    if "execution_role" not in definition:
        statements = role(moto, arns["execution_role"])["Statements"]
        assert statements["WriteLogs"]["Resource"].startswith(f"{arns['log_group']}:")
        assert "PullImage" in statements or not isinstance(image, dict)
        references = definition.get("secrets", {}).values()
        for sid, service in (("Secrets", "secretsmanager"), ("Parameters", "ssm")):
            assert set(statements.get(sid, {}).get("Resource", [])) >= {
                ":".join(one.split(":")[:7]) for one in references if one.split(":")[2] == service}

    sns = moto.client("sns")
    policy = json.loads(sns.get_topic_attributes(TopicArn=arns["topic"])["Attributes"]["Policy"])
    assert policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] == failures["Arn"]
    assert tags(sns.list_tags_for_resource(ResourceArn=arns["topic"])["Tags"]) == expected_tags
    assert subscribers(moto, arns["topic"]) == {
        (one["protocol"], one["endpoint"]) for one in definition.get("notifications", {}).get("subscribers", [])}

    logs = moto.client("logs")
    (group,) = logs.describe_log_groups(logGroupNamePrefix=f"/cronplane/{STACK}/{TEAM}/{name}")["logGroups"]
    assert group["retentionInDays"] == job["log_retention_days"]
    assert logs.list_tags_for_resource(resourceArn=arns["log_group"])["tags"] == expected_tags


# ---- jobs


def test_the_fullest_definition_has_every_field():
    document = json.loads((ROOT / "openapi/openapi.json").read_text())
    assert FULLEST.keys() == document["components"]["schemas"]["JobRequest"]["properties"].keys()


@pytest.mark.parametrize("file", definitions(), ids=lambda file: str(file.relative_to(ROOT / "examples")))
def test_example_is_made_and_taken_away(moto, post, file):
    text = file.read_text().replace("111122223333", moto.account).replace("eu-west-1", REGION)
    definition = json.loads(text)
    post(definition)
    looked_at(moto, definition)


@on_either
def test_the_fullest_job_is_made_and_taken_away(moto, fullest, post):
    post(fullest)
    looked_at(moto, fullest)


@on_either
def test_the_same_again_makes_no_call_but_to_the_table(moto, fullest, post):
    post(fullest)
    before = len(moto.recorder.calls)
    change(moto, "PUT", fullest["name"], fullest)
    # The answer tells the subscriptions' states, which only SNS knows.
    assert {call.operation for call in moto.recorder.calls[before:]} == {
        "dynamodb:GetItem", "sns:ListSubscriptionsByTopic"}


# Changes of what a schedule or a rule starts, and how, and of when.
OF_THE_START = [
    {"image": "busybox:2"},
    {"schedule": "rate(2 hours)", "spread": None},
    {"tags": {"owner": None, "stage": "two"}},
    {"description": "Another one"},
    {"capacity": "on_demand"},
    {"platform_version": None, "enable_execute_command": False, "enable_ecs_managed_tags": None},
    {"network": {"assign_public_ip": False}},
    {"cluster": None},
    {"enabled": False},
    {"timezone": "Asia/Tokyo"},
    {"spread": False},
    {"schedule": "at(2080-06-07T08:09:10)", "start_date": None, "end_date": None, "spread": None},
]
OTHER_CHANGES = [
    {"command": ["report", "--some"]},
    {"log_retention_days": 7},
    {"task_role": f"arn:aws:iam::{MOTO_ACCOUNT}:role/jobs/other"},
    {"execution_role": None},
    {"secrets": {"TOKEN": None}},
    {"volumes": [{"name": "shared", "mount_path": "/shared"}]},
    {"sidecars": [], "extra_container_definition": None},
    {"health_check": {"retries": 2}, "stop_timeout_seconds": None, "working_directory": None},
    {"architecture": "x86_64", "ephemeral_storage_gib": None},
    {"notifications": {"subscribers": [{"protocol": "email", "endpoint": "other@example.com"}]}},
    {"timezone": None},
    {"start_date": "2081-02-03T04:05:06Z", "end_date": None},
    {"flexible_window_minutes": 1440},
    {"flexible_window_minutes": None, "start_date": None},
    {**WITHOUT_TIMING, "schedule": "rate(3 hours)", "spread": None},
]


@pytest.mark.parametrize(
    ("fullest", "patch"),
    [*((FULLEST, patch) for patch in OF_THE_START + OTHER_CHANGES), *((BY_RULE, patch) for patch in OF_THE_START)],
    ids=lambda value: "-".join(value) if "name" not in value else "rule" if value is BY_RULE else "schedule",
    indirect=["fullest"])
def test_patch_is_followed(moto, fullest, post, patch):
    post(fullest)
    change(moto, "PATCH", fullest["name"], patch)
    changed = merged(fullest, patch)
    looked_at(moto, changed, is_on_scheduler(changed) != is_on_scheduler(fullest))


def test_a_job_that_cronplane_starts_goes_from_one_engine_to_the_other(moto, fullest, post):
    # Whose starts have no window.
    timing = {**TIMING, "flexible_window_minutes": None}
    definition = merged(fullest, {"capacity": "spot_with_fallback", **timing})
    post(definition)
    looked_at(moto, definition)
    for patch in (WITHOUT_TIMING, timing):
        change(moto, "PATCH", fullest["name"], patch)
        looked_at(moto, merged(definition, patch), moved=True)


def merged(value: dict, patch: dict) -> dict:
    """RFC 7396, for the patches here."""
    together = {**value, **{
        key: merged(value[key], change) if isinstance(change, dict) and isinstance(value.get(key), dict) else change
        for key, change in patch.items()}}
    return {key: change for key, change in together.items() if change is not None}


def test_own_cluster_has_the_tags_and_goes_with_the_job_that_has_moved(moto, fullest, post):
    definition = {key: value for key, value in fullest.items() if key != "cluster"}
    post(definition)
    looked_at(moto, definition)
    change(moto, "PATCH", fullest["name"], {"tags": {"owner": None, "stage": "two"}})
    looked_at(moto, merged(definition, {"tags": {"owner": None, "stage": "two"}}))
    change(moto, "PATCH", fullest["name"], {"tags": fullest["tags"] | {"stage": None}})
    shared(moto, "shared")
    change(moto, "PATCH", fullest["name"], {"cluster": "shared"})
    looked_at(moto, fullest)
    # A start can be on its way into it still: `post` sees at the end that it goes with the job.
    assert f"{STACK}_{TEAM}_{fullest['name']}" in everything(moto)["clusters"]


def test_put_brings_what_it_leaves_out_back_to_its_default(moto, fullest, post):
    post(fullest)
    least = {"name": fullest["name"], "image": "busybox:1", "schedule": "rate(1 day)"}
    change(moto, "PUT", fullest["name"], least)
    looked_at(moto, least, moved=True)


@on_either
def test_pause_and_resume(moto, fullest, post):
    post(fullest)
    for action, enabled in (("/pause", False), ("/resume", True)):
        change(moto, "POST", fullest["name"], action=action)
        looked_at(moto, {**fullest, "enabled": enabled})


def test_notifications_can_be_tested(moto, fullest, post):
    """moto's PutEvents breaks off (NotImplementedError, a 500) where a rule's target is a topic or a cluster:
    it knows queues, log groups and buses (moto/events/models.py, `put_events`), so the event is put when the
    job's only rule has no targets."""
    post(fullest)
    moto.client("events").remove_targets(Rule=f"{STACK}_{TEAM}_{fullest['name']}_failure", Ids=["main"])
    status, answer = moto.call("POST", path(fullest["name"]) + "/notifications/test")
    assert status == 202, answer
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["event_id"])
    assert {one["endpoint"] for one in answer["subscriptions"]} == {
        one["endpoint"] for one in fullest["notifications"]["subscribers"]}


def test_deletion_stops_what_still_runs(moto, fullest, post):
    definition = {key: value for key, value in fullest.items() if key != "cluster"}
    post(definition)
    ecs, cluster = moto.client("ecs"), f"{STACK}_{TEAM}_{fullest['name']}"
    (task,) = ecs.run_task(
        cluster=cluster, taskDefinition=cluster, launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {
            "subnets": [moto.variables["CRONPLANE_DEFAULT_SUBNETS"]], "securityGroups": []}})["tasks"]
    status, job = moto.call("DELETE", path(fullest["name"]))
    assert (status, job["status"]["phase"]) == (202, "deleting"), job
    eventually(lambda: moto.call("DELETE", f"{path(fullest['name'])}?stop_tasks=true&delete_logs=true")[0] == 204)


def test_own_cluster_gets_spot_when_it_is_wanted(moto, fullest, post):
    definition = {key: value for key, value in fullest.items() if key not in ("cluster", "capacity")}
    post(definition)
    ecs, cluster = moto.client("ecs"), f"{STACK}_{TEAM}_{fullest['name']}"
    ecs.put_cluster_capacity_providers(cluster=cluster, capacityProviders=[], defaultCapacityProviderStrategy=[])
    change(moto, "PATCH", fullest["name"], {"capacity": "spot"})
    looked_at(moto, {**definition, "capacity": "spot"})
    (found,) = ecs.describe_clusters(clusters=[cluster])["clusters"]
    assert set(found["capacityProviders"]) == {"FARGATE", "FARGATE_SPOT"}


# ---- runs that are asked for


def test_a_run_is_foreseen_started_once_read_and_stopped(moto, fullest, post):
    """moto starts no container, and tells of no task by itself: the run stays as RunTask answered it. It starts
    tasks only in subnets that it has."""
    definition = {key: value for key, value in fullest.items() if key not in ("cluster", "network")}
    post(definition)
    ecs, base, runs = moto.client("ecs"), f"{STACK}_{TEAM}_{fullest['name']}", path(fullest["name"]) + "/runs"
    asked = {"command": ["report", "--now"], "environment": {"PLACE": "there"}, "memory": 4096}
    status, foreseen = moto.call("POST", f"{runs}?dry_run=true", asked)
    assert (status, foreseen["status"]) == (200, 201), foreseen
    assert [call["operation"] for call in foreseen["aws_calls"]] == ["ecs:RunTask"]
    assert ecs.list_tasks(cluster=base)["taskArns"] == []

    key = {"Idempotency-Key": fullest["name"]}
    status, run = moto.call("POST", runs, asked, key)
    assert (status, run["trigger"], run["overrides"]["memory"]) == (201, "manual", "4096"), run
    assert moto.call("POST", runs, asked, key) == (201, run)
    assert moto.call("POST", runs, {}, key)[0] == 422
    assert moto.call("GET", runs)[1]["items"][0]["id"] == run["id"]
    assert ecs.list_tasks(cluster=base)["taskArns"] == [run["task_arn"]]
    (task,) = ecs.describe_tasks(cluster=base, tasks=[run["task_arn"]])["tasks"]
    assert task["startedBy"] == f"cronplane/{run['id']}"
    assert task["taskDefinitionArn"] == task_definition(moto, fullest["name"])["taskDefinitionArn"]
    (override,) = task["overrides"]["containerOverrides"]
    assert override["command"] == asked["command"]
    assert task["overrides"]["memory"] == "4096"

    logs, group = moto.client("logs"), f"/cronplane/{STACK}/{TEAM}/{fullest['name']}"
    lines = f"{runs}/{run['id']}/logs"
    assert moto.call("GET", lines)[1]["items"] == []
    stream = f"run/main/{run['task_arn'].rsplit('/', 1)[1]}"
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(
        logGroupName=group, logStreamName=stream,
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "written"}])
    assert [line["message"] for line in moto.call("GET", lines)[1]["items"]] == ["written"]

    status, answer = moto.call("POST", f"{runs}/{run['id']}/stop", {"reason": "enough"})
    assert (status, answer["id"]) == (202, run["id"]), answer
    (task,) = ecs.describe_tasks(cluster=base, tasks=[run["task_arn"]])["tasks"]
    assert (task["desiredStatus"], task["stoppedReason"]) == ("STOPPED", "enough")


@on_either
def test_dry_runs_change_nothing(moto, fullest, post):
    """Each in the state that the one before left, and no call but those that look; one of them to the other engine."""
    name, before = fullest["name"], everything(moto)
    shared(moto, "shared")
    before["clusters"].add("shared")

    def dry(method: str, where: str, body=None) -> list[str]:
        seen, there = len(moto.recorder.calls), everything(moto)
        status, foreseen = moto.call(method, f"{where}{'&' if '?' in where else '?'}dry_run=true", body)
        assert status == 200, foreseen
        assert everything(moto) == there
        made = {call.operation.split(":")[1] for call in moto.recorder.calls[seen:]}
        assert all(re.match("Get|List|Describe|Query", operation) for operation in made), made
        return [call["operation"] for call in foreseen["aws_calls"]]

    def real(method: str, where: str, body=None) -> list[str]:
        """The calls that a request makes to change something."""
        seen = len(moto.recorder.calls)
        status, answer = moto.call(method, where, body)
        assert 200 <= status < 300, answer
        made = [call.operation for call in moto.recorder.calls[seen:]]
        return [operation for operation in made if not operation.startswith("dynamodb:")
                and not re.match("Get|List|Describe", operation.split(":")[1])]

    for method, where, body in (
        ("POST", jobs(), fullest),
        ("PATCH", path(name), {"image": "busybox:2"}),
        ("PATCH", path(name), {"execution_role": None, "tags": {"owner": None, "stage": "two"}}),
        ("PATCH", path(name), WITHOUT_TIMING if is_on_scheduler(fullest) else TIMING),
        ("POST", path(name) + "/pause", None),
        ("DELETE", path(name) + "?delete_logs=true", None),
    ):
        foreseen = dry(method, where, body)
        assert foreseen and sorted(foreseen) == sorted(real(method, where, body)), (method, body)
    assert everything(moto) == before


# ---- the calls


def test_every_call_was_accepted(moto):
    def as_expected(call) -> bool:
        code, message = QUESTIONS.get(call.operation, (None, ""))
        return call.accepted or (call.code == code and bool(re.match(message, call.message)))

    assert [call for call in moto.recorder.calls if not as_expected(call)] == []


def test_quotas_are_looked_at(moto):
    status, report = moto.call("GET", "/v1/quotas")
    assert status == 200, report
    assert {one["name"]: one["reason"] for one in report["quotas"]} == dict.fromkeys(
        ("rules", "roles", "clusters", "schedules", "targets_per_rule"))


def test_every_operation_of_the_code_was_made(request, moto):
    """Against the operations that the code names where it provisions and where it looks after tasks."""
    chosen = {item.originalname for item in request.session.items if item.path == request.node.path}
    if not {name for name in globals() if name.startswith("test_")} <= chosen:
        pytest.skip("only some tests of this file were chosen")
    source = "".join(
        file.read_text() for layer in ("provision", "fleet") for file in (ROOT / "api/src" / layer).rglob("*.rs"))
    named = set(re.findall(r'(?:Error::aws|AwsFault::of)\(\s*"(\w+:\w+)"', source))
    made = {call.operation for call in moto.recorder.calls if not call.operation.startswith("dynamodb:")}
    assert made == named - NOT_MADE.keys()
