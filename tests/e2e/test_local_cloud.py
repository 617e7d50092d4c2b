"""Conformance: the local cloud does what AWS does, in what Cronplane rests on. One test for each mend.

Most tests talk to a local cloud of their own. Those about time call the mended functions of MiniStack
in this process, with a clock of their own.
"""

import datetime
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import zipfile

import boto3
import pytest
from aws_requests import Call, World, requests_of
from botocore.exceptions import ClientError
from conftest import ACCOUNT, REGION, ROOT, LocalCloud, eventually

ROLE = f"arn:aws:iam::{ACCOUNT}:role/events"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}}
RULE_NETWORK = {"awsvpcConfiguration": {"Subnets": ["subnet-1"], "AssignPublicIp": "DISABLED"}}
RFC3339_MILLISECONDS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def refused(call, code, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


# --- Helpers over the cloud ---------------------------------------------------------------------

class Aws:
    """The services of the local cloud, and a queue for the task events of each family."""

    def __init__(self, cloud):
        for service in ("ecs", "events", "sqs", "logs", "sns", "scheduler", "s3", "cloudformation", "secretsmanager",
                        "ssm", "efs", "lambda", "iam", "service-quotas"):
            setattr(self, service, cloud.client(service))
        self.log_group = "/tests"
        self.logs.create_log_group(logGroupName=self.log_group)

    def cluster(self, **parameters):
        return self.ecs.create_cluster(clusterName=unique("cluster"), **parameters)["cluster"]

    def queue(self):
        url = self.sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
        return Queue(self.sqs, url)

    def container(self, name, *command, **more):
        return {
            "name": name, "image": "busybox:1", "command": list(command), "stopTimeout": 2,
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": self.log_group, "awslogs-region": REGION, "awslogs-stream-prefix": "run"}},
            **more,
        }

    def definition(self, *command, family=None, tags=(), sidecars=(), task=None, **main):
        return self.ecs.register_task_definition(
            family=family or unique("family"), requiresCompatibilities=["FARGATE"], networkMode="awsvpc",
            cpu="256", memory="512", containerDefinitions=[self.container("main", *command, **main), *sidecars],
            tags=list(tags), **(task or {}),
        )["taskDefinition"]

    def watch(self, definition):
        """A queue for the events of this family's tasks."""
        queue = self.queue()
        family = definition["taskDefinitionArn"].rsplit(":", 1)[0]
        self.rule_to(queue.arn, {
            "source": ["aws.ecs"], "detail-type": ["ECS Task State Change"],
            "detail": {"taskDefinitionArn": [{"prefix": f"{family}:"}]},
        })
        return queue

    def rule_to(self, target_arn, pattern, **target):
        name = unique("rule")
        self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=name, Targets=[{"Id": "main", "Arn": target_arn, **target}])
        return name

    def run(self, cluster, definition, **parameters):
        capacity = {} if "capacityProviderStrategy" in parameters else {"launchType": "FARGATE"}
        answer = self.ecs.run_task(
            cluster=cluster["clusterName"], taskDefinition=definition["taskDefinitionArn"],
            **{"networkConfiguration": NETWORK, **capacity, **parameters})
        return answer["tasks"][0]

    def task(self, task):
        return self.ecs.describe_tasks(cluster=task["clusterArn"], tasks=[task["taskArn"]])["tasks"][0]

    def until(self, task, status):
        return eventually(lambda: (now := self.task(task))["lastStatus"] == status and now, timeout=20)

    def log_lines(self, task, container="main"):
        stream = f"run/{container}/{task['taskArn'].rsplit('/', 1)[-1]}"
        events = self.logs.get_log_events(logGroupName=self.log_group, logStreamName=stream)["events"]
        return [event["message"] for event in events]


class Queue:
    def __init__(self, sqs, url):
        self.sqs, self.url = sqs, url
        self.arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def next(self, timeout=20):
        """The next message as (body, attributes); the queue is asked every half second."""
        def receive():
            return self.sqs.receive_message(QueueUrl=self.url, MessageAttributeNames=["All"]).get("Messages")

        message = eventually(receive, timeout)[0]
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        attributes = message.get("MessageAttributes", {})
        return message["Body"], {name: value["StringValue"] for name, value in attributes.items()}

    def event(self, timeout=20):
        return json.loads(self.next(timeout)[0])

    def task_events(self):
        """The details of a task's events, up to the one that says STOPPED."""
        details = []
        while not details or details[-1]["lastStatus"] != "STOPPED":
            details.append(self.event()["detail"])
        return details

    def is_empty(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return all(counts[name] == "0" for name in names)


@pytest.fixture(scope="module")
def aws(cloud):
    return Aws(cloud)


@pytest.fixture(scope="module")
def cluster(aws):
    return aws.cluster()


@pytest.fixture(scope="module")
def silent_task(aws, cluster):
    """Started early: its first line comes later than the cloud waits for its container runtime, and comes
    in two parts."""
    script = "sleep 6; printf 'one '; sleep 0.5; echo line; sleep 6; echo after"
    return aws.run(cluster, aws.definition("sh", "-c", script))


# --- Tasks and their events ---------------------------------------------------------------------

def test_task_makes_an_event_for_each_version(aws, cluster, silent_task):
    definition = aws.definition("sh", "-c", "echo hello; echo $GREETING; exit 7", tags=[{"key": "team", "value": "x"}])
    queue = aws.watch(definition)
    override = {"name": "main", "environment": [{"name": "GREETING", "value": "hi"}]}
    task = aws.run(cluster, definition, overrides={"containerOverrides": [override]}, startedBy="me",
                   propagateTags="TASK_DEFINITION")
    events = []
    while not events or events[-1]["detail"]["lastStatus"] != "STOPPED":
        events.append(queue.event())
    details = [event["detail"] for event in events]

    assert [detail["version"] for detail in details] == [1, 2, 3, 4, 5, 6]
    assert [(d["lastStatus"], d["desiredStatus"]) for d in details] == [
        ("PROVISIONING", "RUNNING"), ("PENDING", "RUNNING"), ("RUNNING", "RUNNING"),
        ("RUNNING", "STOPPED"), ("DEPROVISIONING", "STOPPED"), ("STOPPED", "STOPPED")]
    assert len({detail["createdAt"] for detail in details}) == 1
    last = details[-1]
    for field in ("createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "stoppingAt", "executionStoppedAt",
                  "stoppedAt", "updatedAt"):
        assert RFC3339_MILLISECONDS.match(last[field]), field
    assert (last["stopCode"], last["stoppedReason"]) == (
        "EssentialContainerExited", "Essential container in task exited")
    assert last["group"] == f"family:{definition['family']}"
    assert (last["startedBy"], last["launchType"], last["cpu"], last["memory"]) == ("me", "FARGATE", "256", "512")
    assert (last["enableExecuteCommand"], last["ephemeralStorage"]) == (False, {"sizeInGiB": 20})
    assert last["overrides"]["containerOverrides"] == [override]
    assert all(attachment["type"] == "eni" for attachment in last["attachments"])
    assert "tags" not in last and "containerInstanceArn" not in last
    container = last["containers"][0]
    assert (container["name"], container["exitCode"], container["lastStatus"]) == ("main", 7, "STOPPED")
    assert container["imageDigest"].startswith("sha256:") and container["runtimeId"]
    assert "exitCode" not in details[2]["containers"][0]

    envelope = events[-1]
    assert (envelope["source"], envelope["account"], envelope["region"]) == ("aws.ecs", ACCOUNT, REGION)
    assert envelope["resources"] == [task["taskArn"]]
    assert re.fullmatch(r"[0-9a-f]{32}", task["taskArn"].rsplit("/", 1)[-1])
    assert aws.log_lines(task) == ["hello", "hi"]  # as soon as the last event is there
    (described,) = aws.ecs.describe_tasks(
        cluster=task["clusterArn"], tasks=[task["taskArn"]], include=["TAGS"])["tasks"]
    assert described["tags"] == [{"key": "team", "value": "x"}]
    created = datetime.datetime.fromisoformat(last["createdAt"].replace("Z", "+00:00"))
    assert described["createdAt"] == created  # with its milliseconds


def test_image_that_cannot_be_pulled(aws, cluster):
    definition = aws.definition("true", image="127.0.0.1:1/none:1")
    queue = aws.watch(definition)
    aws.run(cluster, definition)
    last = queue.task_events()[-1]
    assert last["stopCode"] == "TaskFailedToStart"
    assert last["stoppedReason"].startswith("CannotPullContainerError: ")
    assert last["containers"][0]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in last["containers"][0]
    assert "startedAt" not in last and "executionStoppedAt" not in last


def test_entry_point_is_used_and_one_that_does_not_exist_cannot_start(aws, cluster):
    task = aws.run(cluster, aws.definition("a", "b", entryPoint=["echo", "entry"]))
    assert aws.until(task, "STOPPED")["containers"][0]["exitCode"] == 0
    assert aws.log_lines(task) == ["entry a b"]
    task = aws.run(cluster, aws.definition("a", entryPoint=["/none"]))
    stopped = aws.until(task, "STOPPED")
    assert stopped["stopCode"] == "TaskFailedToStart"
    assert stopped["stoppedReason"].startswith("CannotStartContainerError: ")
    assert "exitCode" not in stopped["containers"][0]


def test_stop_sends_sigterm_and_waits_for_the_end(aws, cluster):
    definition = aws.definition("sh", "-c", "trap 'exit 143' TERM; echo ready; sleep 60 & wait")
    queue = aws.watch(definition)
    task = aws.run(cluster, definition)
    eventually(lambda: aws.task(task)["lastStatus"] == "RUNNING" and aws.log_lines(task) == ["ready"])
    answer = aws.ecs.stop_task(cluster=cluster["clusterName"], task=task["taskArn"], reason="enough")["task"]
    assert (answer["lastStatus"], answer["desiredStatus"]) == ("RUNNING", "STOPPED")
    assert "exitCode" not in answer["containers"][0]
    last = queue.task_events()[-1]
    assert (last["stopCode"], last["stoppedReason"]) == ("UserInitiated", "enough")
    assert last["containers"][0]["exitCode"] == 143


def test_stop_kills_what_ignores_sigterm_after_its_stop_timeout(aws, cluster):
    task = aws.run(cluster, aws.definition("sleep", "60"))
    aws.until(task, "RUNNING")
    began = time.monotonic()
    aws.ecs.stop_task(cluster=cluster["clusterName"], task=task["taskArn"])
    stopped = aws.until(task, "STOPPED")
    assert stopped["containers"][0]["exitCode"] == 137
    assert 1.5 < time.monotonic() - began < 15


def test_stop_before_the_container_has_started(aws, cluster):
    slow = {"essential": False, "healthCheck": {"command": ["CMD", "false"]}}
    definition = aws.definition("true", dependsOn=[{"containerName": "slow", "condition": "HEALTHY"}],
                                sidecars=[aws.container("slow", "sleep", "60", **slow)])
    queue = aws.watch(definition)
    task = aws.run(cluster, definition)
    aws.until(task, "ACTIVATING")
    aws.ecs.stop_task(cluster=cluster["clusterName"], task=task["taskArn"], reason="at once")
    last = queue.task_events()[-1]
    assert (last["stopCode"], last["stoppedReason"]) == ("UserInitiated", "at once")
    assert "startedAt" not in last
    assert "exitCode" not in next(c for c in last["containers"] if c["name"] == "main")


def test_sidecar_is_stopped_with_the_essential_container(aws, cluster):
    script = "trap 'echo ending; exit 143' TERM; echo started; sleep 60 & wait"
    sidecar = aws.container("sidecar", "sh", "-c", script, essential=False)
    definition = aws.definition("sh", "-c", "echo working; sleep 1", sidecars=[sidecar])
    queue = aws.watch(definition)
    task = aws.run(cluster, definition)
    last = queue.task_events()[-1]
    assert {c["name"]: c["exitCode"] for c in last["containers"]} == {"main": 0, "sidecar": 143}
    assert last["stopCode"] == "EssentialContainerExited"
    assert (aws.log_lines(task), aws.log_lines(task, "sidecar")) == (["working"], ["started", "ending"])


def test_container_is_stopped_after_those_that_depend_on_it(aws, cluster):
    script = "trap 'sleep {}; date +%s; exit 0' TERM; touch /tmp/up; sleep 60 & wait"
    proxy = aws.container("proxy", "sh", "-c", script.format(0), essential=False)
    task = aws.run(cluster, aws.definition("sh", "-c", script.format(2), stopTimeout=10, sidecars=[proxy],
                                           dependsOn=[{"containerName": "proxy", "condition": "START"}]))
    aws.until(task, "RUNNING")
    time.sleep(1)  # the traps are set
    aws.ecs.stop_task(cluster=cluster["clusterName"], task=task["taskArn"])
    stopped = aws.until(task, "STOPPED")
    assert [container["exitCode"] for container in stopped["containers"]] == [0, 0]
    assert int(aws.log_lines(task, "proxy")[0]) >= int(aws.log_lines(task)[0])


def test_task_goes_on_when_a_sidecar_ends_and_tells_so(aws, cluster):
    sidecar = aws.container("sidecar", "sh", "-c", "exit 3", essential=False)
    definition = aws.definition("sleep", "3", sidecars=[sidecar])
    queue = aws.watch(definition)
    aws.run(cluster, definition)
    details = queue.task_events()
    assert [detail["version"] for detail in details] == [1, 2, 3, 4, 5, 6, 7]
    assert (details[3]["lastStatus"], details[3]["desiredStatus"]) == ("RUNNING", "RUNNING")
    assert {c["name"]: c.get("exitCode") for c in details[3]["containers"]} == {"main": None, "sidecar": 3}
    assert {c["name"]: c["exitCode"] for c in details[-1]["containers"]} == {"main": 0, "sidecar": 3}


# --- How containers start -----------------------------------------------------------------------

def test_container_starts_when_those_it_depends_on_are_as_it_needs_them(aws, cluster):
    """The main container is listed first, and starts last."""
    scratch = [{"sourceVolume": "scratch", "containerPath": "/scratch"}]
    containers = [
        aws.container("init", "sh", "-c", "sleep 1; echo init >> /scratch/order", essential=False, mountPoints=scratch),
        aws.container("quick", "sh", "-c", "sleep 1; echo quick >> /scratch/order; exit 1", essential=False,
                      mountPoints=scratch, dependsOn=[{"containerName": "init", "condition": "SUCCESS"}]),
        aws.container("server", "sh", "-c", "sleep 2; touch /tmp/up; sleep 60", essential=False,
                      healthCheck={"command": ["CMD-SHELL", "test -f /tmp/up"], "interval": 5}),
    ]
    definition = aws.definition(
        "cat", "/scratch/order", sidecars=containers, mountPoints=scratch, task={"volumes": [{"name": "scratch"}]},
        dependsOn=[{"containerName": "quick", "condition": "COMPLETE"},
                   {"containerName": "server", "condition": "HEALTHY"},
                   {"containerName": "init", "condition": "START"}])
    task = aws.until(aws.run(cluster, definition), "STOPPED")
    assert aws.log_lines(task) == ["init", "quick"]
    by_name = {container["name"]: container for container in task["containers"]}
    assert (by_name["server"]["healthStatus"], by_name["main"]["healthStatus"]) == ("HEALTHY", "UNKNOWN")
    assert {name: container["exitCode"] for name, container in by_name.items()} == {
        "main": 0, "init": 0, "quick": 1, "server": 137}


@pytest.mark.parametrize(("dependency", "command", "more"), [
    ("SUCCESS", ["false"], {}),
    ("HEALTHY", ["false"], {"healthCheck": {"command": ["CMD", "false"]}}),
    ("HEALTHY", ["sleep", "60"], {"startTimeout": 2, "healthCheck": {"command": ["CMD", "false"], "interval": 1}}),
    ("COMPLETE", ["sleep", "60"], {"startTimeout": 2}),
])
def test_container_whose_dependency_fails_never_starts(aws, cluster, dependency, command, more):
    first = aws.container("first", *command, essential=False, **more)
    definition = aws.definition("echo", "never", sidecars=[first],
                                dependsOn=[{"containerName": "first", "condition": dependency}])
    task = aws.until(aws.run(cluster, definition), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    by_name = {container["name"]: container for container in task["containers"]}
    assert "depends on first" in by_name["main"]["reason"] and "exitCode" not in by_name["main"]
    assert by_name["first"]["exitCode"] == (1 if command == ["false"] else 137)


@pytest.mark.parametrize(("name", "condition", "essential"), [
    ("nobody", "START", False), ("main", "START", False), ("first", "COMPLETE", True), ("first", "SUCCESS", True),
    ("first", "HEALTHY", False),
])
def test_dependencies_that_cannot_be(aws, name, condition, essential):
    with pytest.raises(ClientError, match="ClientException"):
        aws.definition("true", sidecars=[aws.container("first", "true", essential=essential)],
                       dependsOn=[{"containerName": name, "condition": condition}])


def test_health_is_told_and_ends_nothing(aws, cluster):
    check = {"command": ["CMD-SHELL", "test -f /tmp/healthy"], "interval": 1, "retries": 2}
    script = "touch /tmp/healthy; sleep 3; rm /tmp/healthy; sleep 6"
    task = aws.run(cluster, aws.definition("sh", "-c", script, healthCheck=check))

    def is_told(state):
        return lambda: aws.task(task)["healthStatus"] == aws.task(task)["containers"][0]["healthStatus"] == state

    eventually(is_told("HEALTHY"))
    eventually(is_told("UNHEALTHY"))
    stopped = aws.until(task, "STOPPED")
    assert (stopped["stopCode"], stopped["containers"][0]["exitCode"]) == ("EssentialContainerExited", 0)


def test_container_has_its_directory_user_and_labels(aws, cluster):
    import docker

    definition = aws.definition("sh", "-c", "pwd; id -u", workingDirectory="/tmp", user="65534",
                                dockerLabels={"a": "b"})
    task = aws.until(aws.run(cluster, definition), "STOPPED")
    assert aws.log_lines(task) == ["/tmp", "65534"]
    assert docker.from_env().containers.get(task["containers"][0]["runtimeId"]).labels["a"] == "b"


@pytest.mark.parametrize(("read_only", "line"), [(True, "refused"), (False, "written")])
def test_root_file_system_is_read_only_where_it_is_asked_for(aws, cluster, read_only, line):
    definition = aws.definition("sh", "-c", "touch /file 2>/dev/null && echo written || echo refused",
                                readonlyRootFilesystem=read_only)
    assert aws.log_lines(aws.until(aws.run(cluster, definition), "STOPPED")) == [line]


def test_arm64_runs_on_what_there_is(aws, cluster):
    platform = {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}
    task = aws.run(cluster, aws.definition("echo", "ran", task={"runtimePlatform": platform}))
    assert aws.until(task, "STOPPED")["containers"][0]["exitCode"] == 0
    assert aws.log_lines(task) == ["ran"]


# --- Secrets ------------------------------------------------------------------------------------

def test_secrets_are_in_the_environment(aws, cluster):
    secret = aws.secretsmanager.create_secret(Name=unique("secret"), SecretString='{"user": "a", "port": 1}')
    arn, first = secret["ARN"], secret["VersionId"]
    aws.secretsmanager.put_secret_value(SecretId=arn, SecretString='{"user": "b", "port": 2}')
    name = f"/{unique('parameter')}/one"
    aws.ssm.put_parameter(Name=name, Value="plain", Type="String")
    aws.ssm.put_parameter(Name=f"{name}/two", Value="hidden", Type="SecureString")
    parameter = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}"
    sources = {"WHOLE": arn, "KEY": f"{arn}:user::", "NUMBER": f"{arn}:port::", "STAGE": f"{arn}:user:AWSPREVIOUS:",
               "VERSION": f"{arn}:user::{first}", "ARN": parameter, "e": name, "SECURE": f"{parameter}/two"}
    definition = aws.definition(
        "sh", "-c", "; ".join(f'echo "${name}"' for name in sources),
        secrets=[{"name": name, "valueFrom": source} for name, source in sources.items()])
    task = aws.until(aws.run(cluster, definition), "STOPPED")
    assert aws.log_lines(task) == [
        '{"user": "b", "port": 2}', "b", "2", "a", "a", "plain", "plain", "hidden"]


MISSING_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:missing-AbCdEf"


@pytest.mark.parametrize(("more", "told"), [
    ({"secrets": [{"name": "A", "valueFrom": MISSING_SECRET}]}, MISSING_SECRET),
    ({"secrets": [{"name": "A", "valueFrom": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/missing"}]}, "missing"),
    ({"repositoryCredentials": {"credentialsParameter": MISSING_SECRET}}, "registry"),
])
def test_task_with_a_missing_secret_does_not_start(aws, cluster, more, told):
    """Nor does any other container of it."""
    definition = aws.definition("true", sidecars=[aws.container("second", "true", essential=False, **more)])
    queue = aws.watch(definition)
    aws.run(cluster, definition)
    last = queue.task_events()[-1]
    assert last["stopCode"] == "TaskFailedToStart"
    assert last["stoppedReason"].startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: ")
    assert told in last["stoppedReason"]
    assert all("exitCode" not in container and "runtimeId" not in container for container in last["containers"])


# --- Volumes ------------------------------------------------------------------------------------

def test_volume_is_shared_by_the_containers_of_a_task(aws, cloud, cluster):
    def mount(read_only):
        return [{"sourceVolume": "scratch", "containerPath": "/scratch", "readOnly": read_only}]

    writer = aws.container("writer", "sh", "-c", "echo written > /scratch/file", essential=False,
                           mountPoints=mount(False))
    definition = aws.definition(
        "sh", "-c", "cat /scratch/file; (echo more > /scratch/file) 2>/dev/null || echo refused", sidecars=[writer],
        mountPoints=mount(True), dependsOn=[{"containerName": "writer", "condition": "SUCCESS"}],
        task={"volumes": [{"name": "scratch"}]})
    for _ in range(2):  # the second one's volume is its own
        task = aws.until(aws.run(cluster, definition), "STOPPED")
        assert aws.log_lines(task) == ["written", "refused"]
    assert not list((cloud.state / "volumes/tasks").iterdir())


def test_efs_file_system_outlives_its_tasks(aws, cluster):
    file_system = aws.efs.create_file_system(CreationToken=unique("token"))["FileSystemId"]
    access_point = aws.efs.create_access_point(
        ClientToken=unique("token"), FileSystemId=file_system,
        RootDirectory={"Path": "/reports", "CreationInfo": {"OwnerUid": 0, "OwnerGid": 0, "Permissions": "0755"}},
    )["AccessPointId"]

    def lines(command, **configuration):
        definition = aws.definition(
            "sh", "-c", command, mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}],
            task={"volumes": [{"name": "data", "efsVolumeConfiguration": {
                "fileSystemId": file_system, **configuration}}]})
        return aws.log_lines(aws.until(aws.run(cluster, definition), "STOPPED"))

    point = {"transitEncryption": "ENABLED", "authorizationConfig": {"accessPointId": access_point}}
    assert lines("echo kept > /data/file; ls /data", **point) == ["file"]
    assert lines("cat /data/file", **point) == ["kept"]
    assert lines("cat /data/reports/file") == ["kept"]
    assert lines("cat /data/file", rootDirectory="/reports") == ["kept"]


@pytest.mark.parametrize("there", [False, True])
def test_efs_volume_that_cannot_be_mounted(aws, cluster, there):
    file_system = aws.efs.create_file_system(CreationToken=unique("token"))["FileSystemId"] if there else "fs-0123"
    definition = aws.definition(
        "true", mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}], task={"volumes": [
            {"name": "data", "efsVolumeConfiguration": {"fileSystemId": file_system, "rootDirectory": "/none"}}]})
    task = aws.until(aws.run(cluster, definition), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith(
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: ")
    assert ("No such file or directory" if there else f'Failed to resolve "{file_system}.efs.') in task["stoppedReason"]


# --- Task definitions ---------------------------------------------------------------------------

def test_definition_is_told_as_it_was_registered(aws):
    main = {
        "essential": True, "entryPoint": ["sh"], "user": "1000:1000", "workingDirectory": "/tmp", "stopTimeout": 90,
        "startTimeout": 30, "readonlyRootFilesystem": True, "environment": [{"name": "A", "value": "b"}],
        "environmentFiles": [{"value": "arn:aws:s3:::bucket/file.env", "type": "s3"}],
        "secrets": [{"name": "S", "valueFrom": MISSING_SECRET}],
        "dependsOn": [{"containerName": "sidecar", "condition": "HEALTHY"}],
        "mountPoints": [{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}],
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]},
                            "tmpfs": [{"containerPath": "/t", "size": 64}]},
        "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
        "systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}],
        "restartPolicy": {"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
        "dockerLabels": {"a": "b"}, "portMappings": [{"containerPort": 80, "name": "web", "appProtocol": "http"}],
        "repositoryCredentials": {"credentialsParameter": MISSING_SECRET},
        "cpu": 64, "memory": 128, "memoryReservation": 64, "interactive": True, "pseudoTerminal": True,
    }
    sidecar = aws.container("sidecar", "true", essential=False, healthCheck={"command": ["CMD", "true"]},
                            firelensConfiguration={"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}})
    task = {
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "ephemeralStorage": {"sizeInGiB": 50},
        "volumes": [{"name": "scratch"}, {"name": "data", "efsVolumeConfiguration": {
            "fileSystemId": "fs-0123", "rootDirectory": "/", "transitEncryption": "ENABLED",
            "authorizationConfig": {"accessPointId": "fsap-0123", "iam": "ENABLED"}}}],
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/task",
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/execution",
    }
    registered = aws.definition("run", sidecars=[sidecar], task=task, **main)
    answer = aws.ecs.describe_task_definition(taskDefinition=registered["taskDefinitionArn"])
    told = answer["taskDefinition"]
    assert told == registered
    assert {field: told[field] for field in task} == task
    assert (told["cpu"], told["memory"], told["requiresCompatibilities"]) == ("256", "512", ["FARGATE"])
    first, second = told["containerDefinitions"]
    main["portMappings"][0] |= {"hostPort": 80, "protocol": "tcp"}
    assert {field: first[field] for field in main} == main
    assert second["healthCheck"] == {"command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3}
    assert second["firelensConfiguration"] == sidecar["firelensConfiguration"]


def test_definition_has_defaults_and_no_empty_fields(aws):
    told = aws.definition("true")
    (main,) = told["containerDefinitions"]
    assert (main["cpu"], main["essential"]) == (0, True)
    for field in ("environment", "mountPoints", "portMappings", "systemControls", "volumesFrom"):
        assert main[field] == []
    assert not {"secrets", "dependsOn", "healthCheck", "user", "ulimits"} & main.keys()
    assert (told["volumes"], told["placementConstraints"]) == ([], [])
    assert not {"taskRoleArn", "executionRoleArn", "pidMode", "ipcMode", "runtimePlatform", "ephemeralStorage",
                "proxyConfiguration"} & told.keys()


# --- RunTask ------------------------------------------------------------------------------------

def test_run_task_is_told_whole(aws):
    cluster = aws.cluster(capacityProviders=["FARGATE", "FARGATE_SPOT"])
    definition = aws.definition("sh", "-c", "echo $KEPT $GIVEN", environment=[
        {"name": "KEPT", "value": "kept"}, {"name": "GIVEN", "value": "not this"}])
    queue = aws.watch(definition)
    started_by = "cronplane/" + "x" * 118
    assert len(started_by) == 128
    overrides = {"cpu": "1024", "memory": "2048", "ephemeralStorage": {"sizeInGiB": 30}, "containerOverrides": [
        {"name": "main", "command": ["sh", "-c", "echo over $KEPT $GIVEN"],
         "environment": [{"name": "GIVEN", "value": "given"}]}]}
    answer = aws.run(
        cluster, definition, startedBy=started_by, group="mine", overrides=overrides, enableExecuteCommand=True,
        platformVersion="1.4.0", enableECSManagedTags=True, tags=[{"key": "a", "value": "b"}],
        capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}])
    last = queue.task_events()[-1]
    (described,) = aws.ecs.describe_tasks(
        cluster=cluster["clusterArn"], tasks=[answer["taskArn"]], include=["TAGS"])["tasks"]
    for told in (answer, described, last):
        assert (told["startedBy"], told["group"]) == (started_by, "mine")
        assert (told["cpu"], told["memory"], told["ephemeralStorage"]) == ("1024", "2048", {"sizeInGiB": 30})
        assert (told["capacityProviderName"], told["launchType"]) == ("FARGATE_SPOT", "FARGATE")
        assert (told["enableExecuteCommand"], told["platformVersion"]) == (True, "1.4.0")
        assert told["overrides"]["containerOverrides"] == overrides["containerOverrides"]
    assert described["tags"] == [{"key": "a", "value": "b"},
                                 {"key": "aws:ecs:clusterName", "value": cluster["clusterName"]}]
    assert aws.log_lines(answer) == ["over kept given"]
    assert "capacityProviderName" not in aws.run(cluster, definition)


def test_tasks_are_found_by_who_started_them(aws, cluster):
    definition, started_by = aws.definition("sleep", "60"), unique("me")
    tasks = [aws.run(cluster, definition, startedBy=by) for by in (started_by, f"{started_by}-not")]
    found = {"cluster": cluster["clusterArn"], "startedBy": started_by}
    assert aws.ecs.list_tasks(**found)["taskArns"] == [tasks[0]["taskArn"]]
    for other in ({"family": definition["family"]}, {"desiredStatus": "STOPPED"}, {"launchType": "FARGATE"}):
        message = refused(aws.ecs.list_tasks, "InvalidParameterException", **found, **other)
        assert message == "cannot specify startedBy with other arguments"
    for task in tasks:
        aws.ecs.stop_task(cluster=cluster["clusterName"], task=task["taskArn"])
        aws.until(task, "STOPPED")
    assert aws.ecs.list_tasks(**found)["taskArns"] == []  # it lists what is wanted running


@pytest.mark.parametrize(("parameters", "code", "told"), [
    ({"startedBy": "x" * 129}, "InvalidParameterException", "startedBy"),
    ({"clientToken": "x" * 65}, "InvalidParameterException", "clientToken"),
    ({"clientToken": "a b"}, "InvalidParameterException", "clientToken"),
    ({"platformVersion": "9.9.9"}, "PlatformUnknownException", "platform version"),
    ({"launchType": "EC2"}, "InvalidParameterException", "No Container Instances were found"),
    ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}, "InvalidParameterException",
     "not associated with the cluster"),
    ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}], "launchType": "FARGATE"},
     "InvalidParameterException", "both a launch type and capacity provider strategy"),
    ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}, {"capacityProvider": "FARGATE", "base": 1}]},
     "InvalidParameterException", "weight value greater than zero"),
])
def test_what_else_run_task_refuses(aws, parameters, code, told):
    cluster = aws.cluster(capacityProviders=["FARGATE"])
    assert told in refused(aws.run, code, cluster=cluster, definition=aws.definition("true"), **parameters)


def test_cluster_without_a_launch_type_runs_on_its_default_strategy(aws):
    cluster, definition = aws.cluster(), aws.definition("true")
    request = {"cluster": cluster["clusterArn"], "taskDefinition": definition["taskDefinitionArn"],
               "networkConfiguration": NETWORK}
    assert "No Container Instances" in refused(aws.ecs.run_task, "InvalidParameterException", **request)
    aws.ecs.put_cluster_capacity_providers(
        cluster=cluster["clusterArn"], capacityProviders=["FARGATE"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}])
    (task,) = aws.ecs.run_task(**request)["tasks"]
    assert (task["launchType"], task["capacityProviderName"]) == ("FARGATE", "FARGATE")


def test_capacity_providers_of_a_cluster(aws):
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
    cluster = aws.cluster(capacityProviders=["FARGATE_SPOT"], defaultCapacityProviderStrategy=strategy)

    def told():
        (found,) = aws.ecs.describe_clusters(clusters=[cluster["clusterArn"]])["clusters"]
        return found["capacityProviders"], found["defaultCapacityProviderStrategy"]

    assert told() == (["FARGATE_SPOT"], strategy)
    again = {"clusterName": cluster["clusterName"], "capacityProviders": ["FARGATE_SPOT"]}
    aws.ecs.create_cluster(**again, defaultCapacityProviderStrategy=strategy)
    assert "idempotent" in refused(aws.ecs.create_cluster, "InvalidParameterException", **again)
    assert "was not found" in refused(aws.ecs.create_cluster, "InvalidParameterException", clusterName=unique("none"),
                                      capacityProviders=["nobody"])
    put = aws.ecs.put_cluster_capacity_providers
    name = cluster["clusterName"]
    assert "was not found" in refused(put, "InvalidParameterException", cluster=name, capacityProviders=["nobody"],
                                      defaultCapacityProviderStrategy=[])
    assert "not associated" in refused(put, "InvalidParameterException", cluster=name, capacityProviders=["FARGATE"],
                                       defaultCapacityProviderStrategy=strategy)
    refused(put, "ClusterNotFoundException", cluster="nowhere", capacityProviders=[],
            defaultCapacityProviderStrategy=[])
    task = aws.run(cluster, aws.definition("sleep", "60"), capacityProviderStrategy=strategy)
    refused(put, "ResourceInUseException", cluster=name, capacityProviders=["FARGATE"],
            defaultCapacityProviderStrategy=[])
    aws.ecs.stop_task(cluster=name, task=task["taskArn"])
    aws.until(task, "STOPPED")
    put(cluster=name, capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[])
    assert told() == (["FARGATE"], [])


def test_client_token_starts_a_task_once(aws, cluster):
    definition, token = aws.definition("true"), uuid.uuid4().hex
    first = aws.run(cluster, definition, clientToken=token)
    assert aws.run(cluster, definition, clientToken=token)["taskArn"] == first["taskArn"]
    refused(aws.run, "ConflictException", cluster=cluster, definition=definition, clientToken=token, startedBy="other")
    assert aws.run(cluster, definition, clientToken=uuid.uuid4().hex)["taskArn"] != first["taskArn"]


def test_spot_that_is_used_up_is_told_without_an_error(aws, cloud, cluster):
    name, definition, token = cluster["clusterName"], aws.definition("true"), uuid.uuid4().hex
    aws.ecs.put_cluster_capacity_providers(
        cluster=name, capacityProviders=["FARGATE", "FARGATE_SPOT"], defaultCapacityProviderStrategy=[])
    spot = {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}], "clientToken": token,
            "networkConfiguration": NETWORK}
    no_spot = cloud.state / "no-spot"
    no_spot.touch()
    try:
        answer = aws.ecs.run_task(cluster=name, taskDefinition=definition["taskDefinitionArn"], **spot)
        assert answer["tasks"] == []
        assert [failure["reason"].split(".")[0] for failure in answer["failures"]] == [
            "Capacity is unavailable at this time"]
        assert aws.run(cluster, definition)["lastStatus"] != "STOPPED"
    finally:
        no_spot.unlink()
    # What started nothing has used up no token.
    answer = aws.ecs.run_task(cluster=name, taskDefinition=definition["taskDefinitionArn"], **spot)
    assert [task["capacityProviderName"] for task in answer["tasks"]] == ["FARGATE_SPOT"]


def test_unknown_cluster_is_refused(aws):
    definition, cluster = aws.definition("true"), {"clusterName": "nowhere"}
    refused(aws.run, "ClusterNotFoundException", cluster=cluster, definition=definition)
    refused(aws.ecs.list_tasks, "ClusterNotFoundException", cluster="nowhere")
    refused(aws.ecs.describe_tasks, "ClusterNotFoundException", cluster="nowhere", tasks=["a"])
    refused(aws.ecs.stop_task, "ClusterNotFoundException", cluster="nowhere", task="a")


def test_what_run_task_refuses(aws, cluster):
    definition = aws.definition("true")
    override = {"containerOverrides": [{"name": "other"}]}
    refused(aws.run, "InvalidParameterException", cluster=cluster, definition=definition, overrides=override)
    with pytest.raises(ClientError, match="Network Configuration"):
        aws.ecs.run_task(cluster=cluster["clusterName"], taskDefinition=definition["taskDefinitionArn"])
    aws.ecs.deregister_task_definition(taskDefinition=definition["taskDefinitionArn"])
    message = refused(aws.run, "ClientException", cluster=cluster, definition=definition)
    assert message == "TaskDefinition is inactive"


def test_cluster_with_tasks_is_not_deleted(aws):
    cluster = aws.cluster()
    task = aws.run(cluster, aws.definition("sleep", "60"))
    refused(aws.ecs.delete_cluster, "ClusterContainsTasksException", cluster=cluster["clusterName"])
    aws.ecs.stop_task(cluster=cluster["clusterName"], task=task["taskArn"])
    aws.until(task, "STOPPED")
    aws.ecs.delete_cluster(cluster=cluster["clusterName"])
    answer = aws.ecs.describe_clusters(clusters=[cluster["clusterName"], "nowhere"])
    assert [found["status"] for found in answer["clusters"]] == ["INACTIVE"]
    assert [failure["arn"].rsplit("/", 1)[-1] for failure in answer["failures"]] == ["nowhere"]
    refused(aws.run, "ClusterNotFoundException", cluster=cluster, definition=aws.definition("true"))


def test_family_prefix_is_the_whole_family(aws):
    family = unique("family")
    mine = aws.definition("true", family=family)["taskDefinitionArn"]
    aws.definition("true", family=f"{family}-longer")
    assert aws.ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"] == [mine]


def test_family_means_its_latest_active_revision(aws):
    family = unique("family")
    first = aws.definition("true", family=family)["taskDefinitionArn"]
    second = aws.definition("true", family=family)["taskDefinitionArn"]
    aws.ecs.deregister_task_definition(taskDefinition=second)
    described = aws.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    assert described["taskDefinitionArn"] == first
    assert aws.ecs.describe_task_definition(taskDefinition=second)["taskDefinition"]["status"] == "INACTIVE"
    aws.ecs.deregister_task_definition(taskDefinition=first)
    refused(aws.ecs.describe_task_definition, "ClientException", taskDefinition=family)


# --- Rules: matching ----------------------------------------------------------------------------

PATTERN = {
    "source": ["aws.ecs"],
    "detail": {
        "taskDefinitionArn": [{"prefix": "arn:family:"}],
        "$or": [
            {"containers": {"name": ["main"], "exitCode": [{"anything-but": [0]}]}},
            {"stopCode": ["TaskFailedToStart"]},
        ],
    },
}


@pytest.mark.parametrize(("detail", "matches"), [
    ({"containers": [{"name": "main", "exitCode": 1}, {"name": "log", "exitCode": 0}]}, True),
    ({"containers": [{"name": "main", "exitCode": 0}, {"name": "log", "exitCode": 143}]}, False),
    ({"containers": [{"name": "main"}]}, False),
    ({"containers": [{"name": "main"}], "stopCode": "TaskFailedToStart"}, True),
    ({"containers": [{"name": "main", "exitCode": 0}], "stopCode": "UserInitiated"}, False),
    ({"containers": [{"name": "main", "exitCode": 1}], "taskDefinitionArn": "arn:other:1"}, False),
])
def test_fields_of_one_array_element_match_together(aws, detail, matches):
    assert _matches(aws, PATTERN, "aws.ecs", {"taskDefinitionArn": "arn:family:1", **detail}) is matches


@pytest.mark.parametrize(("pattern", "matches"), [
    ({"$or": [{"source": ["x"]}, {"source": ["mine"], "detail": {"n": [{"exists": True}]}}]}, True),
    ({"$or": [{"source": ["x"]}, {"source": ["mine"], "detail": {"n": [{"exists": False}]}}]}, False),
    ({"detail": {"n": [{"anything-but": [1, 2]}]}}, True),
    ({"detail": {"n": [{"anything-but": [2, 3]}]}}, False),
])
def test_or_stands_at_the_top_and_around_nested_objects(aws, pattern, matches):
    assert _matches(aws, pattern, "mine", {"n": 3}) is matches


def _matches(aws, pattern, source, detail):
    event = {"version": "0", "id": "1", "detail-type": "T", "source": source, "account": ACCOUNT, "region": REGION,
             "time": "2026-01-01T00:00:00Z", "resources": [], "detail": detail}
    return aws.events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))["Result"]


def test_only_aws_puts_events_of_aws(aws):
    answer = aws.events.put_events(Entries=[{"Source": "aws.ecs", "DetailType": "T", "Detail": "{}"}])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


# --- Rules: what they start ---------------------------------------------------------------------

def test_rule_runs_a_task(aws, cluster):
    definition = aws.definition("true")
    queue, source = aws.watch(definition), unique("source")
    template = json.dumps({"containerOverrides": [{"name": "main", "environment": [
        {"name": "SECOND", "value": "<second>"}, {"name": "RULE", "value": "<aws.events.rule-name>"}]}]})
    rule = aws.rule_to(cluster["clusterArn"], {"source": [source]}, RoleArn=ROLE, EcsParameters={
        "TaskDefinitionArn": definition["taskDefinitionArn"], "LaunchType": "FARGATE", "TaskCount": 1,
        "NetworkConfiguration": RULE_NETWORK, "Group": "own", "Tags": [{"Key": "a", "Value": "b"}],
        "PropagateTags": "TASK_DEFINITION",
    }, InputTransformer={"InputPathsMap": {"second": "$.detail.list[1].name"}, "InputTemplate": template})
    detail = {"list": [{"name": "one"}, {"name": "two"}]}
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": json.dumps(detail)}])
    last = queue.task_events()[-1]
    assert last["startedBy"] == f"events-rule/{rule}"[:36]
    assert last["group"] == "own"
    assert last["overrides"]["containerOverrides"][0]["environment"] == [
        {"name": "SECOND", "value": "two"}, {"name": "RULE", "value": rule}]
    task = aws.ecs.describe_tasks(cluster=cluster["clusterArn"], tasks=[last["taskArn"]], include=["TAGS"])["tasks"][0]
    assert {"key": "a", "value": "b"} in task["tags"]


def test_parameters_of_a_rule_reach_the_task(aws):
    cluster = aws.cluster(capacityProviders=["FARGATE_SPOT"])
    definition = aws.definition("true", tags=[{"key": "team", "value": "x"}])
    queue, source = aws.watch(definition), unique("source")
    aws.rule_to(cluster["clusterArn"], {"source": [source]}, RoleArn=ROLE, EcsParameters={
        "TaskDefinitionArn": definition["taskDefinitionArn"], "TaskCount": 1, "NetworkConfiguration": RULE_NETWORK,
        "CapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}],
        "PlatformVersion": "1.3.0", "EnableExecuteCommand": True, "EnableECSManagedTags": True,
        "PropagateTags": "TASK_DEFINITION"})
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": "{}"}])
    last = queue.task_events()[-1]
    assert (last["capacityProviderName"], last["launchType"]) == ("FARGATE_SPOT", "FARGATE")
    assert (last["platformVersion"], last["enableExecuteCommand"]) == ("1.3.0", True)
    (task,) = aws.ecs.describe_tasks(
        cluster=cluster["clusterArn"], tasks=[last["taskArn"]], include=["TAGS"])["tasks"]
    assert task["tags"] == [{"key": "team", "value": "x"},
                            {"key": "aws:ecs:clusterName", "value": cluster["clusterName"]}]


def test_started_by_is_cut_to_36_characters(aws, cluster):
    definition = aws.definition("true")
    queue, source = aws.watch(definition), unique("source")
    name = "cronplane_platform_a-name-far-beyond-thirty-six-characters"
    aws.events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
    aws.events.put_targets(Rule=name, Targets=[{"Id": "main", "Arn": cluster["clusterArn"], "RoleArn": ROLE,
                           "EcsParameters": {"TaskDefinitionArn": definition["taskDefinitionArn"],
                                             "LaunchType": "FARGATE", "NetworkConfiguration": RULE_NETWORK}}])
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": "{}"}])
    started_by = queue.task_events()[-1]["startedBy"]
    assert started_by == "events-rule/cronplane_platform_a-nam"
    assert len(started_by) == 36


def test_reserved_variables_of_a_template(aws):
    queue, source = aws.queue(), unique("source")
    template = ('{"rule": <aws.events.rule-arn>, "name": "<aws.events.rule-name>", '
                '"at": <aws.events.event.ingestion-time>, "event": <aws.events.event.json>}')
    rule = aws.rule_to(queue.arn, {"source": [source]}, InputTransformer={"InputTemplate": template})
    detail = {"reason": 'it said "no"', "nothing": None}
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": json.dumps(detail)}])
    message = queue.event()
    assert message["rule"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}"
    assert message["name"] == rule
    assert message["event"]["detail"] == detail and message["event"]["source"] == source
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", message["at"])


@pytest.mark.parametrize(("target", "code"), [
    ({"Arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/nowhere", "RoleArn": ROLE,
      "EcsParameters": {"TaskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/x:1"}}, "NO_RESOURCE"),
    ({"Arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/nowhere", "RoleArn": ROLE, "Input": '{"a": "b" "c"}',
      "EcsParameters": {"TaskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/x:1"}}, "INVALID_JSON"),
    ({"Arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:nowhere"}, "NO_RESOURCE"),
    ({"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:nowhere"}, "NO_RESOURCE"),
    ({"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:nowhere"}, "NO_RESOURCE"),
])
def test_what_a_rule_cannot_deliver_goes_to_the_dead_letter_queue(aws, target, code):
    queue, source = aws.queue(), unique("source")
    rule = aws.rule_to(target["Arn"], {"source": [source]}, DeadLetterConfig={"Arn": queue.arn},
                       **{key: value for key, value in target.items() if key != "Arn"})
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": '{"a": 1}'}])
    body, attributes = queue.next()
    assert attributes.pop("ERROR_MESSAGE")
    assert attributes == {"RULE_ARN": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}", "TARGET_ARN": target["Arn"],
                          "ERROR_CODE": code, "RETRY_ATTEMPTS": "0"}
    assert json.loads(body)["detail"] == {"a": 1}  # the event itself, not the target's input


# --- Rules: their keeping -----------------------------------------------------------------------

def test_rule_with_targets_is_not_deleted(aws):
    rule = aws.rule_to(aws.queue().arn, {"source": ["none"]})
    message = refused(aws.events.delete_rule, "ValidationException", Name=rule)
    assert message == "Rule can't be deleted since it has targets."
    aws.events.remove_targets(Rule=rule, Ids=["main"])
    aws.events.delete_rule(Name=rule)
    refused(aws.events.describe_rule, "ResourceNotFoundException", Name=rule)


def test_unknown_rule_is_not_found(aws):
    for call, name in ((aws.events.enable_rule, "Name"), (aws.events.disable_rule, "Name"),
                       (aws.events.list_targets_by_rule, "Rule")):
        refused(call, "ResourceNotFoundException", **{name: "nowhere"})
    refused(aws.events.remove_targets, "ResourceNotFoundException", Rule="nowhere", Ids=["a"])


def test_put_rule_replaces_all_but_the_tags(aws):
    name, tag = unique("rule"), {"Key": "a", "Value": "b"}
    aws.events.put_rule(Name=name, ScheduleExpression="rate(1 day)", Description="d", State="DISABLED", Tags=[tag])
    other = [{"Key": "c", "Value": "d"}]
    arn = aws.events.put_rule(Name=name, ScheduleExpression="rate(2 days)", Tags=other)["RuleArn"]
    rule = aws.events.describe_rule(Name=name)
    assert (rule["State"], rule.get("Description")) == ("ENABLED", None)
    assert aws.events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [tag]


def test_input_of_a_target_has_a_length(aws):
    rule = aws.rule_to(aws.queue().arn, {"source": ["none"]})
    target = {"Id": "main", "Arn": aws.queue().arn, "Input": json.dumps("a" * 8190)}
    aws.events.put_targets(Rule=rule, Targets=[target])
    refused(aws.events.put_targets, "ValidationException", Rule=rule,
            Targets=[{**target, "Input": json.dumps("a" * 8191)}])


def test_rules_are_listed_by_the_page(aws):
    prefix = unique("listed")
    names = {f"{prefix}-{number}" for number in range(5)}
    for name in names:
        aws.events.put_rule(Name=name, ScheduleExpression="rate(1 day)", State="DISABLED")
    pages, more = [], {}
    while not pages or more:
        answer = aws.events.list_rules(NamePrefix=prefix, Limit=2, **more)
        pages.append([rule["Name"] for rule in answer["Rules"]])
        more = {"NextToken": answer["NextToken"]} if "NextToken" in answer else {}
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {name for page in pages for name in page} == names


def test_ecs_target_needs_a_role(aws, cluster):
    rule = unique("rule")
    aws.events.put_rule(Name=rule, EventPattern='{"source": ["none"]}')
    target = {"Id": "main", "Arn": cluster["clusterArn"], "EcsParameters": {"TaskDefinitionArn": "arn"}}
    refused(aws.events.put_targets, "ValidationException", Rule=rule, Targets=[target])


# --- Rules: when they fire (in this process, with a clock of its own) ----------------------------

class Clock:
    """MiniStack's EventBridge and Scheduler in this process, at a time of the test's choice."""

    def __init__(self, monkeypatch, start):
        from local_cloud import rules, schedules
        from ministack.services import eventbridge, scheduler

        self.now, self.eb, self.scheduler, self.fired = start, eventbridge, scheduler, []
        eventbridge.reset()
        eventbridge._ensure_default_bus()
        scheduler.reset()
        schedules._looked_at.clear()
        monkeypatch.setattr(eventbridge, "_now_ts", lambda: self.now)
        monkeypatch.setattr(rules.time, "time", lambda: self.now)
        monkeypatch.setattr(eventbridge, "_dispatch_to_lambda", self._fire)
        monkeypatch.setattr(rules, "_missing_resource", lambda arn: None)

    def _fire(self, _arn, payload):
        self.fired.append(json.loads(payload))

    def put_rule(self, **rule):
        assert self.eb._put_rule({"Name": "r", **rule})[0] == 200
        target = {"Id": "main", "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}
        self.eb._put_targets({"Rule": "r", "Targets": [target]})

    def run(self, seconds, step=1):
        """The moments within the next seconds at which the rule fired."""
        moments = []
        end = self.now + seconds
        while self.now < end:
            self.now += step
            before = len(self.fired)
            self.eb._tick_scheduled_rules()
            moments += [self.now] * (len(self.fired) - before)
        return moments

    def put_schedule(self, expression, call="_create_schedule", name="s", **more):
        """The status, and what is said when it is refused."""
        status, _, body = getattr(self.scheduler, call)(name, {
            "ScheduleExpression": expression, "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": {
                "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", "RoleArn": ROLE,
                "Input": '{"at": "<aws.scheduler.scheduled-time>"}'}, **more})
        return status, json.loads(body).get("Message")

    def starts(self, until):
        """The scheduled times of what starts up to then; what is due at that very moment starts a moment later."""
        self.now = until
        before = len(self.fired)
        self.scheduler._tick_schedules()
        return [event["at"] for event in self.fired[before:]]


def utc(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp()


MIDNIGHT = utc("2026-03-01")


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return Clock(monkeypatch, MIDNIGHT + 10)


def test_rules_are_looked_at_every_second(clock):
    assert clock.eb._SCHEDULER_TICK_INTERVAL == 1


def test_rate_counts_from_creation(clock):
    clock.put_rule(ScheduleExpression="rate(1 minute)")
    assert clock.run(130) == [MIDNIGHT + 70, MIDNIGHT + 130]


def test_enabling_again_counts_anew_and_does_not_start_at_once(clock):
    clock.put_rule(ScheduleExpression="rate(5 minutes)")
    clock.eb._disable_rule({"Name": "r"})
    assert clock.run(600) == []
    clock.eb._enable_rule({"Name": "r"})
    assert clock.run(290) == []
    assert clock.run(20) == [MIDNIGHT + 910]


def test_enabling_through_put_rule_counts_anew(clock):
    clock.put_rule(ScheduleExpression="cron(* * * * ? *)", State="DISABLED")
    assert clock.run(200) == []
    clock.put_rule(ScheduleExpression="cron(* * * * ? *)", State="ENABLED")
    assert clock.run(29) == []
    assert clock.run(5) == [MIDNIGHT + 240]


def test_rule_made_again_does_not_start_at_once(clock):
    clock.put_rule(ScheduleExpression="rate(1 minute)")
    clock.run(61)
    clock.eb._remove_targets({"Rule": "r", "Ids": ["main"]})
    clock.eb._delete_rule({"Name": "r"})
    clock.run(600)
    clock.put_rule(ScheduleExpression="rate(1 minute)")
    assert clock.run(59) == []


def test_rate_does_not_drift(clock):
    clock.put_rule(ScheduleExpression="rate(1 minute)")
    moments = clock.run(3600, step=0.7)
    assert len(moments) == 60
    assert all(moment - (MIDNIGHT + 10) - 60 * (n + 1) < 1 for n, moment in enumerate(moments))


def test_scheduled_time_is_on_the_minute(clock):
    clock.put_rule(ScheduleExpression="cron(* * * * ? *)")
    clock.now = MIDNIGHT + 10.4
    clock.run(120, step=1.3)
    assert [event["time"] for event in clock.fired] == ["2026-03-01T00:01:00Z", "2026-03-01T00:02:00Z"]
    assert clock.fired[0]["detail-type"] == "Scheduled Event"


# --- Expressions --------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "hours"), [
    ("cron(0 20-2 * * ? *)", {20, 21, 22, 23, 0, 1, 2}),
    ("cron(0 22-3/2 * * ? *)", {22, 0, 2}),
    ("cron(0 8-10 * * ? *)", {8, 9, 10}),
])
def test_cron_ranges_wrap(clock, expression, hours):
    assert clock.eb._parse_cron_fields(expression)[1] == hours


def test_named_cron_ranges_wrap(clock):
    assert clock.eb._parse_cron_fields("cron(0 0 ? * FRI-MON *)")[4]["days"] == {6, 7, 1, 2}


@pytest.mark.parametrize(("expression", "starts"), [
    ("cron(0/15 8 2 * ? *)", "03-02T08:00 03-02T08:15 03-02T08:30 03-02T08:45 04-02T08:00"),
    ("cron(50-5/5 0 2 * ? *)", "03-02T00:00 03-02T00:05 03-02T00:50 03-02T00:55 04-02T00:00"),
    ("cron(0 8 L * ? *)", "03-31T08:00 04-30T08:00 05-31T08:00"),
    ("cron(0 8 LW * ? *)", "03-31T08:00 04-30T08:00 05-29T08:00"),
    ("cron(0 8 1W * ? *)", "03-02T08:00 04-01T08:00 05-01T08:00 06-01T08:00"),
    ("cron(0 8 15W * ? *)", "03-16T08:00 04-15T08:00 05-15T08:00"),
    ("cron(0 8 ? * 6L *)", "03-27T08:00 04-24T08:00 05-29T08:00"),
    ("cron(0 8 ? * 3#2 *)", "03-10T08:00 04-14T08:00 05-12T08:00"),
    ("cron(0 8 ? * MON#5 *)", "03-30T08:00 06-29T08:00"),
    ("cron(5 9 ? APR,NOV-JAN SAT-SUN *)", "04-04T09:05 04-05T09:05 04-11T09:05"),
    ("cron(0 0 1 JUN ? 2025-2026)", "06-01T00:00"),
    ("cron(0 0 1 JUN ? 2027)", ""),
])
def test_cron_of_a_rule_and_of_a_schedule(clock, expression, starts):
    wanted = [f"2026-{start}" for start in starts.split()]
    fields, moment, found = clock.eb._parse_cron_fields(expression), datetime.datetime(2026, 3, 1, 0, 0, 10), []
    while len(found) < len(wanted):
        moment = clock.eb._cron_next_fire(fields, moment)
        found.append(f"{moment:%Y-%m-%dT%H:%M}")
    assert found == wanted
    assert clock.put_schedule(expression)[0] == 200
    until = utc(wanted[-1]) + 60 if wanted else utc("2026-12-31")
    assert clock.starts(until) == [f"{start}:00Z" for start in wanted]


@pytest.mark.parametrize("expression", [
    "rate(5 minute)", "rate(1 minutes)", "rate(0 minutes)", "rate(-1 minutes)", "rate(1.5 hours)", "rate(5 weeks)",
    "rate(5minutes)", "cron(0 8 * * ?)", "cron(0 8 * * * *)", "cron(0 8 ? * ? *)", "cron(0 8 1 * MON *)",
    "cron(60 8 * * ? *)", "cron(0 24 * * ? *)", "cron(0 8 0 * ? *)", "cron(0 8 ? 13 * *)", "cron(0 8 ? * 8 *)",
    "cron(0 8 * * ? 1969)", "cron(0 8 * * ? ?)", "cron(? 8 * * ? *)", "cron(0 8 ? * MON/2 *)", "cron(0 8 ? * 3#6 *)",
    "cron(*/0 8 * * ? *)", "cron(1,,2 8 * * ? *)", "0 8 * * ? *", "every day", "",
])
def test_malformed_expression_is_refused(clock, expression):
    assert not expression or clock.eb._put_rule({"Name": "r", "ScheduleExpression": expression})[0] == 400
    status, message = clock.put_schedule(expression)
    assert status == 400
    assert not expression or message == f"Invalid Schedule Expression {expression}."


# --- Scheduler: when schedules start (in this process, with a clock of its own) ------------------

def test_schedules_are_looked_at_every_second(clock):
    assert clock.scheduler._SCHEDULE_TICK_INTERVAL == 1


@pytest.mark.parametrize(("expression", "zone", "since", "until", "starts"), [
    # In Berlin the clocks skip from two to three on 29 March 2026, and repeat that hour on 25 October.
    ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T00:00", "2026-03-31T00:00",
     ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]),
    ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T00:00", "2026-10-27T00:00",
     ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ("cron(0/30 * * * ? *)", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T02:30",
     ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]),
    ("cron(0 0 ? * MON *)", "Asia/Kolkata", "2026-03-01T00:00", "2026-03-10T00:00",
     ["2026-03-01T18:30:00Z", "2026-03-08T18:30:00Z"]),
    ("cron(0 8 * * ? *)", None, "2026-03-29T00:00", "2026-03-30T00:00", ["2026-03-29T08:00:00Z"]),
    ("at(2026-07-01T12:00:05)", "America/New_York", "2026-03-01T00:00", "2026-08-01T00:00", ["2026-07-01T16:00:05Z"]),
    ("at(2026-07-01T12:00:05)", None, "2026-03-01T00:00", "2026-08-01T00:00", ["2026-07-01T12:00:05Z"]),
    ("rate(12 hours)", "Europe/Berlin", "2026-03-28T23:00:00", "2026-03-30T00:00",
     ["2026-03-28T23:00:00Z", "2026-03-29T11:00:00Z", "2026-03-29T23:00:00Z"]),
])
def test_schedule_starts_in_its_time_zone(clock, expression, zone, since, until, starts):
    clock.now = utc(since)
    clock.put_schedule(expression, **({"ScheduleExpressionTimezone": zone} if zone else {}))
    assert clock.starts(utc(until)) == starts


def test_every_occurrence_starts_once_and_rates_do_not_drift(clock):
    clock.put_schedule("rate(1 minute)")
    starts = [start for step in range(1, 401) for start in clock.starts(MIDNIGHT + 10 + step * 0.7)]
    assert starts == [f"2026-03-01T00:0{minute}:10Z" for minute in range(5)]


def test_rate_begins_at_once_and_anew_when_it_is_changed(clock):
    clock.put_schedule("rate(5 minutes)")
    assert clock.starts(MIDNIGHT + 11) == ["2026-03-01T00:00:10Z"]
    clock.now = MIDNIGHT + 120
    clock.put_schedule("rate(5 minutes)", "_update_schedule")
    assert clock.starts(MIDNIGHT + 600) == ["2026-03-01T00:02:00Z", "2026-03-01T00:07:00Z"]


@pytest.mark.parametrize(("expression", "starts"), [
    ("cron(0/10 * * * ? *)", ["00:10:00", "00:20:00", "00:30:00"]),  # both ends are within
    ("rate(7 minutes)", ["00:10:00", "00:17:00", "00:24:00"]),
    ("at(2026-03-01T00:05:00)", ["00:05:00"]),  # for which the dates do not matter
])
def test_schedule_starts_between_its_dates(clock, expression, starts):
    clock.put_schedule(expression, StartDate=MIDNIGHT + 600, EndDate=MIDNIGHT + 1800)
    assert clock.starts(MIDNIGHT + 7200) == [f"2026-03-01T{start}Z" for start in starts]


@pytest.mark.parametrize(("dates", "told"), [
    ({"StartDate": MIDNIGHT - 300}, "The StartDate you specify cannot be earlier than 5 minutes ago."),
    ({"StartDate": MIDNIGHT + 60, "EndDate": MIDNIGHT + 50},
     "The EndDate you specify cannot be earlier than the StartDate."),
    ({"EndDate": MIDNIGHT}, "The EndDate you specify cannot be in the past."),
])
def test_dates_that_cannot_be(clock, dates, told):
    assert clock.put_schedule("rate(1 hour)", **dates) == (400, told)
    assert clock.put_schedule("at(2026-03-02T00:00:00)", **dates)[0] == 200  # it ignores them
    assert clock.put_schedule("rate(1 hour)", "_update_schedule", **dates) == (400, told)
    assert clock.put_schedule("rate(1 hour)", "_update_schedule", StartDate=MIDNIGHT - 280)[0] == 200


def test_flexible_window_delays_the_start_and_not_its_time(clock):
    """By some seconds here, and by how many the name says."""
    delays = []
    for name in ("a", "b", "c", "d"):
        clock.now = MIDNIGHT + 10
        window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
        clock.put_schedule("at(2026-03-01T00:01:00)", name=name, FlexibleTimeWindow=window)
        late = [(second, starts) for second in range(11) if (starts := clock.starts(MIDNIGHT + 60.5 + second))]
        ((delay, starts),) = late
        assert starts == ["2026-03-01T00:01:00Z"]
        delays.append(delay)
    assert max(delays) > min(delays) and max(delays) < 6


@pytest.mark.parametrize("window", [
    {"Mode": "ON"}, {"Mode": "FLEXIBLE"}, {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 0},
    {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1441},
])
def test_windows_that_cannot_be(clock, window):
    assert clock.put_schedule("rate(1 hour)", FlexibleTimeWindow=window)[0] == 400


def test_at_starts_only_what_is_still_to_come(clock):
    once = "at(2026-03-01T00:01:00)"
    clock.put_schedule(once)
    assert clock.starts(MIDNIGHT + 65) == ["2026-03-01T00:01:00Z"]
    clock.put_schedule(once, "_update_schedule", Description="as it was")
    assert clock.starts(MIDNIGHT + 200) == []
    clock.put_schedule("at(2026-03-01T00:02:00)", "_update_schedule")  # which has passed
    assert clock.starts(MIDNIGHT + 300) == []
    clock.put_schedule("at(2026-03-01T00:06:00)", "_update_schedule")
    assert clock.starts(MIDNIGHT + 400) == ["2026-03-01T00:06:00Z"]
    clock.put_schedule(once, name="too-late")
    assert clock.starts(MIDNIGHT + 500) == []


def test_nothing_is_made_up_for_within_a_flexible_window(clock):
    window, due = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1}, "at(2026-03-01T00:01:00)"
    clock.put_schedule(due, name="e", FlexibleTimeWindow=window, State="DISABLED")
    assert clock.starts(MIDNIGHT + 60.5) == []
    clock.put_schedule(due, "_update_schedule", name="e", FlexibleTimeWindow=window)
    assert clock.starts(MIDNIGHT + 70) == []


@pytest.mark.parametrize("expression", ["cron(* * * * ? *)", "at(2026-03-01T00:01:00)"])
def test_nothing_is_made_up_for(clock, expression):
    clock.put_schedule(expression, State="DISABLED")
    assert clock.starts(MIDNIGHT + 90) == []
    clock.put_schedule(expression, "_update_schedule", State="ENABLED")
    assert clock.starts(MIDNIGHT + 119) == []
    assert clock.starts(MIDNIGHT + 121) == ([] if expression.startswith("at") else ["2026-03-01T00:02:00Z"])


@pytest.mark.parametrize("expression", ["at(2026-03-01T00:01:00)", "cron(* * * * ? *)"])
def test_schedule_is_deleted_after_completion_where_it_says_so(clock, expression):
    clock.put_schedule(expression, ActionAfterCompletion="DELETE", EndDate=MIDNIGHT + 70)
    clock.put_schedule(expression, name="stays", EndDate=MIDNIGHT + 70)
    assert clock.starts(MIDNIGHT + 50) == []
    assert len(clock.scheduler._schedules) == 2
    assert len(clock.starts(MIDNIGHT + 75)) == 2
    assert list(clock.scheduler._schedules) == ["default/stays"]


@pytest.mark.parametrize("more", [
    {"name": "a" * 65}, {"name": "a@b"}, {"GroupName": "a@b"}, {"ScheduleExpressionTimezone": "Europe/Nowhere"},
    {"ScheduleExpressionTimezone": "America"}, {"ScheduleExpressionTimezone": "../zoneinfo/UTC"},
    {"Target": {"Arn": "arn:aws:sqs:us-east-1:1:q", "RoleArn": ROLE, "RetryPolicy": {"MaximumEventAgeInSeconds": 59}}},
    {"Target": {"Arn": "arn:aws:sqs:us-east-1:1:q", "RoleArn": ROLE, "RetryPolicy": {"MaximumRetryAttempts": 186}}},
])
def test_what_else_scheduler_refuses(clock, more):
    assert clock.put_schedule("rate(1 hour)", **more)[0] == 400
    assert len(clock.scheduler._schedules) == 0


@pytest.mark.parametrize("once", [
    "at(2026-03-02T00:00)", "at(2026-03-02 00:00:00)", "at(2026-03-02T00:00:00Z)", "at(2026-02-30T00:00:00)"])
def test_at_has_a_date_and_seconds(clock, once):
    assert clock.put_schedule(once) == (400, f"Invalid Schedule Expression {once}.")


# --- Scheduler: through its API -----------------------------------------------------------------

def test_unknown_time_zone_is_refused(aws):
    nowhere = _a_schedule(ScheduleExpressionTimezone="Europe/Nowhere")
    refused(aws.scheduler.create_schedule, "ValidationException", **nowhere)
    zoned = _a_schedule(ScheduleExpressionTimezone="Europe/Berlin")
    aws.scheduler.create_schedule(**zoned)
    assert aws.scheduler.get_schedule(Name=zoned["Name"])["ScheduleExpressionTimezone"] == "Europe/Berlin"


def test_client_token_makes_a_schedule_once(aws):
    made = _a_schedule(ClientToken="one")
    arn = aws.scheduler.create_schedule(**made)["ScheduleArn"]
    assert aws.scheduler.create_schedule(**made)["ScheduleArn"] == arn
    refused(aws.scheduler.create_schedule, "ConflictException", **{**made, "ClientToken": "two"})
    refused(aws.scheduler.create_schedule, "ConflictException", **{**made, "State": "ENABLED"})
    aws.scheduler.delete_schedule(Name=made["Name"])
    aws.scheduler.create_schedule(**{**made, "ClientToken": "two"})
    refused(aws.scheduler.create_schedule, "ConflictException", **made)


def test_schedules_are_listed_by_the_page(aws):
    group, prefix = unique("group"), unique("listed")
    aws.scheduler.create_schedule_group(Name=group)
    for number in range(5):
        aws.scheduler.create_schedule(**_a_schedule(f"{prefix}-{number}", GroupName=group))
    aws.scheduler.create_schedule(**_a_schedule("other", GroupName=group, State="ENABLED"))
    aws.scheduler.create_schedule(**_a_schedule(f"{prefix}-6"))

    def pages(between=lambda: None, **parameters):
        found, more = [], {}
        while not found or more:
            answer = aws.scheduler.list_schedules(**parameters, **more)
            found.append([schedule["Name"] for schedule in answer["Schedules"]])
            more = {"NextToken": answer["NextToken"]} if "NextToken" in answer else {}
            between()
        return found

    names = [f"{prefix}-{number}" for number in range(5)]
    assert pages(GroupName=group, NamePrefix=prefix, MaxResults=2) == [names[:2], names[2:4], names[4:]]
    assert pages(GroupName=group, MaxResults=3) == [names[:3], [*names[3:], "other"]]
    assert pages(GroupName=group, State="ENABLED") == [["other"]]
    assert pages(NamePrefix=prefix) == [[f"{prefix}-6", *names]]  # of all groups, and "default" comes first
    refused(aws.scheduler.list_schedules, "ResourceNotFoundException", GroupName="nowhere")
    refused(aws.scheduler.list_schedules, "ValidationException", MaxResults=101)
    refused(aws.scheduler.list_schedules, "ValidationException", NextToken="nonsense")

    def delete_the_first():
        left = aws.scheduler.list_schedules(GroupName=group, NamePrefix=prefix)["Schedules"]
        aws.scheduler.delete_schedule(Name=left[0]["Name"], GroupName=group)

    assert pages(delete_the_first, GroupName=group, NamePrefix=prefix, MaxResults=2)[:2] == [names[:2], names[2:4]]


def _a_schedule(name=None, **more):
    """A schedule that starts nothing."""
    return {"Name": name or unique("schedule"), "ScheduleExpression": "rate(1 day)", "State": "DISABLED",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:nowhere", "RoleArn": ROLE}, **more}


def _at(seconds):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return f"at({when:%Y-%m-%dT%H:%M:%S})", f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _schedule(call, name, expression, target):
    call(Name=name, ScheduleExpression=expression, FlexibleTimeWindow={"Mode": "OFF"},
         Target={"RoleArn": ROLE, **target})


def test_keywords_are_substituted_and_a_changed_at_fires_again(aws):
    queue, name = aws.queue(), unique("schedule")
    text = ('{"at": "<aws.scheduler.scheduled-time>", "id": "<aws.scheduler.execution-id>", '
            '"attempt": "<aws.scheduler.attempt-number>", "arn": "<aws.scheduler.schedule-arn>"}')

    def told(call):
        expression, time_told = _at(2)
        _schedule(call, name, expression, {"Arn": queue.arn, "Input": text})
        message = queue.event(timeout=6)  # it is looked every second
        assert message["at"] == time_told
        return message

    message = told(aws.scheduler.create_schedule)
    assert (message["attempt"], len(message["id"])) == ("1", 16)
    assert message["arn"] == f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}"
    assert told(aws.scheduler.update_schedule)["id"] != message["id"]
    aws.scheduler.delete_schedule(Name=name)
    told(aws.scheduler.create_schedule)  # made again under its name


def test_schedule_runs_a_task(aws, cluster):
    definition, name = aws.definition("true"), unique("a-schedule-with-quite-a-long-name")
    queue = aws.watch(definition)
    override = {"name": "main", "environment": [{"name": "SCHEDULED_TIME", "value": "<aws.scheduler.scheduled-time>"}]}
    expression, time_told = _at(2)
    _schedule(aws.scheduler.create_schedule, name, expression, {
        "Arn": cluster["clusterArn"], "Input": json.dumps({"containerOverrides": [override]}),
        "EcsParameters": {"TaskDefinitionArn": definition["taskDefinitionArn"], "LaunchType": "FARGATE",
                          "NetworkConfiguration": RULE_NETWORK}})
    last = queue.task_events()[-1]
    assert last["startedBy"] == f"chronos-schedule/{name}"[:36]
    assert last["overrides"]["containerOverrides"][0]["environment"][0]["value"] == time_told


def test_what_a_schedule_cannot_deliver_goes_to_the_dead_letter_queue(aws):
    queue, name = aws.queue(), unique("schedule")
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/nowhere"
    expression, time_told = _at(2)
    _schedule(aws.scheduler.create_schedule, name, expression, {
        "Arn": arn, "Input": '{"a": 1}', "DeadLetterConfig": {"Arn": queue.arn},
        "EcsParameters": {"TaskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/x:1"}})
    body, attributes = queue.next()
    assert len(attributes.pop("EXECUTION_ID")) == 16
    assert attributes.pop("ERROR_MESSAGE")
    assert attributes == {
        "SCHEDULE_ARN": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}", "TARGET_ARN": arn,
        "SCHEDULED_TIME": time_told, "ERROR_CODE": "ClusterNotFoundException", "RETRY_ATTEMPTS": "0",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "IS_PAYLOAD_TRUNCATED": "false"}
    assert json.loads(body) == {"a": 1}


GROUP_TEMPLATE = """
Parameters:
  Stage: {Type: String}
Resources:
  Named:
    Type: AWS::Scheduler::ScheduleGroup
    Properties: {Name: !Sub "${AWS::StackName}-jobs", Tags: [{Key: stage, Value: !Ref Stage}]}
  Unnamed:
    Type: AWS::Scheduler::ScheduleGroup
Outputs:
  Name: {Value: !Ref Named}
  Arn: {Value: !GetAtt Named.Arn}
  OtherName: {Value: !Ref Unnamed}
"""


def test_stack_has_a_schedule_group(aws):
    name = unique("stack")

    def run(call, done, **parameters):
        call(StackName=name, **parameters)
        aws.cloudformation.get_waiter(done).wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})

    def with_stage(stage):
        return {"TemplateBody": GROUP_TEMPLATE, "Parameters": [{"ParameterKey": "Stage", "ParameterValue": stage}]}

    def tags(arn):
        return {tag["Key"]: tag["Value"] for tag in aws.scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"]}

    run(aws.cloudformation.create_stack, "stack_create_complete", **with_stage("one"))
    (stack,) = aws.cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["Name"] == f"{name}-jobs"
    assert outputs["Arn"] == f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{name}-jobs"
    assert outputs["OtherName"].startswith(f"{name}-Unnamed-")
    assert aws.scheduler.get_schedule_group(Name=outputs["Name"])["Arn"] == outputs["Arn"]
    assert tags(outputs["Arn"])["stage"] == "one"
    aws.scheduler.create_schedule(**_a_schedule("in-it", GroupName=outputs["Name"]))
    run(aws.cloudformation.update_stack, "stack_update_complete", **with_stage("two"))
    assert tags(outputs["Arn"])["stage"] == "two"
    assert aws.scheduler.get_schedule(Name="in-it", GroupName=outputs["Name"])  # it is the same group
    run(aws.cloudformation.delete_stack, "stack_delete_complete")
    for group in (outputs["Name"], outputs["OtherName"]):
        refused(aws.scheduler.get_schedule_group, "ResourceNotFoundException", Name=group)
    refused(aws.scheduler.get_schedule, "ResourceNotFoundException", Name="in-it", GroupName=outputs["Name"])


# --- Quotas -------------------------------------------------------------------------------------

@pytest.mark.parametrize(("service", "code", "name", "value"), [
    ("events", "L-244521F2", "Number of rules", 300),
    ("ecs", "L-21C621EB", "Clusters per account", 10_000),
    ("scheduler", "L-EE5D6FF0", "Number of schedules", 10_000_000),
    ("scheduler", "L-A632CD40", "Number of schedule groups", 500),
])
def test_quotas_have_their_defaults(aws, service, code, name, value):
    quotas = getattr(aws, "service-quotas")
    quota = quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    assert (quota["ServiceCode"], quota["QuotaCode"]) == (service, code)
    assert (quota["QuotaName"], quota["Value"]) == (name, value)
    assert quota["QuotaArn"] == f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:{service}/{code}"
    assert (quota["Unit"], quota["Adjustable"], quota["GlobalQuota"]) == ("None", True, False)
    assert quota in quotas.list_service_quotas(ServiceCode=service)["Quotas"]


def test_unknown_quotas(aws):
    quotas = getattr(aws, "service-quotas")
    refused(quotas.get_service_quota, "NoSuchResourceException", ServiceCode="events", QuotaCode="L-00000000")
    refused(quotas.get_service_quota, "NoSuchResourceException", ServiceCode="ecs", QuotaCode="L-244521F2")
    refused(quotas.list_service_quotas, "NoSuchResourceException", ServiceCode="nothing")


def test_roles_are_counted(aws):
    def summary():
        return aws.iam.get_account_summary()["SummaryMap"]

    before, name, trust = summary(), unique("role"), '{"Version": "2012-10-17", "Statement": []}'
    assert before["RolesQuota"] == 1000
    aws.iam.create_role(RoleName=name, Path="/jobs/", AssumeRolePolicyDocument=trust)
    assert summary()["Roles"] == before["Roles"] + 1
    aws.iam.delete_role(RoleName=name)
    assert summary()["Roles"] == before["Roles"]


@pytest.fixture(scope="module")
def small_cloud(docker_host, tmp_path_factory):
    """A cloud with low quotas, that writes down what is asked of it."""
    state = tmp_path_factory.mktemp("small")
    small = LocalCloud(state, {"LOCAL_CLOUD_CALLS": str(state / "calls"), "LOCAL_CLOUD_QUOTAS": json.dumps({
        "events/L-244521F2": 2, "scheduler/L-EE5D6FF0": 4})}).start()
    yield small
    small.stop()


@pytest.fixture(scope="module")
def small_aws(small_cloud):
    return Aws(small_cloud)


def test_quotas_are_walls(small_aws):
    aws = small_aws
    quota = getattr(aws, "service-quotas").get_service_quota(ServiceCode="events", QuotaCode="L-244521F2")["Quota"]
    assert quota["Value"] == 2
    rule = {"ScheduleExpression": "rate(1 day)", "State": "DISABLED"}
    for name in ("one", "two", "two"):  # the second of that name is none more
        aws.events.put_rule(Name=name, **rule)
    refused(aws.events.put_rule, "LimitExceededException", Name="three", **rule)
    aws.events.delete_rule(Name="one")
    aws.events.put_rule(Name="three", **rule)

    there = len(aws.scheduler.list_schedules()["Schedules"])
    made = [_a_schedule() for _ in range(4 - there)]
    for schedule in made:
        aws.scheduler.create_schedule(**schedule)
    refused(aws.scheduler.create_schedule, "ServiceQuotaExceededException", **_a_schedule())
    refused(aws.scheduler.create_schedule, "ConflictException", **made[0])
    for schedule in made:
        aws.scheduler.delete_schedule(Name=schedule["Name"])


# --- What is written down -----------------------------------------------------------------------

def written(cloud):
    return [json.loads(line) for line in (cloud.state / "calls").read_text().splitlines()]


def test_what_a_schedule_does_is_written_down_with_its_role(small_cloud, small_aws):
    aws = small_aws
    queue, dead, group = aws.queue(), aws.queue(), unique("group")
    aws.scheduler.create_schedule_group(Name=group)
    expression, _ = _at(2)
    definition = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/x:1"
    once = {"FlexibleTimeWindow": {"Mode": "OFF"}, "ScheduleExpression": expression, "GroupName": group,
            "ActionAfterCompletion": "DELETE"}
    aws.scheduler.create_schedule(Name="tells", Target={"RoleArn": ROLE, "Arn": queue.arn, "Input": "{}"}, **once)
    aws.scheduler.create_schedule(Name="fails", Target={
        "RoleArn": ROLE, "Arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/nowhere",
        "EcsParameters": {"TaskDefinitionArn": definition}, "DeadLetterConfig": {"Arn": dead.arn}}, **once)
    queue.next()
    dead.next()
    who = {"role": ROLE, "service": "scheduler.amazonaws.com",
           "source": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{group}"}
    calls = [call for call in written(small_cloud) if who.items() <= call.items()]
    assert sorted((call["operation"], call["parameters"].get("resource")) for call in calls) == sorted([
        ("sqs:SendMessage", queue.arn), ("ecs:RunTask", None), ("sqs:SendMessage", dead.arn)], key=str)
    (run,) = [call for call in calls if call["operation"] == "ecs:RunTask"]
    assert run["parameters"]["taskDefinition"] == definition
    asked = [request for call in calls for request in requests_of(Call(**call), World(ACCOUNT, REGION))]
    assert {(request.action, request.resource) for request in asked} == {
        ("sqs:SendMessage", queue.arn), ("sqs:SendMessage", dead.arn), ("ecs:RunTask", definition)}
    assert all(request.service is None for request in asked)  # the role is asked about, not the queue's policy


def test_calls_of_scheduler_are_written_down_under_their_names(small_cloud):
    function = unique("function")
    scheduler = boto3.client("scheduler", endpoint_url=small_cloud.endpoint, region_name=REGION,
                             aws_access_key_id="test", aws_secret_access_key="test", aws_session_token=function)
    schedule, group = _a_schedule("of-a-function", ClientToken="one"), unique("group")
    arn = scheduler.create_schedule_group(Name=group)["ScheduleGroupArn"]
    scheduler.create_schedule(GroupName=group, **schedule)
    scheduler.get_schedule(GroupName=group, Name=schedule["Name"])
    scheduler.list_schedules(GroupName=group, NamePrefix="of")
    scheduler.list_tags_for_resource(ResourceArn=arn)
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["a", "b"])
    scheduler.delete_schedule(GroupName=group, Name=schedule["Name"])
    scheduler.delete_schedule_group(Name=group)
    calls = [
        (call["operation"], call["parameters"]) for call in written(small_cloud) if call.get("function") == function]
    for _, parameters in calls:
        parameters.pop("ClientToken", None)
    del schedule["ClientToken"]
    named = {"Name": schedule["Name"], "GroupName": group}
    assert calls == [
        ("scheduler:CreateScheduleGroup", {"Name": group}),
        ("scheduler:CreateSchedule", {**schedule, "GroupName": group}),
        ("scheduler:GetSchedule", named),
        ("scheduler:ListSchedules", {"GroupName": group, "NamePrefix": "of"}),
        ("scheduler:ListTagsForResource", {"ResourceArn": arn}),
        ("scheduler:UntagResource", {"ResourceArn": arn, "TagKeys": ["a", "b"]}),
        ("scheduler:DeleteSchedule", named),
        ("scheduler:DeleteScheduleGroup", {"Name": group}),
    ]


# --- Topics -------------------------------------------------------------------------------------

def test_https_subscription_is_pending_until_it_is_confirmed(aws, subscriber):
    topic = aws.sns.create_topic(Name=unique("topic"))["TopicArn"]

    def listed():
        (subscription,) = aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        return subscription["SubscriptionArn"]

    def subscribe(**parameters):
        answer = aws.sns.subscribe(TopicArn=topic, Protocol="https", Endpoint=subscriber.url, **parameters)
        return answer["SubscriptionArn"]

    assert subscribe() == "pending confirmation"
    first = subscriber.next("SubscriptionConfirmation")
    assert first["TopicArn"] == topic and first["Token"]
    assert listed() == "PendingConfirmation"
    aws.sns.publish(TopicArn=topic, Message="too early")
    assert subscribe() == "pending confirmation"  # again: a second confirmation is sent
    arn = subscribe(ReturnSubscriptionArn=True)
    assert arn.startswith(f"{topic}:")
    subscriber.confirm()
    assert listed() == arn

    source = unique("source")
    aws.rule_to(topic, {"source": [source]}, InputTransformer={"InputTemplate": '{"told": "you"}'})
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": "{}"}])
    message = subscriber.next("Notification")  # and not "too early"
    assert json.loads(message["Message"]) == {"told": "you"}
    assert message["TopicArn"] == topic and not message.get("Subject")


def test_email_subscription_is_pending_too(aws):
    topic = aws.sns.create_topic(Name=unique("topic"))["TopicArn"]
    answer = aws.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.com")
    assert answer["SubscriptionArn"] == "pending confirmation"
    for listed in (aws.sns.list_subscriptions_by_topic(TopicArn=topic), aws.sns.list_subscriptions()):
        (subscription,) = [found for found in listed["Subscriptions"] if found["TopicArn"] == topic]
        assert subscription["SubscriptionArn"] == "PendingConfirmation"
    assert aws.sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1"


def test_queue_is_subscribed_at_once(aws):
    topic, queue = aws.sns.create_topic(Name=unique("topic"))["TopicArn"], aws.queue()
    arn = aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)["SubscriptionArn"]
    assert arn.startswith(f"{topic}:")
    (subscription,) = aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert subscription["SubscriptionArn"] == arn
    source = unique("source")
    aws.rule_to(topic, {"source": [source]}, InputTransformer={"InputTemplate": '{"told": "you"}'})
    aws.events.put_events(Entries=[{"Source": source, "DetailType": "T", "Detail": "{}"}])
    envelope = queue.event()
    assert (envelope["Type"], envelope["TopicArn"]) == ("Notification", topic)
    assert json.loads(envelope["Message"]) == {"told": "you"}
    aws.sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true")
    aws.sns.publish(TopicArn=topic, Message="plain")
    assert queue.next()[0] == "plain"


def test_function_is_subscribed_at_once(aws):
    upload_function(aws.s3)
    name = unique("function")
    function = getattr(aws, "lambda").create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="told", Role=ROLE,
        Code={"S3Bucket": "code", "S3Key": "function.zip"})["FunctionArn"]
    topic = aws.sns.create_topic(Name=unique("topic"))["TopicArn"]
    arn = aws.sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)["SubscriptionArn"]
    aws.sns.publish(TopicArn=topic, Message="wake up")

    def invoked():
        group = f"/aws/lambda/{name}"
        try:
            messages = [event["message"] for event in aws.logs.filter_log_events(logGroupName=group)["events"]]
        except ClientError:  # it has no log before its first invocation
            return None
        return [message for message in messages if message.startswith("invoked told ")]

    (message,) = eventually(invoked)
    (record,) = json.loads(message.removeprefix("invoked told "))["Records"]
    assert (record["EventSource"], record["EventSubscriptionArn"]) == ("aws:sns", arn)
    assert (record["Sns"]["TopicArn"], record["Sns"]["Message"]) == (topic, "wake up")


def test_tags_of_an_unknown_topic(aws):
    refused(aws.sns.list_tags_for_resource, "ResourceNotFound", ResourceArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:nowhere")


# --- The API and the functions ------------------------------------------------------------------

BOOTSTRAP = f"""#!{sys.executable}
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as request:
        event, id = json.load(request), request.headers["Lambda-Runtime-Aws-Request-Id"]
    print("invoked", os.environ["_HANDLER"], json.dumps(event), flush=True)
    if os.environ["_HANDLER"] == "events":
        failed = [r["messageId"] for r in event["Records"] if "poison" in r["body"]]
        answer = {{"batchItemFailures": [{{"itemIdentifier": id_}} for id_ in failed]}}
    else:
        answer = {{"statusCode": 201, "headers": {{"content-type": "application/json", "location": "/v1/x"}},
                  "body": json.dumps({{"event": event, "environment": dict(os.environ)}})}}
    data = json.dumps(answer).encode()
    urllib.request.urlopen(urllib.request.Request(api + id + "/response", data=data, method="POST"))
"""

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: provided.al2023, Timeout: 29, CodeUri: {Bucket: code, Key: function.zip}}
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
  Boundary:
    Type: AWS::IAM::ManagedPolicy
    Properties: {PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
      PermissionsBoundary: !Ref Boundary
  Http:
    Type: AWS::Serverless::Function
    Properties: {Handler: http, Role: !GetAtt Role.Arn, Environment: {Variables: {TABLE: !Ref Table}}}
  HttpLogs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub "/aws/lambda/${Http}", RetentionInDays: 30}
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties:
      Name: !Ref AWS::StackName
      ProtocolType: HTTP
      CorsConfiguration: {AllowOrigins: ["https://portal.example"], AllowMethods: [PUT], ExposeHeaders: [etag]}
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !GetAtt Http.Arn
      PayloadFormatVersion: "2.0"
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: $default, Target: !Sub "integrations/${Integration}"}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Api, StageName: $default, AutoDeploy: true}
  Permission:
    Type: AWS::Lambda::Permission
    Properties:
      FunctionName: !Ref Http
      Action: lambda:InvokeFunction
      Principal: apigateway.amazonaws.com
      SourceArn: !Sub "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"
  DeadLetters: {Type: AWS::SQS::Queue}
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 1
      RedrivePolicy: {deadLetterTargetArn: !GetAtt DeadLetters.Arn, maxReceiveCount: 2}
  QueuePolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Queue]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - {Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: "sqs:SendMessage", Resource: "*"}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [a-test-source]}
      Targets: [{Id: queue, Arn: !GetAtt Queue.Arn, InputPath: "$.detail.body"}]
  Events: {Type: AWS::Serverless::Function, Properties: {Handler: events, Role: !GetAtt Role.Arn}}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Events
      EventSourceArn: !GetAtt Queue.Arn
      BatchSize: 10
      FunctionResponseTypes: [ReportBatchItemFailures]
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/SQS
      MetricName: ApproximateNumberOfMessagesVisible
      Dimensions: [{Name: QueueName, Value: !GetAtt DeadLetters.QueueName}]
      Statistic: Maximum
      Period: 60
      EvaluationPeriods: 1
      Threshold: 0
      ComparisonOperator: GreaterThanThreshold
Outputs:
  Queue: {Value: !Ref Queue}
  DeadLetters: {Value: !Ref DeadLetters}
  Function: {Value: !Ref Http}
  Table: {Value: !Ref Table}
"""


def upload_function(s3):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BOOTSTRAP)
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="function.zip", Body=package.getvalue())


def http(url, method="GET", headers=None, body=None):
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture(scope="module")
def stack(aws, cloud):
    status, headers, body = http(cloud.api_url)
    assert (status, headers["content-type"]) == (503, "application/problem+json")  # until there is an API
    assert json.loads(body)["status"] == 503
    upload_function(aws.s3)
    aws.cloudformation.create_stack(StackName="tests", TemplateBody=TEMPLATE,
                                    Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
    aws.cloudformation.get_waiter("stack_create_complete").wait(
        StackName="tests", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    (stack,) = aws.cloudformation.describe_stacks(StackName="tests")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_request_reaches_the_function_unchanged(cloud, stack):
    status, headers, body = http(
        f"{cloud.api_url}/v1/a%2Fb%20c/%25?x=1&x=2&y=%2B+z", "POST",
        {"Content-Type": "application/json", "Cookie": "a=1; b=2", "Authorization": "Bearer t"}, b'{"n": "\xc3\xa9"}')
    assert (status, headers["location"]) == (201, "/v1/x")
    event = json.loads(body)["event"]
    assert (event["version"], event["routeKey"], event["requestContext"]["stage"]) == ("2.0", "$default", "$default")
    assert event["rawPath"] == "/v1/a/b c/%25"  # an HTTP API decodes every escape but %25
    assert event["rawQueryString"] == "x=1&x=2&y=%2B+z"
    assert event["queryStringParameters"] == {"x": "1,2", "y": "+ z"}
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["headers"]["authorization"] == "Bearer t" and event["headers"]["cookie"] == "a=1; b=2"
    assert re.fullmatch(rf"[0-9a-f]{{8}}\.execute-api\.localhost:{cloud.port}", event["headers"]["host"])
    assert (event["body"], event["isBase64Encoded"]) == ('{"n": "é"}', False)


def test_function_is_a_process_with_its_handler_and_the_endpoint(aws, cloud, stack):
    environment = json.loads(http(cloud.api_url)[2])["environment"]
    assert environment["_HANDLER"] == "http"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert environment["AWS_REGION"] == REGION
    assert environment["TABLE"] == stack["Table"]
    assert "AWS_SESSION_TOKEN" not in environment and "AWS_CA_BUNDLE" not in environment
    group = f"/aws/lambda/{stack['Function']}"
    streams = aws.logs.describe_log_streams(logGroupName=group)["logStreams"]
    messages = [event["message"] for stream in streams for event in aws.logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"])["events"]]
    assert any("invoked http" in message for message in messages)


def test_cors_is_what_the_template_says(cloud, stack):
    ask = {"Access-Control-Request-Method": "PUT"}
    status, headers, _ = http(cloud.api_url, "OPTIONS", {"Origin": "https://portal.example", **ask})
    assert status == 204
    assert headers["access-control-allow-origin"] == "https://portal.example"
    assert headers["access-control-allow-methods"] == "PUT"
    _, headers, _ = http(cloud.api_url, headers={"Origin": "https://portal.example"})
    assert headers["access-control-expose-headers"] == "etag"
    _, headers, _ = http(cloud.api_url, headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in headers


def test_poison_goes_to_the_dead_letter_queue_and_its_neighbours_do_not(aws, stack):
    for body in ("poison", "good", "good"):
        aws.events.put_events(Entries=[
            {"Source": "a-test-source", "DetailType": "T", "Detail": json.dumps({"body": body})}])
    dead = Queue(aws.sqs, stack["DeadLetters"])
    body, _ = dead.next()
    assert json.loads(body) == "poison"
    assert dead.is_empty() and Queue(aws.sqs, stack["Queue"]).is_empty()


# --- The process --------------------------------------------------------------------------------

def test_silent_container_keeps_its_log_and_lines_stay_whole(aws, silent_task):
    """Last among those that use the cloud: the task was started by the first."""
    assert aws.until(silent_task, "STOPPED")["containers"][0]["exitCode"] == 0
    assert aws.log_lines(silent_task) == ["one line", "after"]


def test_the_last_lines_of_a_fast_container_are_there(aws, cluster):
    task = aws.until(aws.run(cluster, aws.definition("seq", "1", "9000")), "STOPPED")
    assert aws.log_lines(task) == [str(number) for number in range(1, 9001)]


def test_nothing_is_left_after_sigterm(docker_host, tmp_path):
    import docker

    cloud = LocalCloud(tmp_path / "state").start()
    own = Aws(cloud)
    own.until(own.run(own.cluster(), own.definition("sleep", "60")), "RUNNING")
    upload_function(own.s3)
    own.cloudformation.create_stack(StackName="s", TemplateBody=TEMPLATE, Capabilities=["CAPABILITY_IAM"])
    own.cloudformation.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    assert http(cloud.api_url)[0] == 201
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(cloud.process.pid)], stdout=subprocess.PIPE, text=True)
    assert (tmp_path / "state/local_cloud.pid").read_text() == f"{cloud.process.pid}\n"
    pids = children.stdout.split()
    assert pids  # the function
    cloud.stop()
    assert cloud.process.returncode == 0
    assert not [pid for pid in pids if pathlib.Path(f"/proc/{pid}").exists()]
    labelled = docker.from_env().containers.list(
        all=True, filters={"label": [f"ministack.instance={os.uname().nodename}:{cloud.port}"]})
    assert labelled == []
    assert not list((tmp_path / "state").glob("local_cloud.[pr]*"))


def test_a_second_cloud_on_the_same_ports_leaves_the_first_alone(cloud):
    second = LocalCloud(cloud.state)
    command = [sys.executable, ROOT / "scripts/local_cloud.py", "--port", str(cloud.port),
               "--api-port", str(second.api_port), "--state", cloud.state]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert ended.returncode != 0 and f"port {cloud.port} is taken" in ended.stdout
    assert (cloud.state / "local_cloud.pid").read_text() == f"{cloud.process.pid}\n"
    assert (cloud.state / "local_cloud.ready").exists()


def test_another_version_or_a_missing_function_is_told_at_start(clock, monkeypatch):
    from local_cloud import mending

    with pytest.raises(SystemExit, match="is gone"):
        mending.mend(clock.eb, "_a_function_that_is_gone")
    monkeypatch.setattr(mending, "MINISTACK_VERSION", "0.0.0")
    with pytest.raises(SystemExit, match="0.0.0"):
        mending.check_version()
