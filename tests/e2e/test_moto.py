"""The same provisioning against a second, independent emulator: moto takes each call of Cronplane's, and
holds afterwards what was asked for.

moto starts no tasks on a schedule and tells of none, so this is about what Cronplane makes, changes and
takes away, not about runs.

Where moto is known to be wrong, it is told at the place: `SecondCloud.as_aws_answers` (the tags of a log group
that is not there, the tasks of a deregistered revision, a task's time and version), `SecondCloud.as_moto_takes_it`
(what a task can leave out), `fullest` (the tags of a log group that was deleted), `subscribers` (confirmed at once) and
`test_notifications_can_be_tested` (events for a topic).
"""

import json
import pathlib
import re
import zlib

import pytest
from conftest import REGION, ROOT, eventually
from moto_cloud import STACK, SecondCloud

TEAM = "platform"

# Every field that a definition can have; test_the_fullest_definition_has_every_field holds it to the API.
FULLEST = {
    "name": "fullest",
    "description": "Has everything that a job can have",
    "image": {"repository": "tools/report", "tag": "1.2.3"},
    "command": ["report", "--all"],
    "entry_point": ["/bin/sh", "-c"],
    "environment": {"PLACE": "here", "EMPTY": ""},
    "cpu": 512,
    "memory": 2048,
    "network": {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"], "assign_public_ip": True},
    "cluster": "shared",
    "task_role": "arn:aws:iam::123456789012:role/jobs/report",
    "schedule": "cron(0/15 8-18 ? * MON-FRI *)",
    "enabled": True,
    "log_retention_days": 90,
    "tags": {"cost-centre": "42", "owner": "us"},
    "notifications": {"subscribers": [
        {"protocol": "email", "endpoint": "ops@example.com"},
        {"protocol": "https", "endpoint": "https://hooks.example.com/cronplane"}]},
}

# Calls that are meant to be refused now and then: they ask whether something is there.
QUESTIONS = {
    "ecs:DescribeTaskDefinition": ("ClientException", "Unable to describe task definition"),
    "events:ListTagsForResource": ("ResourceNotFoundException", "Rule .* does not exist"),
    "sns:ListTagsForResource": ("ResourceNotFound", "Resource does not exist"),
    "logs:ListTagsForResource": ("ResourceNotFoundException", "The specified resource does not exist"),
    "iam:GetRole": ("NoSuchEntity", "Role .* not found"),
    # A role is brought up to date from where its creation fails.
    "iam:CreateRole": ("EntityAlreadyExists", "Role with name .* already exists"),
}

# Operations in the code that nothing here leads to, and why.
NOT_MADE = {
    "events:DisableRule": "made when a paused job's reconcile is hindered; nothing here hinders one",
    "logs:GetLogEvents": "reads a run's log, and moto tells of no runs",
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
    """FULLEST under a name of this test's own: in moto a new log group has the tags that one of its name had
    before it was deleted."""
    return {**FULLEST, "name": f"fullest-{zlib.crc32(request.node.name.encode()):08x}"}


@pytest.fixture
def post(moto):
    """Posts a job in whose place nothing was before, and sees at the end to it that nothing is again."""
    before, posted = everything(moto), []

    def post(definition: dict) -> dict:
        cluster = definition.get("cluster")
        if cluster:
            moto.client("ecs").create_cluster(clusterName=cluster)
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


def ready(job: dict) -> dict:
    """The job, after it was seen that AWS took all of it."""
    status = job["status"]
    assert (status["phase"], status["reason"]) == ("ready", None), status
    assert status["observed_generation"] == job["generation"]
    assert {(one["kind"], one["state"], one["reason"]) for one in status["resources"]} == {
        (kind, "ready", None) for kind in (
            "cluster", "log_group", "execution_role", "events_role", "topic", "task_definition", "schedule_rule",
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
    """The revision that the schedule starts, with its tags."""
    arn = schedule(moto, name)[1]["EcsParameters"]["TaskDefinitionArn"]
    answer = moto.client("ecs").describe_task_definition(taskDefinition=arn, include=["TAGS"])
    return {**answer["taskDefinition"], "tags": tags(answer["tags"])}


def rule(moto, name: str) -> tuple[dict, dict]:
    """A rule with its tags, and its one target."""
    events = moto.client("events")
    found = events.describe_rule(Name=name)
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    return {**found, "Tags": tags(events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"])}, target


def schedule(moto, name: str) -> tuple[dict, dict]:
    return rule(moto, f"{STACK}_{TEAM}_{name}")


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


def looked_at(moto, definition: dict) -> None:
    """Holds what moto has of a job against the job's definition."""
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
    (main,) = [one for one in found["containerDefinitions"] if one["name"] == "main"]
    assert main["essential"] is True
    assert main["image"] == (image if isinstance(image, str) else (
        f"{moto.account}.dkr.ecr.{REGION}.amazonaws.com/{image['repository']}:{image['tag']}"))
    assert (main.get("command"), main.get("entryPoint")) == (definition.get("command"), definition.get("entry_point"))
    environment = {one["name"]: one["value"] for one in main["environment"]}
    assert {**environment, **definition.get("environment", {})} == environment
    assert main["logConfiguration"] == {"logDriver": "awslogs", "options": {
        "awslogs-group": f"/cronplane/{STACK}/{TEAM}/{name}", "awslogs-region": REGION,
        "awslogs-stream-prefix": "run"}}

    scheduled, target = schedule(moto, name)
    assert scheduled["ScheduleExpression"] == definition["schedule"]
    assert scheduled["State"] == ("ENABLED" if definition.get("enabled", True) else "DISABLED")
    assert scheduled["Tags"] == expected_tags
    assert (target["Arn"], target["RoleArn"]) == (arns["cluster"], arns["events_role"])
    assert target["DeadLetterConfig"] == {"Arn": dead_letters}
    vpc = target["EcsParameters"]["NetworkConfiguration"]["awsvpcConfiguration"]
    assert vpc["Subnets"] == network["subnets"]
    assert vpc.get("SecurityGroups", []) == network.get("security_groups", [])
    assert vpc["AssignPublicIp"] == ("ENABLED" if network.get("assign_public_ip") else "DISABLED")
    assert target["EcsParameters"]["PropagateTags"] == "TASK_DEFINITION"
    template = json.loads(target["InputTransformer"]["InputTemplate"])
    assert template["containerOverrides"][0]["environment"][0]["name"] == "SCHEDULED_TIME"

    failures, told = rule(moto, f"{base}_failure")
    assert {"$or"} == json.loads(failures["EventPattern"]).keys()
    assert (failures["State"], failures["Tags"]) == ("ENABLED", expected_tags)
    assert (told["Arn"], told["DeadLetterConfig"]) == (arns["topic"], {"Arn": dead_letters})

    for kind, service in (("execution_role", "ecs-tasks"), ("events_role", "events")):
        made = role(moto, arns[kind])
        assert (made["Path"], made["Tags"]) == ("/cronplane/", expected_tags)
        assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
        (trust,) = made["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    statements = role(moto, arns["events_role"])["Statements"]
    assert statements["RunTask"]["Condition"]["ArnEquals"]["ecs:cluster"] == arns["cluster"]
    passed = [arns["execution_role"], *filter(None, [definition.get("task_role")])]
    assert statements["PassRoles"]["Resource"] == passed
    statements = role(moto, arns["execution_role"])["Statements"]
    assert statements["WriteLogs"]["Resource"].startswith(f"{arns['log_group']}:")
    assert ("PullImage" in statements) == isinstance(image, dict)

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
    definition = json.loads(file.read_text())
    post(definition)
    looked_at(moto, definition)


def test_the_fullest_job_is_made_and_taken_away(moto, fullest, post):
    post(fullest)
    looked_at(moto, fullest)


def test_the_same_again_makes_no_call_but_to_the_table(moto, fullest, post):
    post(fullest)
    before = len(moto.recorder.calls)
    change(moto, "PUT", fullest["name"], fullest)
    # The answer tells the subscriptions' states, which only SNS knows.
    assert {call.operation for call in moto.recorder.calls[before:]} == {
        "dynamodb:GetItem", "sns:ListSubscriptionsByTopic"}


@pytest.mark.parametrize("patch", [
    {"image": "busybox:2"},
    {"schedule": "rate(2 hours)"},
    {"tags": {"owner": None, "stage": "two"}},
    {"command": ["report", "--some"]},
    {"description": "Another one"},
    {"log_retention_days": 7},
    {"task_role": None},
    {"network": {"assign_public_ip": False}},
    {"notifications": {"subscribers": [{"protocol": "email", "endpoint": "other@example.com"}]}},
    {"cluster": None},
    {"enabled": False},
], ids=lambda patch: next(iter(patch)))
def test_patch_is_followed(moto, fullest, post, patch):
    post(fullest)
    change(moto, "PATCH", fullest["name"], patch)
    looked_at(moto, merged(fullest, patch))


def merged(value: dict, patch: dict) -> dict:
    """RFC 7396, for the patches here."""
    together = {**value, **{
        key: merged(value[key], change) if isinstance(change, dict) and isinstance(value.get(key), dict) else change
        for key, change in patch.items()}}
    return {key: change for key, change in together.items() if change is not None}


def test_own_cluster_has_the_tags_and_goes_when_the_job_moves(moto, fullest, post):
    definition = {key: value for key, value in fullest.items() if key != "cluster"}
    post(definition)
    looked_at(moto, definition)
    change(moto, "PATCH", fullest["name"], {"tags": {"owner": None, "stage": "two"}})
    looked_at(moto, merged(definition, {"tags": {"owner": None, "stage": "two"}}))
    change(moto, "PATCH", fullest["name"], {"tags": fullest["tags"] | {"stage": None}})
    moto.client("ecs").create_cluster(clusterName="shared")
    change(moto, "PATCH", fullest["name"], {"cluster": "shared"})
    looked_at(moto, fullest)
    assert f"{STACK}_{TEAM}_{fullest['name']}" not in everything(moto)["clusters"]


def test_put_brings_what_it_leaves_out_back_to_its_default(moto, fullest, post):
    post(fullest)
    least = {"name": fullest["name"], "image": "busybox:1", "schedule": "rate(1 day)"}
    change(moto, "PUT", fullest["name"], least)
    looked_at(moto, least)


def test_pause_and_resume(moto, fullest, post):
    post(fullest)
    for action, state in (("/pause", "DISABLED"), ("/resume", "ENABLED")):
        change(moto, "POST", fullest["name"], action=action)
        assert schedule(moto, fullest["name"])[0]["State"] == state


def test_notifications_can_be_tested(moto, fullest, post):
    """moto's PutEvents breaks off (NotImplementedError, a 500) where a rule's target is a topic or a cluster:
    it knows queues, log groups and buses (moto/events/models.py, `put_events`), so the event is put when the
    job's rules have no targets."""
    post(fullest)
    events = moto.client("events")
    for name in ("", "_failure"):
        events.remove_targets(Rule=f"{STACK}_{TEAM}_{fullest['name']}{name}", Ids=["main"])
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


# ---- the calls


def test_every_call_was_accepted(moto):
    def as_expected(call) -> bool:
        code, message = QUESTIONS.get(call.operation, (None, ""))
        return call.accepted or (call.code == code and bool(re.match(message, call.message)))

    assert [call for call in moto.recorder.calls if not as_expected(call)] == []


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
