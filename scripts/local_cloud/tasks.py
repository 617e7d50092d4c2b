"""ECS: tasks that run, stop and tell of it as on AWS.

Not modelled, and so not tested here: capacity, but for Spot that is used up (`_no_capacity`), how a strategy
spreads tasks over its providers, Spot interruptions, ECS Exec, a role that ECS cannot assume yet. A task
cannot call the local cloud: that listens on 127.0.0.1 only. Podman can mix what a container writes to its two
outputs at one moment within a line.
"""

import copy
import datetime
import json
import logging
import os
import pathlib
import queue
import re
import threading
import time
import uuid

import docker
from docker.errors import ImageNotFound
from ministack.core.concurrency import resource_lock
from ministack.core.responses import (
    error_response_json, get_account_id, get_region, json_response, request_scope,
)
from ministack.services import ecs, ecs_metadata
from ministack.services import eventbridge as eb

from .containers import forget_volumes
from .definitions import NOT_ASSOCIATED
from .mending import mend, set_value

log = logging.getLogger("local_cloud.tasks")
A_DAY = 24 * 3600


# --- Events -------------------------------------------------------------------------------------

# Events are put on the bus by one thread, so that no task waits for its event's targets and a task's
# events come in order (AWS promises neither; a test is easier to read so).
_events: queue.Queue = queue.Queue()

_DETAIL_FIELDS = (
    "availabilityZone", "capacityProviderName", "clusterArn", "connectivity", "connectivityAt", "cpu",
    "createdAt", "desiredStatus", "enableExecuteCommand", "ephemeralStorage", "executionStoppedAt", "group",
    "lastStatus", "launchType", "memory",
    "platformVersion", "pullStartedAt", "pullStoppedAt", "startedAt", "startedBy", "stopCode",
    "stoppedAt", "stoppedReason", "stoppingAt", "taskArn", "taskDefinitionArn", "version",
)
_CONTAINER_FIELDS = (
    "containerArn", "cpu", "exitCode", "image", "imageDigest", "lastStatus", "name", "reason",
    "runtimeId", "taskArn",
)


def _present(record, fields):
    return {field: record[field] for field in fields if record.get(field) not in (None, "")}


def task_state_change(task):
    """The detail of an `ECS Task State Change` event; it carries no tags."""
    attachments = [{**attachment, "type": "eni"} for attachment in copy.deepcopy(task.get("attachments") or [])]
    interfaces = [
        {"attachmentId": attachment["id"], "privateIpv4Address": detail["value"]}
        for attachment in attachments for detail in attachment.get("details", [])
        if detail["name"] == "privateIPv4Address"
    ]
    overrides = copy.deepcopy(task.get("overrides") or {})
    overridden = {override.get("name"): override for override in overrides.get("containerOverrides", [])}
    names = [container["name"] for container in task["containers"]]
    overrides["containerOverrides"] = [overridden.get(name, {"name": name}) for name in names]
    return {
        **_present(task, _DETAIL_FIELDS),
        "attachments": attachments,
        "containers": [
            {**_present(container, _CONTAINER_FIELDS), "networkInterfaces": interfaces}
            for container in task["containers"]
        ],
        "overrides": overrides,
        "updatedAt": ecs._iso(),
    }


def emit(task):
    """Puts the task's present state on the default bus."""
    _events.put((get_account_id(), get_region(), task_state_change(task)))


def _put_events_on_bus():
    while True:
        account, region, detail = _events.get()
        try:
            with request_scope(account, region):
                eb._dispatch_event({
                    "EventId": str(uuid.uuid4()),
                    "Source": "aws.ecs",
                    "DetailType": "ECS Task State Change",
                    "Detail": json.dumps(detail),
                    "EventBusName": "default",
                    "Time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "Resources": [detail["taskArn"]],
                    "Account": account,
                    "Region": region,
                })
        except Exception:
            log.exception("an event of task %s was lost", detail["taskArn"])


threading.Thread(target=_put_events_on_bus, daemon=True, name="task-events").start()


# --- The life of a task -------------------------------------------------------------------------

@mend(ecs, "_run_task_worker")
def provisioning_makes_an_event(original, task, td, overrides, client, account, region):
    _apply_overrides(task)
    with request_scope(account, region):
        emit(task)
    original(task, td, overrides, client, account, region)


def _apply_overrides(task):
    """The task's own size can be overridden as well as its containers; MiniStack keeps the definition's."""
    for field in ("cpu", "memory", "ephemeralStorage"):
        if task["overrides"].get(field):
            task[field] = task["overrides"][field]


@mend(ecs, "_mark_task_pending")
def pending_makes_an_event(original, task_arn, task):
    if not original(task_arn, task):
        return False
    emit(task)
    return True


@mend(ecs, "_mark_task_running")
def running_makes_an_event(original, task_arn, task):
    if not original(task_arn, task):
        return False
    emit(task)
    return True


@mend(ecs, "_maybe_mark_stopped")
def container_that_ends_makes_an_event(original, task, client=None):
    """A container that the task goes on without: its end counts as a version of the task."""
    original(task, client)
    with resource_lock("ecs-task", task["taskArn"]):
        ended = [c for c in task["containers"] if c["lastStatus"] == "STOPPED" and not c.get("_told")]
        for container in ended:
            container["_told"] = True
        if not ended or not ecs._task_is_active(task["taskArn"], task):
            return
        ecs._bump_task_version(task)
    emit(task)


@mend(ecs, "_attach_started_container")
def image_digest_is_known(original, task, container, index, token, network):
    """A container tells the digest of the image it was started from."""
    attached = original(task, container, index, token, network)
    if attached:
        image = container.image
        digests = image.attrs.get("RepoDigests") or [image.id]
        task["containers"][index]["imageDigest"] = digests[0].rsplit("@", 1)[-1]
    return attached


def _told(error):
    """What the container runtime said, without the URL that it was asked at."""
    return getattr(error, "explanation", None) or str(error)


@mend(ecs, "_run_docker_container")
def failed_pull_is_told_apart(original, client, definition, run_kwargs, **options):
    """An image that is not on this machine and cannot be pulled is CannotPullContainerError; MiniStack
    calls every failed start a ResourceInitializationError."""
    image = definition["image"]
    try:
        client.images.get(image)
    except ImageNotFound:
        try:
            client.images.pull(image, auth_config=ecs._resolve_repository_credentials(definition))
        except Exception as error:
            raise ecs._ImagePullError(
                f"pull image manifest has been retried 1 time(s): failed to resolve ref {image}: {_told(error)}"
            ) from error
    try:
        return original(client, definition, run_kwargs, **options)
    except docker.errors.APIError as error:
        raise RuntimeError(_told(error)) from error


@mend(ecs, "_fail_task_start")
def failed_start_names_its_container(original, task, client, reason):
    """On AWS the reason stands at the container too, and a container that cannot be started (an entry
    point that does not exist) is CannotStartContainerError. What names itself keeps its name."""
    cause = reason.removeprefix("ResourceInitializationError: unable to pull image or start container: ")
    if cause != reason:
        reason = cause if cause.startswith("ResourceInitializationError") else f"CannotStartContainerError: {cause}"
    if reason.startswith("Cannot"):
        failed = next((c for c in task["containers"] if not c.get("runtimeId")), task["containers"][-1])
        failed["reason"] = reason
    original(task, client, reason)


@mend(ecs, "_mark_task_stopped")
def stop_takes_its_time(_original, task_arn, task, reason, stop_code, exit_code=None):
    """Stopping is a way, not a moment: the task is first wanted stopped; its containers get SIGTERM and,
    after `stopTimeout`, SIGKILL; what they return is their exit code (143, 137, or their own); then
    the task is DEPROVISIONING and STOPPED. Each step counts as a version and makes an event. MiniStack
    answers exit 0 at once, and leaves sidecars running."""
    with resource_lock("ecs-task", task_arn):
        if not ecs._task_is_active(task_arn, task):
            return False
        containers = list(zip(task.get("_docker_ids") or [], task["containers"]))
        task["_docker_ids"] = []  # from here on they are ours to stop
        task["desiredStatus"] = "STOPPED"
        task["stoppingAt"] = ecs._iso()
        task["stopCode"] = stop_code
        task["stoppedReason"] = reason.replace("Essential container exited", "Essential container in task exited")
        ecs._bump_task_version(task)
    emit(task)
    account, region = get_account_id(), get_region()
    threading.Thread(
        target=_finish_stop, args=(task_arn, task, stop_code, containers, account, region), daemon=True,
        name=f"stop-{task_arn.rsplit('/', 1)[-1][:8]}",
    ).start()
    return True


def _finish_stop(task_arn, task, stop_code, containers, account, region):
    with request_scope(account, region):
        definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
        _stop_containers(containers, definition.get("containerDefinitions", []))
        if containers:
            task["executionStoppedAt"] = ecs._iso()
        forget_volumes(task_arn)
        for docker_id, _container in containers:
            if docker_id in _log_ends:
                _log_ends.pop(docker_id).wait(_LOG_PATIENCE)
        with resource_lock("ecs-task", task_arn):
            for container in task["containers"]:
                container["lastStatus"] = "STOPPED"
            task["lastStatus"] = "DEPROVISIONING"
            ecs._bump_task_version(task)
        emit(task)
        with resource_lock("ecs-task", task_arn):
            task["lastStatus"] = "STOPPED"
            task["stoppedAt"] = ecs._iso()
            ecs._bump_task_version(task)
        emit(task)
        ecs_metadata.set_task_status(task_arn, known_status="STOPPED", desired_status="STOPPED")
        ecs_metadata.set_all_container_status(task_arn, "STOPPED")
        cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
        ecs._recount_cluster(cluster)
        ecs._refresh_service_state(cluster, task.get("group", ""))
        if stop_code in ("EssentialContainerExited", "TaskFailedToStart"):
            ecs._record_service_task_failure(task)


def _stop_containers(containers, definitions):
    """All at once, but each one only when those that depend on it have ended: dependencies are reversed for
    the shutdown (API reference, "ContainerDependency")."""
    definitions = {definition["name"]: definition for definition in definitions}
    ended = {container["name"]: threading.Event() for _docker_id, container in containers}

    def stop(docker_id, container):
        name = container["name"]
        for other, event in ended.items():
            if name in [one["containerName"] for one in definitions[other].get("dependsOn", [])]:
                event.wait()
        if container.get("exitCode") is None:
            _stop_container(docker_id, container, definitions[name].get("stopTimeout", 30))
        ended[name].set()

    stoppers = [threading.Thread(target=stop, args=one) for one in containers]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()


def _stop_container(docker_id, container, timeout):
    try:
        running = docker.from_env(timeout=timeout + 60).containers.get(docker_id)
        running.stop(timeout=timeout)
        container["exitCode"] = running.wait()["StatusCode"]
    except Exception as error:
        log.warning("container %s could not be stopped: %s", docker_id[:12], error)


# --- RunTask and its neighbours -----------------------------------------------------------------

_client_tokens: dict = {}
_client_tokens_lock = threading.Lock()


def _cluster_missing(data):
    """AWS makes no cluster for a call that names an unknown one."""
    if ecs._resolve_cluster_name(data.get("cluster", "default")) not in ecs._clusters:
        return error_response_json("ClusterNotFoundException", "Cluster not found.", 400)
    return None


# AWS Fargate User Guide, "Fargate Linux platform versions".
_PLATFORM_VERSIONS = ("LATEST", "1.4.0", "1.3.0")
# API reference, "RunTask"; the words of the refusal are ours.
_FORMS = {"startedBy": r"[A-Za-z0-9_/-]{0,128}", "clientToken": r"[!-~]{0,64}"}


def _capacity_problem(data):
    """Why there is nothing to run a task on: here, as in an account without instances, there is Fargate."""
    cluster = ecs._clusters[ecs._resolve_cluster_name(data.get("cluster", "default"))]
    given = data.get("capacityProviderStrategy") or []
    if any(item["capacityProvider"] not in cluster["capacityProviders"] for item in given):
        return NOT_ASSOCIATED
    strategy = given or cluster["defaultCapacityProviderStrategy"]
    if len(strategy) > 1 and not any(item.get("weight") for item in strategy):
        return ("There are no capacity providers with a weight value greater than zero. Specify a valid capacity "
                "provider strategy and try again.")
    if data.get("launchType", "EC2") == "EC2" and not strategy:
        return "No Container Instances were found in your cluster."
    return None


def _run_task_refusal(data, definition):
    """What RunTask refuses on AWS and MiniStack runs."""
    if definition is None:
        return error_response_json("ClientException", "TaskDefinition not found.", 400)
    if definition["status"] != "ACTIVE":
        return error_response_json("ClientException", "TaskDefinition is inactive", 400)
    if definition.get("networkMode") == "awsvpc" and not data.get("networkConfiguration"):
        return error_response_json("InvalidParameterException", "Network Configuration must be provided "
                                   "when networkMode 'awsvpc' is specified.", 400)
    if problem := _capacity_problem(data):
        return error_response_json("InvalidParameterException", problem, 400)
    if data.get("platformVersion") not in (None, *_PLATFORM_VERSIONS):
        return error_response_json("PlatformUnknownException", "The specified platform version does not exist.", 400)
    for field, form in _FORMS.items():
        if not re.fullmatch(form, data.get(field) or ""):
            return error_response_json("InvalidParameterException", f"{field} is not of the form {form}", 400)
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in (data.get("overrides") or {}).get("containerOverrides", []):
        if override.get("name") not in names:
            return error_response_json("InvalidParameterException", "Override for container named "
                                       f"{override.get('name')} is not a container in the TaskDefinition.", 400)
    return None


@mend(ecs, "_run_task")
def run_task_as_on_aws(original, data):
    """Unknown clusters and deregistered revisions are refused, `group` is `family:<family>` unless it is
    given, tags are handed on and added where asked, and a `clientToken` starts a task once. (On AWS a token
    lives for the lower of 24 hours and the task's life plus one hour; here for 24 hours.)"""
    if refusal := _cluster_missing(data):
        return refusal
    definition = ecs._task_defs.get(ecs._resolve_td_key(data.get("taskDefinition", "")))
    if refusal := _run_task_refusal(data, definition):
        return refusal
    request = {key: value for key, value in data.items() if key != "clientToken"}
    request["group"] = request.get("group") or f"family:{definition['family']}"
    if request.get("propagateTags") == "TASK_DEFINITION":
        own = request.get("tags") or []
        inherited = ecs._tags.get(definition["taskDefinitionArn"], [])
        request["tags"] = own + [tag for tag in inherited if tag["key"] not in {t["key"] for t in own}]
    if request.get("enableECSManagedTags"):
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        request["tags"] = (request.get("tags") or []) + [{"key": "aws:ecs:clusterName", "value": cluster}]

    token = data.get("clientToken")
    if not token:
        return _no_capacity(data) or _started(original(request))
    key = (get_account_id(), get_region(), ecs._resolve_cluster_name(data.get("cluster", "default")), token)
    with _client_tokens_lock:
        known = _client_tokens.get(key)
        if known is None or time.time() - known["at"] > A_DAY:
            if response := _no_capacity(data):
                return response
            response = _started(original(copy.deepcopy(request)))
            if response[0] == 200:
                _client_tokens[key] = {"at": time.time(), "request": request, "response": response}
            return response
    if known["request"] != request:
        return error_response_json("ConflictException", "The RunTask request could not be processed due to "
                                   "conflicts. The provided clientToken is already in use with a different "
                                   "RunTask request.", 400)
    return known["response"]


def _no_capacity(data):
    """What ECS answers while Fargate has no capacity to spare: no error, and no task. Here that is while there
    is the file LOCAL_CLOUD_NO_SPOT."""
    strategy = data.get("capacityProviderStrategy") or []
    spot_only = strategy and all(item["capacityProvider"] == "FARGATE_SPOT" for item in strategy)
    if not spot_only or not pathlib.Path(os.environ["LOCAL_CLOUD_NO_SPOT"]).exists():
        return None
    reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
    return json_response({"tasks": [], "failures": [{"reason": reason}]})


def _started(response):
    """The answer, with each task's own size."""
    if response[0] != 200:
        return response
    answer = json.loads(response[2])
    for task in answer["tasks"]:
        _apply_overrides(task)
    return json_response(answer)


@mend(ecs, "_stop_task")
def stop_task_answers_before_the_end(_original, data):
    """StopTask answers with a task that is only wanted stopped; see `stop_takes_its_time`."""
    if refusal := _cluster_missing(data):
        return refusal
    task = ecs._resolve_task(data.get("task", ""), ecs._resolve_cluster_name(data.get("cluster", "default")))
    if task is None:
        return error_response_json("InvalidParameterException", "The referenced task was not found.", 400)
    ecs._mark_task_stopped(task["taskArn"], task, data.get("reason", "Task stopped by user"), "UserInitiated")
    return json_response({"task": ecs._sanitize(task)})


@mend(ecs, "_list_tasks")
def list_tasks_knows_its_clusters(original, data):
    """And takes no other filter with `startedBy` (API reference, "ListTasks")."""
    others = {"family", "serviceName", "containerInstance", "desiredStatus", "launchType"} & data.keys()
    if data.get("startedBy") and others:
        return error_response_json("InvalidParameterException", "cannot specify startedBy with other arguments", 400)
    return _cluster_missing(data) or original(data)


@mend(ecs, "_describe_tasks")
def describe_tasks_knows_its_clusters(original, data):
    return _cluster_missing(data) or original(data)


_deleted_clusters: dict = {}


@mend(ecs, "_delete_cluster")
def cluster_with_tasks_stays(original, data):
    name = ecs._resolve_cluster_name(data.get("cluster", "default"))
    arn = ecs._clusters.get(name, {}).get("clusterArn")
    if arn and any(t["clusterArn"] == arn and t["lastStatus"] != "STOPPED" for t in ecs._tasks.values()):
        return error_response_json("ClusterContainsTasksException",
                                   "The Cluster cannot be deleted while Tasks are active.", 400)
    response = original(data)
    if arn:
        _deleted_clusters[arn] = json.loads(response[2])["cluster"]
    return response


@mend(ecs, "_describe_clusters")
def deleted_cluster_stays_visible(original, data):
    """A cluster that was deleted is INACTIVE for a while before it is MISSING."""
    answer = json.loads(original(data)[2])
    for failure in list(answer["failures"]):
        if failure["arn"] in _deleted_clusters:
            answer["failures"].remove(failure)
            answer["clusters"].append(_deleted_clusters[failure["arn"]])
    return json_response(answer)


@mend(ecs, "_resolve_td_key")
def family_means_its_latest_active_revision(original, reference):
    """A family without a revision is its latest ACTIVE one; MiniStack takes the latest of all."""
    key = original(reference)
    family = (reference or "").rsplit("/", 1)[-1]
    if not key or ":" in family:
        return key
    active = [d for d in ecs._task_defs.values() if d["family"] == family and d["status"] == "ACTIVE"]
    return f"{family}:{max(d['revision'] for d in active)}" if active else family


@mend(ecs, "_list_task_definitions")
def family_prefix_is_the_whole_family(original, data):
    """`familyPrefix` is, in spite of its name, a full family name: `a` does not list the family `ab`."""
    family = data.get("familyPrefix")
    if not family:
        return original(data)
    status = data.get("status", "ACTIVE")
    arns = [d["taskDefinitionArn"] for d in ecs._task_defs.values() if d["family"] == family and d["status"] == status]
    if data.get("sort") == "DESC":
        arns.reverse()
    start, size = int(data.get("nextToken") or 0), data.get("maxResults", 100)
    page = {"taskDefinitionArns": arns[start:start + size]}
    if start + size < len(arns):
        page["nextToken"] = str(start + size)
    return json_response(page)


# --- Logs ---------------------------------------------------------------------------------------

# The end of a container's log, by its id: a task is not STOPPED before its last lines are there. AWS
# does not promise that, but it is as good as always so, and nobody has to wait and look again.
_log_ends: dict = {}
_LOG_PATIENCE = 30


@mend(ecs, "_start_awslogs_forwarder")
def log_end_is_awaited(original, container, definition, task_id):
    if ecs._awslogs_config(definition, task_id, container.id):
        _log_ends[container.id] = threading.Event()
    original(container, definition, task_id)


@mend(ecs, "_forward_awslogs")
def whole_lines_are_logged(_original, container, config, account, region):
    """MiniStack's forwarder gives up when a container's first line takes longer than its client's time-out,
    cuts lines where the stream is cut, and loses the end of a fast container's output."""
    ended = _log_ends[container.id]
    with request_scope(account, region):
        try:
            if not ecs._ensure_awslogs_stream(config):
                return
            source = docker.from_env(timeout=60).containers.get(container.id)
            # Read again and again, not followed: podman loses lines of what it is followed with, in the
            # midst of a burst and when the container ends.
            seen, rest, running = 0, b"", True
            while running:
                time.sleep(0.25)
                source.reload()
                running = source.status not in ("exited", "stopped", "dead", "removing")
                new = source.logs()[seen:]
                seen += len(new)
                *lines, rest = (rest + new).split(b"\n")
                for line in lines:
                    _log_line(config, line)
            _log_line(config, rest)
        except Exception as error:
            log.warning("the logs of container %s were cut off: %s", container.id[:12], error)
        finally:
            ended.set()


def _log_line(config, line):
    """Puts a line into the log stream; an empty one is left out, as on AWS."""
    text = line.decode("utf-8", errors="replace").rstrip("\r")
    if text:
        ecs._emit_awslogs_event(config, text)


# --- Shapes -------------------------------------------------------------------------------------

# A task's id is 32 hexadecimal digits.
set_value(ecs, "new_uuid", lambda: uuid.uuid4().hex)


@mend(ecs, "_ts_to_epoch")
def times_have_milliseconds(original, value):
    """DescribeTasks answers times with their milliseconds; MiniStack cuts them to seconds."""
    if not isinstance(value, str) or original(value) == value:
        return value
    return round(datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp(), 3)
