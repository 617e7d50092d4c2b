"""ECS: how the containers of a task start: in their order, with their secrets and their volumes.

A volume without a source is a directory of the task; an EFS file system is a directory of the local cloud,
kept for as long as that is up. Both lie below LOCAL_CLOUD_VOLUMES.

Not modelled, and so not tested here: restart policies, FireLens, ulimits, system controls, a container's
limits of cpu and memory, EFS's encryption, IAM and POSIX users, and who may read a secret.
"""

import json
import math
import os
import pathlib
import shutil
import threading
import time

import docker
from ministack.core.concurrency import resource_lock
from ministack.core.responses import get_region
from ministack.services import ecs, efs, secretsmanager, ssm

from . import recording
from .mending import mend

# The task, and its definition, whose containers this thread starts.
_starting = threading.local()

_EXITED = ("exited", "stopped", "dead", "removing")


@mend(ecs, "_run_task_worker")
def containers_start_after_those_they_depend_on(original, task, definition, overrides, client, account, region):
    """MiniStack starts containers as they are listed, whatever their `dependsOn`."""
    containers = definition["containerDefinitions"]
    order = _start_order(containers)
    definition = {**definition, "containerDefinitions": [containers[index] for index in order]}
    with resource_lock("ecs-task", task["taskArn"]):
        for field in ("containers", "_container_essentials"):
            task[field] = [task[field][index] for index in order]
    _starting.task, _starting.definition = task, definition
    original(task, definition, overrides, client, account, region)


def _start_order(containers):
    """The containers' indices, each after those it depends on and otherwise as they were listed. That there
    is such an order was seen to when the definition was registered."""
    names = [container["name"] for container in containers]
    order = []

    def visit(index):
        for dependency in containers[index].get("dependsOn", []):
            visit(names.index(dependency["containerName"]))
        if index not in order:
            order.append(index)

    for index in range(len(containers)):
        visit(index)
    return order


# --- Dependencies -------------------------------------------------------------------------------

@mend(ecs, "_run_docker_container")
def dependencies_are_awaited(original, client, definition, run_kwargs, **options):
    for dependency in definition.get("dependsOn", []):
        _await(client, definition["name"], dependency["containerName"], dependency["condition"])
    return original(client, definition, run_kwargs, **options)


def _await(client, name, awaited, condition):
    """Waits until a container is as another one needs it: for as long as its `startTimeout` says, or for ever.
    How the task is told of then is nowhere written, but that it stops without having started."""
    task = _starting.task
    (index,) = [n for n, container in enumerate(task["containers"]) if container["name"] == awaited]
    patience = _starting.definition["containerDefinitions"][index].get("startTimeout", math.inf)
    end = time.monotonic() + patience
    while not _has_come_about(client, task, index, name, condition):
        if time.monotonic() > end:
            raise RuntimeError(f"{name} depends on {awaited}, which was not {condition} within {patience} s")
        if not ecs._task_is_active(task["taskArn"], task):
            raise RuntimeError("the task was stopped")
        time.sleep(0.1)


def _has_come_about(client, task, index, name, condition):
    record = task["containers"][index]
    if condition == "START":  # it was started before: see `_start_order`
        return True
    container = client.containers.get(task["_docker_ids"][index])
    exited = container.status in _EXITED
    if condition == "COMPLETE":
        return exited
    if condition == "SUCCESS":
        if exited and container.wait()["StatusCode"] != 0:
            raise RuntimeError(f"{name} depends on {record['name']}, which did not exit successfully")
        return exited
    if exited:
        raise RuntimeError(f"{name} depends on {record['name']}, which ended before it was healthy")
    return record["healthStatus"] == "HEALTHY"  # one that is UNHEALTHY can still become so


@mend(ecs, "_attach_started_container")
def health_is_checked(original, task, container, index, token, network):
    """Podman checks no health without systemd, and MiniStack asks nobody to."""
    attached = original(task, container, index, token, network)
    check = _starting.definition["containerDefinitions"][index].get("healthCheck")
    if attached and check:
        threading.Thread(
            target=_check_health, args=(task, task["containers"][index], container.id, check), daemon=True,
            name=f"health-{container.id[:8]}",
        ).start()
    return attached


def _check_health(task, record, docker_id, check):
    """A task that was run by itself goes on whatever its health (API reference, "HealthCheck"): it is told,
    and dependencies wait for it."""
    kind, *command = check["command"]
    argv = command if kind == "CMD" else ["/bin/sh", "-c", command[0]]
    began, failures = time.monotonic(), 0
    while True:
        time.sleep(check["interval"])
        try:
            container = docker.from_env(timeout=check["timeout"]).containers.get(docker_id)
            if container.status in _EXITED:
                return
            healthy = container.exec_run(argv).exit_code == 0
        except docker.errors.NotFound:
            return
        except Exception:  # it took too long
            healthy = False
        if healthy:
            failures = 0
        elif time.monotonic() - began > check.get("startPeriod", 0):
            failures += 1
        with resource_lock("ecs-task", task["taskArn"]):
            if healthy:
                record["healthStatus"] = "HEALTHY"
            elif failures >= check["retries"]:
                record["healthStatus"] = "UNHEALTHY"
            task["healthStatus"] = _health_of_task(task)


def _health_of_task(task):
    """Only essential containers count, and one whose health is not known leaves the task's unknown."""
    states = {
        container["healthStatus"] for container, essential in zip(task["containers"], task["_container_essentials"])
        if essential
    }
    for state in ("UNHEALTHY", "UNKNOWN"):
        if state in states:
            return state
    return "HEALTHY"


# --- Secrets ------------------------------------------------------------------------------------

@mend(ecs, "_mark_task_activating")
def secrets_are_there_before_any_container(original, task_arn, task):
    recording.task_prepared(task, _starting.definition)
    for container in _starting.definition["containerDefinitions"]:
        ecs._resolve_container_secrets(container)
        ecs._resolve_repository_credentials(container)
    return original(task_arn, task)


@mend(ecs, "_resolve_container_secrets")
def secrets_are_plain_and_of_their_version(_original, definition):
    """MiniStack hands a SecureString on as it is stored, and knows neither stage nor version of a secret."""
    return {secret["name"]: _secret(secret["valueFrom"]) for secret in definition.get("secrets", [])}


def _secret(reference):
    """The value of a parameter (its ARN or its name), or of a secret:
    `<secret's ARN>[:<JSON key>[:<stage>[:<version>]]]`, of which each part may be empty."""
    if ":secretsmanager:" not in reference:
        value = ssm.resolve_parameter_value(reference, decrypt=True)
        if value is None:
            name = reference.rsplit(":parameter/", 1)[-1]
            raise ecs._SecretResolutionError(
                "unable to retrieve secrets from ssm: service call has been retried 1 time(s): fetching "
                f"parameters failed: invalid parameters: {name}")
        return value
    parts = reference.split(":")
    arn = ":".join(parts[:7])
    key, stage, version = (parts[7:] + ["", "", ""])[:3]
    value = secretsmanager.resolve_secret_string(arn, stage or "AWSCURRENT", version or None)
    failed = "unable to retrieve secret from asm: service call has been retried 1 time(s): "
    if value is None:
        raise ecs._SecretResolutionError(
            f"{failed}failed to fetch secret {arn} from secrets manager: ResourceNotFoundException: Secrets Manager "
            "can't find the specified secret.")
    if not key:
        return value
    try:
        return str(json.loads(value)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise ecs._SecretResolutionError(
            f"{failed}retrieved secret from Secrets Manager did not contain json key {key}") from error


# --- Volumes ------------------------------------------------------------------------------------

def _volumes():
    return pathlib.Path(os.environ["LOCAL_CLOUD_VOLUMES"])


def _of_task(task_arn):
    return _volumes() / "tasks" / task_arn.rsplit("/", 1)[-1]


def forget_volumes(task_arn):
    shutil.rmtree(_of_task(task_arn), ignore_errors=True)


@mend(ecs, "_docker_binds_from_taskdef")
def volumes_are_directories(_original, definition, container):
    """MiniStack mounts only volumes with a path of the host, which Fargate has none of."""
    volumes = {volume["name"]: volume for volume in definition.get("volumes", [])}
    binds = []
    for mount in container.get("mountPoints", []):
        volume = volumes[mount["sourceVolume"]]
        if "efsVolumeConfiguration" in volume:
            directory = _efs_directory(volume["efsVolumeConfiguration"])
        else:
            directory = _of_task(_starting.task["taskArn"]) / volume["name"]
            directory.mkdir(parents=True, exist_ok=True)
        binds.append(f"{directory}:{mount['containerPath']}:{'ro' if mount.get('readOnly') else 'rw'}")
    return binds


def _efs_directory(configuration):
    file_system = configuration["fileSystemId"]
    host = f"{file_system}.efs.{get_region()}.amazonaws.com"
    if file_system not in efs._file_systems:
        raise RuntimeError(_efs_failure(
            f'Failed to resolve "{host}" - check that your file system ID is correct, and ensure that the VPC has '
            "an EFS mount target for this file system ID.", 1))
    root = _volumes() / "efs" / file_system
    root.mkdir(parents=True, exist_ok=True)
    access_point = (configuration.get("authorizationConfig") or {}).get("accessPointId")
    settings = efs._access_points[access_point]["RootDirectory"] if access_point in efs._access_points else {}
    path = settings.get("Path") or configuration.get("rootDirectory") or "/"
    directory = root / path.strip("/")
    if settings.get("CreationInfo"):
        directory.mkdir(parents=True, exist_ok=True)
    if not directory.is_dir():
        raise RuntimeError(_efs_failure(
            f"b'mount.nfs4: mounting {host}:{path} failed, reason given by server: No such file or directory'", 32))
    return directory


def _efs_failure(what, code):
    return ("ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: "
            f"{what} : unsuccessful EFS utils command execution; code: {code}")


# --- The container itself -----------------------------------------------------------------------

@mend(ecs, "_build_run_kwargs")
def container_definition_is_kept(original, definition, *rest):
    """MiniStack passes the command on, but not these."""
    kwargs = original(definition, *rest)
    for field, argument in (("entryPoint", "entrypoint"), ("workingDirectory", "working_dir"), ("user", "user"),
                            ("readonlyRootFilesystem", "read_only")):
        if definition.get(field):
            kwargs[argument] = definition[field]
    kwargs["labels"] = {**(definition.get("dockerLabels") or {}), **kwargs["labels"]}
    return kwargs
