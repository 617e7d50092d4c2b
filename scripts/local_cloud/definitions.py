"""ECS: task definitions and clusters, as they are taken and as they are told.

Not modelled, and so not tested here: that Fargate offers the size, what Fargate has no use for, and the time
that a cluster's capacity providers take to be attached.
"""

import json

from ministack.core.responses import error_response_json, json_response
from ministack.services import ecs

from .mending import mend

# What ECS fills in when a container leaves it out (seen in DescribeTaskDefinition's answers).
_EMPTY_LISTS = ("environment", "mountPoints", "portMappings", "systemControls", "volumesFrom")
_HEALTH_CHECK = {"interval": 30, "timeout": 5, "retries": 3}  # API reference, "HealthCheck"

NOT_ASSOCIATED = (
    "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the "
    "cluster. Associate the capacity provider with the cluster or specify a valid capacity provider and try again.")
_UNKNOWN_PROVIDER = (
    "The specified capacity provider was not found. Specify a valid capacity provider and try again.")


# --- Task definitions ---------------------------------------------------------------------------

@mend(ecs, "_register_task_definition")
def definition_is_told_as_on_aws(original, data):
    """Defaults are filled in, and what has no value is left out, where MiniStack says null or nothing."""
    containers = data.get("containerDefinitions", [])
    if problem := _dependency_problem(containers):
        return error_response_json("ClientException", problem, 400)
    for container in containers:
        for field in _EMPTY_LISTS:
            container.setdefault(field, [])
        for mapping in container["portMappings"]:
            mapping.setdefault("protocol", "tcp")
            if data.get("networkMode") == "awsvpc":
                mapping.setdefault("hostPort", mapping["containerPort"])
        if "healthCheck" in container:
            container["healthCheck"] = {**_HEALTH_CHECK, **container["healthCheck"]}
    response = original(data)
    if response[0] != 200:
        return response
    answer = json.loads(response[2])
    told = answer["taskDefinition"]
    stored = ecs._task_defs[f"{told['family']}:{told['revision']}"]
    for field in [field for field, value in stored.items() if value in (None, "")]:
        del stored[field]
    return json_response({"taskDefinition": stored, "tags": answer["tags"]})


def _dependency_problem(containers):
    """Why the containers' `dependsOn` cannot be (API reference, "ContainerDependency"); the words are ours."""
    by_name = {container.get("name"): container for container in containers}
    waits_for = {name: set() for name in by_name}
    for name, container in by_name.items():
        for dependency in container.get("dependsOn", []):
            awaited = by_name.get(dependency["containerName"])
            if awaited is None:
                return f"Container {name} depends on {dependency['containerName']}, which the task does not have."
            if dependency["condition"] in ("COMPLETE", "SUCCESS") and awaited.get("essential", True):
                return f"The condition {dependency['condition']} can't be set on an essential container."
            if dependency["condition"] == "HEALTHY" and "healthCheck" not in awaited:
                return "The condition HEALTHY needs a container with a health check."
            waits_for[name].add(dependency["containerName"])
    while waits_for:
        free = [name for name, awaited in waits_for.items() if not awaited & waits_for.keys()]
        if not free:
            return "The containers' dependencies are a circle."
        for name in free:
            del waits_for[name]
    return None


# --- Clusters -----------------------------------------------------------------------------------

def _provider_problem(data):
    """What is wrong with the capacity providers that a cluster is to have."""
    providers = data.get("capacityProviders", [])
    if any(name not in ("FARGATE", "FARGATE_SPOT") and name not in ecs._capacity_providers for name in providers):
        return error_response_json("InvalidParameterException", _UNKNOWN_PROVIDER, 400)
    strategy = data.get("defaultCapacityProviderStrategy", [])
    if any(item["capacityProvider"] not in providers for item in strategy):
        return error_response_json("InvalidParameterException", NOT_ASSOCIATED, 400)
    return None


@mend(ecs, "_create_cluster")
def cluster_is_made_again_only_as_it_was(original, data):
    """A second CreateCluster gives the cluster back, but changes nothing and refuses to pretend so."""
    if problem := _provider_problem(data):
        return problem
    there = ecs._clusters.get(data.get("clusterName", "default"))
    fields = ("capacityProviders", "defaultCapacityProviderStrategy")
    if there and any(there[field] != data.get(field, []) for field in fields):
        return error_response_json(
            "InvalidParameterException", "Arguments on this idempotent request are inconsistent with arguments used "
            "in previous request(s).", 400)
    return original(data)


@mend(ecs, "_put_cluster_capacity_providers")
def providers_in_use_stay(original, data):
    if problem := _provider_problem(data):
        return problem
    cluster = ecs._clusters.get(ecs._resolve_cluster_name(data.get("cluster", "default")))
    in_use = {
        task["capacityProviderName"] for task in ecs._tasks.values()
        if cluster and task["clusterArn"] == cluster["clusterArn"] and task["lastStatus"] != "STOPPED"
    } - {None}
    if not in_use <= set(data.get("capacityProviders", [])):
        return error_response_json(
            "ResourceInUseException", "The specified capacity provider is in use and cannot be removed.", 400)
    return original(data)
