"""What is asked of AWS, written down for tests that look back on it: a line of JSON a call.

While LOCAL_CLOUD_CALLS names a file, each call of a function is written into it, with what its permission
can depend on (a role's boundary, a task's tags) as it was just before the call; and also what EventBridge and
ECS do in AWS's own name or with a job's role: targets that are invoked, tasks that are started. Otherwise
nothing here does anything. What is put into a table is left out, but for the keys.

Who calls is known by the session token: Lambda gives every function one, and here it is the function's name.
"""

import json
import os
import re
import threading
import urllib.parse

from ministack.core.responses import request_scope
from ministack.services import ecs, iam, scheduler

FILE = os.environ.get("LOCAL_CLOUD_CALLS")
_TOKEN = b"x-amz-security-token"

_lock = threading.Lock()


def write(operation, parameters, status=200, state=None, **who):
    """`who` is one or more of: function (its name), role (an ARN that is acted with), service (the principal that
    acts), source (the ARN on whose behalf)."""
    if not FILE:
        return
    line = json.dumps({**who, "operation": operation, "parameters": parameters, "status": status, "state": state})
    with _lock, open(FILE, "a", encoding="utf-8") as file:
        file.write(line + "\n")


# --- Functions ----------------------------------------------------------------------------------

def name_caller(environment, function):
    """Makes a function known by its calls."""
    if FILE:
        environment["AWS_SESSION_TOKEN"] = function


def recorded(app):
    """The ASGI application `app`, whose answers to functions are written down."""
    if not FILE:
        return app

    async def record(scope, receive, send):
        headers = dict(scope.get("headers", []))
        if scope["type"] != "http" or _TOKEN not in headers:
            await app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        read = False

        async def receive_again():
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        operation, parameters = _call(scope, headers, body)
        state = _state(operation, parameters)

        async def send_on(message):
            # Before the caller knows: the lines are in the order in which things came about.
            if message["type"] == "http.response.start":
                write(operation, _without_contents(operation, parameters), message["status"], state,
                      function=headers[_TOKEN].decode())
            await send(message)

        await app(scope, receive_again, send_on)

    return record


def _call(scope, headers, body):
    """`ecs:RunTask` and its parameters: the service is in the signature, the operation in a header, the form or, of
    EventBridge Scheduler, the path."""
    service = re.search(rb"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", headers[b"authorization"])[1].decode()
    if service == "scheduler":
        return _scheduler_call(scope, body)
    target = headers.get(b"x-amz-target")
    if target:
        return f"{service}:{target.decode().rsplit('.', 1)[-1]}", json.loads(body or b"{}")
    form = {name: values[0] for name, values in urllib.parse.parse_qs(body.decode(), keep_blank_values=True).items()}
    return f"{service}:{form.pop('Action', '?')}", _unflattened(form)


_SCHEDULER_OPERATIONS = {  # the method, the path's first step, and whether there is a second
    ("POST", "schedules", True): "CreateSchedule", ("GET", "schedules", True): "GetSchedule",
    ("PUT", "schedules", True): "UpdateSchedule", ("DELETE", "schedules", True): "DeleteSchedule",
    ("GET", "schedules", False): "ListSchedules",
    ("POST", "schedule-groups", True): "CreateScheduleGroup", ("GET", "schedule-groups", True): "GetScheduleGroup",
    ("DELETE", "schedule-groups", True): "DeleteScheduleGroup",
    ("GET", "schedule-groups", False): "ListScheduleGroups",
    ("POST", "tags", True): "TagResource", ("GET", "tags", True): "ListTagsForResource",
    ("DELETE", "tags", True): "UntagResource",
}


def _scheduler_call(scope, body):
    """A REST call: what is in the path and in the query are parameters too, under the API's names."""
    kind, _, named = scope["path"].strip("/").partition("/")
    operation = _SCHEDULER_OPERATIONS.get((scope["method"], kind, bool(named)), "?")
    parameters = json.loads(body or b"{}")
    if named:
        parameters["ResourceArn" if kind == "tags" else "Name"] = urllib.parse.unquote(named)
    for name, values in urllib.parse.parse_qs(scope["query_string"].decode()).items():
        name = {"ScheduleGroup": "GroupName"}.get(name, name[0].upper() + name[1:])
        parameters[name] = values if name == "TagKeys" else values[0]
    return f"scheduler:{operation}", parameters


def _unflattened(form):
    """`Tags.member.1.Key=a` is {"Tags": [{"Key": "a"}]} (the query protocol)."""
    tree = {}
    for name, value in form.items():
        *path, last = name.split(".")
        place = tree
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value

    def lists(node):
        if not isinstance(node, dict):
            return node
        for wrapper in ("member", "entry"):
            if node.keys() == {wrapper}:
                return [lists(item) for _, item in sorted(node[wrapper].items(), key=lambda item: int(item[0]))]
        return {name: lists(item) for name, item in node.items()}

    return lists(tree)


def _of_one_item(request):
    """Table, index and key of what a request reads or writes."""
    key = request.get("Key") or request.get("Item") or {}
    return {
        **{name: request[name] for name in ("TableName", "IndexName") if name in request},
        **({"Key": {name: key[name] for name in ("pk", "sk") if name in key}} if key else {}),
    }


def _without_contents(operation, parameters):
    if not operation.startswith("dynamodb:"):
        return parameters
    if "TransactItems" in parameters:
        return {"TransactItems": [
            {kind: _of_one_item(part) for kind, part in item.items()} for item in parameters["TransactItems"]]}
    if "RequestItems" in parameters:
        return {"RequestItems": dict.fromkeys(parameters["RequestItems"])}
    return _of_one_item(parameters)


def _state(operation, parameters):
    """What conditions look at and the call does not say."""
    with request_scope(os.environ["MINISTACK_ACCOUNT_ID"], os.environ["MINISTACK_REGION"]):
        if operation == "ecs:RunTask":
            return _definition(parameters.get("taskDefinition"))
        if operation == "ecs:StopTask":
            cluster = ecs._resolve_cluster_name(parameters.get("cluster", "default"))
            task = ecs._resolve_task(parameters.get("task", ""), cluster)
            return task and {"taskArn": task["taskArn"], "tags": ecs._tags.get(task["taskArn"], [])}
        if operation.startswith("iam:"):
            role = iam._roles.get(parameters.get("RoleName", ""))
            return role and {"Arn": role["Arn"], "PermissionsBoundary": role.get("PermissionsBoundary")}
    return None


def _definition(reference):
    """What a start takes from its task definition."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(reference or ""))
    return definition and {
        **{field: definition.get(field) for field in ("taskDefinitionArn", "taskRoleArn", "executionRoleArn")},
        "tags": ecs._tags.get(definition["taskDefinitionArn"], []),
    }


# --- AWS's own services -------------------------------------------------------------------------

def _acting(source, by_schedule):
    """EventBridge invokes queues, topics and functions in its own name, which their policies let in, on behalf of the
    rule. Scheduler does all with the role of the schedule's target, the dead-letter queue included, and takes the role
    on on behalf of the schedule's group (EventBridge Scheduler User Guide, "Setting up the execution role",
    "Configuring a dead-letter queue" and "Confused deputy prevention")."""
    if by_schedule:
        group = scheduler._group_arn(source["GroupName"])
        return {"role": source["Target"]["RoleArn"], "service": "scheduler.amazonaws.com", "source": group}
    return {"service": "events.amazonaws.com", "source": source["Arn"]}


def target_invoked(arn, source, by_schedule):
    """Of a rule or a schedule; its dead-letter queue is invoked in the same way."""
    if FILE:
        service = arn.split(":")[2]
        operation = {"sqs": "sqs:SendMessage", "sns": "sns:Publish", "lambda": "lambda:InvokeFunction"}.get(service)
        write(operation or f"{service}:?", {"resource": arn}, **_acting(source, by_schedule))


def task_started(target, source, request, by_schedule):
    """A task is run with the role of the target, for a rule as well."""
    if FILE:
        write("ecs:RunTask", request, state=_definition(request.get("taskDefinition")),
              **{"role": target["RoleArn"], **_acting(source, by_schedule)})


def task_prepared(task, definition):
    """ECS fetches, with the task's execution role, what its containers start from; `ecs:Prepare` is our word."""
    if FILE and definition.get("executionRoleArn"):
        fields = ("name", "image", "secrets", "logConfiguration", "repositoryCredentials")
        containers = [
            {field: container[field] for field in fields if container.get(field)}
            for container in definition["containerDefinitions"]]
        write("ecs:Prepare", {"containers": containers}, role=definition["executionRoleArn"],
              service="ecs-tasks.amazonaws.com", source=task["taskArn"])
