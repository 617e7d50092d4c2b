"""What AWS asks IAM when a call is made: from a line that scripts/local_cloud/recording.py wrote to the requests for
authorization that the call implies.

Actions, resources and condition keys are those of the Service Authorization Reference; what a call implies besides is
told at the place. To add an operation, add it to PLAIN (one action of its own name, on one resource) or write a
function under `@implied_by`. An operation that is in neither is an error.
"""

import dataclasses
import json
import re

from iam import Request

ACCOUNT_WIDE = "*"  # the resource of an action for which AWS knows none


@dataclasses.dataclass(frozen=True)
class Call:
    """One recorded call. Who made it is a function (its name), or an AWS service: with a role, or in its own name."""

    operation: str
    parameters: dict
    status: int = 200
    state: dict | None = None
    function: str | None = None
    role: str | None = None
    service: str | None = None
    source: str | None = None


@dataclasses.dataclass(frozen=True)
class World:
    account: str
    region: str
    partition: str = "aws"

    def arn(self, service: str, resource: str) -> str:
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"

    def cluster(self, reference: str | None) -> str:
        reference = reference or "default"
        return reference if reference.startswith("arn:") else self.arn("ecs", f"cluster/{reference}")

    def task(self, reference: str, cluster: str | None) -> str:
        name = self.cluster(cluster).split(":cluster/", 1)[1]
        return reference if reference.startswith("arn:") else self.arn("ecs", f"task/{name}/{reference}")

    def definition(self, reference: str) -> str:
        return reference if reference.startswith("arn:") else self.arn("ecs", f"task-definition/{reference}")


def requests_of(call: Call, world: World) -> list[Request]:
    if call.operation in PLAIN:
        return [Request(call.operation, PLAIN[call.operation](call.parameters, world))]
    if call.operation not in _IMPLIED:
        raise KeyError(f"{call.operation} is not known here: say in aws_requests.py what it implies")
    return _IMPLIED[call.operation](call, world)


_IMPLIED = {}


def implied_by(*operations):
    def keep(function):
        _IMPLIED.update(dict.fromkeys(operations, function))
        return function
    return keep


def known() -> set[str]:
    return {*PLAIN, *_IMPLIED}


# --- One action on one resource -----------------------------------------------------------------

def _rule(parameters: dict, world: World) -> str:
    """On the default bus a rule's ARN has no bus."""
    return world.arn("events", f"rule/{parameters.get('Name') or parameters['Rule']}")


def _tagged(parameters: dict, _world: World) -> str:
    return next(parameters[key] for key in ("resourceArn", "ResourceArn", "ResourceARN") if key in parameters)


def _log_group(parameters: dict, world: World) -> str:
    """Of all but the tagging actions (CloudWatch Logs User Guide, "Overview of managing access permissions"); IAM is
    asked about an empty stream in the group, as its refusals tell."""
    return world.arn("logs", f"log-group:{parameters['logGroupName']}:log-stream:")


def _topic(parameters: dict, _world: World) -> str:
    return parameters["TopicArn"]


def _account_wide(_parameters: dict, _world: World) -> str:
    return ACCOUNT_WIDE


def _schedule(parameters: dict, world: World) -> str:
    """Of this alone IAM is asked, and not of the group."""
    return world.arn("scheduler", f"schedule/{parameters.get('GroupName', 'default')}/{parameters['Name']}")


PLAIN = {
    "ecs:PutClusterCapacityProviders": lambda parameters, world: world.cluster(parameters["cluster"]),
    "ecs:DeleteCluster": lambda parameters, world: world.cluster(parameters["cluster"]),
    "ecs:DescribeTaskDefinition": _account_wide,
    "ecs:ListTaskDefinitions": _account_wide,
    "ecs:DeregisterTaskDefinition": _account_wide,
    "ecs:ListClusters": _account_wide,
    "events:ListRules": _account_wide,
    "scheduler:ListSchedules": _account_wide,
    "iam:GetAccountSummary": _account_wide,
    "servicequotas:GetServiceQuota": _account_wide,
    "events:ListTagsForResource": _tagged,
    "events:DisableRule": _rule,
    "events:DeleteRule": _rule,
    "events:RemoveTargets": _rule,
    "scheduler:GetSchedule": _schedule,
    "scheduler:DeleteSchedule": _schedule,
    "sns:SetTopicAttributes": _topic,
    "sns:ListTagsForResource": _tagged,
    "sns:ListSubscriptionsByTopic": _topic,
    "sns:DeleteTopic": _topic,
    # IAM is asked about the topic (its refusals tell so), which the subscription's ARN begins with.
    "sns:Unsubscribe": lambda parameters, _world: parameters["SubscriptionArn"].rpartition(":")[0],
    "logs:PutRetentionPolicy": _log_group,
    "logs:DeleteLogGroup": _log_group,
    "logs:ListTagsForResource": _tagged,
    "logs:GetLogEvents": lambda parameters, world: world.arn(
        "logs", f"log-group:{parameters['logGroupName']}:log-stream:{parameters['logStreamName']}"),
}


# --- Tags ---------------------------------------------------------------------------------------

def _request_tags(tags) -> dict:
    """Of `[{Key, Value}]`, `[{key, value}]` or `{key: value}`."""
    if isinstance(tags, list):
        tags = {tag.get("Key", tag.get("key")): tag.get("Value", tag.get("value")) for tag in tags}
    if not tags:
        return {}
    return {"aws:TagKeys": tuple(tags), **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}


@implied_by("ecs:TagResource", "events:TagResource", "sns:TagResource", "logs:TagResource")
def _tag(call, world):
    tags = next(call.parameters[key] for key in ("tags", "Tags") if key in call.parameters)
    return [Request(call.operation, _tagged(call.parameters, world), _request_tags(tags))]


@implied_by("ecs:UntagResource", "events:UntagResource", "sns:UntagResource", "logs:UntagResource")
def _untag(call, world):
    keys = next(call.parameters[key] for key in ("tagKeys", "TagKeys") if key in call.parameters)
    return [Request(call.operation, _tagged(call.parameters, world), {"aws:TagKeys": tuple(keys)})]


def _with_tags(made: Request, tags, tagging: str) -> list[Request]:
    """Whoever makes a thing with tags needs leave to tag it as well."""
    context = _request_tags(tags)
    made = made.but(context=context)
    return [made, Request(tagging, made.resource, context)] if context else [made]


# --- DynamoDB -----------------------------------------------------------------------------------

def _of_table(action: str, part: dict, world: World) -> Request:
    resource = f"table/{part['TableName']}" + (f"/index/{part['IndexName']}" if "IndexName" in part else "")
    leading = part.get("Key", {}).get("pk", {}).get("S")
    return Request(f"dynamodb:{action}", world.arn("dynamodb", resource),
                   {"dynamodb:LeadingKeys": (leading,)} if leading else {})


@implied_by("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query")
def _item(call, world):
    return [_of_table(call.operation.partition(":")[2], call.parameters, world)]


@implied_by("dynamodb:TransactWriteItems", "dynamodb:TransactGetItems")
def _transaction(call, world):
    """A transaction is allowed by what it is made of (DynamoDB Developer Guide, "Using IAM with transactions")."""
    actions = {"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem",
               "ConditionCheck": "ConditionCheckItem"}
    return [
        _of_table(actions[kind], part, world)
        for item in call.parameters["TransactItems"] for kind, part in item.items()]


@implied_by("dynamodb:BatchGetItem", "dynamodb:BatchWriteItem")
def _batch(call, world):
    return [
        _of_table(call.operation.partition(":")[2], {"TableName": table}, world)
        for table in call.parameters["RequestItems"]]


# --- ECS ----------------------------------------------------------------------------------------

@implied_by("ecs:DescribeClusters")
def _describe_clusters(call, world):
    return [Request(call.operation, world.cluster(name)) for name in call.parameters["clusters"]]


@implied_by("ecs:CreateCluster")
def _create_cluster(call, world):
    """The first cluster of an account makes ECS's own role (ECS Developer Guide, "Using service-linked roles")."""
    cluster = world.cluster(call.parameters["clusterName"])
    own = world.arn("iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS")
    return [
        Request("iam:CreateServiceLinkedRole", own, {"iam:AWSServiceName": "ecs.amazonaws.com"}),
        *_ecs_with_tags(Request(call.operation, cluster), call.parameters.get("tags"), cluster)]


def _ecs_with_tags(made: Request, tags, tagged: str) -> list[Request]:
    """ECS says besides what is made (ECS Developer Guide, "Grant permission to tag resources on creation")."""
    context = _request_tags(tags)
    made = made.but(context=context)
    action = made.action.partition(":")[2]
    return [made] + ([Request("ecs:TagResource", tagged, {**context, "ecs:CreateAction": action})] if context else [])


def _passed(service: str, *roles: str | None) -> list[Request]:
    return [Request("iam:PassRole", role, {"iam:PassedToService": service}) for role in roles if role]


@implied_by("ecs:RegisterTaskDefinition")
def _register(call, world):
    """The number of the revision is not known before."""
    parameters = call.parameters
    revision = world.definition(f"{parameters['family']}:*")
    return [
        *_ecs_with_tags(Request(call.operation, revision), parameters.get("tags"), revision),
        *_passed("ecs-tasks.amazonaws.com", parameters.get("taskRoleArn"), parameters.get("executionRoleArn"))]


@implied_by("ecs:RunTask")
def _run_task(call, world):
    """The task's id is not known before. Its roles are those of the definition, or what the overrides say."""
    parameters, definition = call.parameters, call.state or {}
    cluster = world.cluster(parameters.get("cluster"))
    overrides = parameters.get("overrides") or {}
    tags = list(parameters.get("tags") or [])
    if parameters.get("propagateTags") == "TASK_DEFINITION":
        tags += definition.get("tags") or []
    run = Request(call.operation, definition.get("taskDefinitionArn") or world.definition(parameters["taskDefinition"]), {
        "ecs:cluster": cluster,
        "ecs:enable-execute-command": str(bool(parameters.get("enableExecuteCommand"))).lower()})
    return [
        *_ecs_with_tags(run, tags, world.task("*", cluster)),
        *_passed("ecs-tasks.amazonaws.com", overrides.get("taskRoleArn") or definition.get("taskRoleArn"),
                 overrides.get("executionRoleArn") or definition.get("executionRoleArn"))]


@implied_by("ecs:ListTasks")
def _list_tasks(call, world):
    """Its resource is a container instance, of which Fargate has none; the cluster is in the context."""
    return [Request(call.operation, ACCOUNT_WIDE, {"ecs:cluster": world.cluster(call.parameters.get("cluster"))})]


@implied_by("ecs:DescribeTasks")
def _describe_tasks(call, world):
    cluster = call.parameters.get("cluster")
    return [
        Request(call.operation, world.task(task, cluster), {"ecs:cluster": world.cluster(cluster)})
        for task in call.parameters["tasks"]]


@implied_by("ecs:StopTask")
def _stop_task(call, world):
    cluster, state = call.parameters.get("cluster"), call.state or {}
    tags = {f"aws:ResourceTag/{tag['key']}": tag["value"] for tag in state.get("tags", [])}
    task = state.get("taskArn") or world.task(call.parameters["task"], cluster)
    return [Request(call.operation, task, {"ecs:cluster": world.cluster(cluster), **tags})]


# --- EventBridge --------------------------------------------------------------------------------

@implied_by("events:PutRule")
def _put_rule(call, world):
    """Tags of a rule that exists are ignored; leave is asked for all the same."""
    pattern = json.loads(call.parameters.get("EventPattern") or "{}")
    context = {
        f"events:{key}": tuple(pattern[key]) for key in ("source", "detail-type")
        if all(isinstance(value, str) for value in pattern.get(key, [None]))}
    rule = Request(call.operation, _rule(call.parameters, world), context)
    return _with_tags(rule, call.parameters.get("Tags"), "events:TagResource") + _passed(
        "events.amazonaws.com", call.parameters.get("RoleArn"))


@implied_by("events:PutTargets")
def _put_targets(call, world):
    targets = call.parameters["Targets"]
    return [
        Request(call.operation, _rule(call.parameters, world), {
            "events:TargetArn": tuple(target["Arn"] for target in targets)}),
        *_passed("events.amazonaws.com", *(target.get("RoleArn") for target in targets))]


@implied_by("events:PutEvents")
def _put_events(call, world):
    return [
        Request(call.operation, world.arn("events", f"event-bus/{entry.get('EventBusName', 'default')}"),
                {"events:source": entry["Source"], "events:detail-type": entry["DetailType"]})
        for entry in call.parameters["Entries"]]


# --- EventBridge Scheduler ----------------------------------------------------------------------

@implied_by("scheduler:CreateSchedule", "scheduler:UpdateSchedule")
def _put_schedule(call, world):
    """Whatever the target is, and its dead-letter queue: it is invoked with a role, which is passed."""
    return [
        Request(call.operation, _schedule(call.parameters, world)),
        *_passed("scheduler.amazonaws.com", call.parameters["Target"].get("RoleArn"))]


# --- IAM ----------------------------------------------------------------------------------------

def _roles(call: Call, world: World) -> list[str]:
    """The ARN of the role that a call names. One that is not there has none, and with which path IAM is asked about it
    then is nowhere written: with that of our roles, or without."""
    if call.state:
        return [call.state["Arn"]]
    return [world.arn("iam", f"role{path}{call.parameters['RoleName']}") for path in ("/cronplane/", "/")]


@implied_by("iam:CreateRole")
def _create_role(call, world):
    parameters = call.parameters
    role = world.arn("iam", f"role{parameters.get('Path', '/')}{parameters['RoleName']}")
    boundary = parameters.get("PermissionsBoundary")
    made = Request(call.operation, role, {"iam:PermissionsBoundary": boundary} if boundary else {})
    return _with_tags(made, parameters.get("Tags"), "iam:TagRole")


@implied_by("iam:GetRole")
def _look_at_role(call, world):
    return [Request(call.operation, role) for role in _roles(call, world)]


@implied_by("iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:DeleteRole",
            "iam:PutRolePermissionsBoundary", "iam:TagRole", "iam:UntagRole")
def _change_role(call, world):
    """What is changed is there, or was a moment ago: `iam:GetRole` found it. The boundary is that of the role, and of
    PutRolePermissionsBoundary the one that it is to have (IAM User Guide, "Permissions boundaries")."""
    boundary = call.parameters.get("PermissionsBoundary") or (call.state or {}).get("PermissionsBoundary")
    context = {"iam:PermissionsBoundary": boundary} if boundary else {}
    if call.operation not in (
            "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary"):
        context = {}
    if "Tags" in call.parameters:
        context |= _request_tags(call.parameters["Tags"])
    return [Request(call.operation, _roles(call, world)[0], context)]


# --- SNS and CloudWatch Logs --------------------------------------------------------------------

@implied_by("sns:CreateTopic")
def _create_topic(call, world):
    topic = Request(call.operation, world.arn("sns", call.parameters["Name"]))
    return _with_tags(topic, call.parameters.get("Tags"), "sns:TagResource")


@implied_by("sns:Subscribe")
def _subscribe(call, world):
    return [Request(call.operation, _topic(call.parameters, world), {
        "sns:Protocol": call.parameters["Protocol"], "sns:Endpoint": call.parameters["Endpoint"]})]


@implied_by("logs:CreateLogGroup")
def _create_log_group(call, world):
    tags = call.parameters.get("tags")
    group = _log_group(call.parameters, world)
    made = Request(call.operation, group, _request_tags(tags))
    # The tagging actions know the group without the stream.
    tagged = group.removesuffix(":log-stream:")
    return [made] + ([Request("logs:TagResource", tagged, _request_tags(tags))] if tags else [])


# --- What AWS itself does with a role -----------------------------------------------------------

def of_function(log_group: str, queues: list[str]) -> list[Request]:
    """Lambda writes a function's log and reads the queues that feed it, with the function's role (Lambda Developer
    Guide, "Sending function logs to CloudWatch Logs" and "Configuring permissions for SQS event source mappings"). The
    ARN of the log group is CloudFormation's, which ends in `:*`."""
    stream = f"{log_group.removesuffix('*')}log-stream:2026/11/23/[$LATEST]0123456789abcdef"
    return [
        *(Request(f"logs:{action}", stream) for action in ("CreateLogStream", "PutLogEvents")),
        *(Request(f"sqs:{action}", queue)
          for queue in queues for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"))]


def assumes(call: Call, world: World) -> Request:
    """The service takes on the role: what the role's trust policy is asked."""
    return Request("sts:AssumeRole", call.role, {"aws:SourceAccount": world.account, "aws:SourceArn": call.source},
                   service=call.service)


@implied_by("ecs:Prepare")
def _prepare(call, world):
    """Before containers start ECS fetches images and secrets, and makes the log streams (ECS Developer Guide, "Amazon
    ECS task execution IAM role")."""
    task = call.source.rsplit("/", 1)[1]
    return [request for container in call.parameters["containers"] for request in prepared(container, task, world)]


def prepared(container: dict, task: str, world: World) -> list[Request]:
    """What the execution role is needed for, of one container."""
    found = [*_image(container["image"], world)]
    for secret in container.get("secrets", []):
        found += _secret(secret["valueFrom"], world)
    if container.get("repositoryCredentials"):
        found += _secret(container["repositoryCredentials"]["credentialsParameter"], world)
    options = (container.get("logConfiguration") or {}).get("options")
    if options:
        stream = world.arn("logs", f"log-group:{options['awslogs-group']}:log-stream:"
                                   f"{options['awslogs-stream-prefix']}/{container['name']}/{task}")
        found += [Request(f"logs:{action}", stream) for action in ("CreateLogStream", "PutLogEvents")]
    return found


def _image(image: str, world: World) -> list[Request]:
    """Of ECR's private registries only is leave asked (ECR User Guide, "Using Amazon ECR images with Amazon ECS")."""
    match = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:@]+)[:@].+", image)
    if not match:
        return []
    repository = f"arn:{world.partition}:ecr:{match[2]}:{match[1]}:repository/{match[3]}"
    return [
        Request("ecr:GetAuthorizationToken", ACCOUNT_WIDE),
        *(Request(f"ecr:{action}", repository)
          for action in ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage"))]


def _secret(reference: str, world: World) -> list[Request]:
    """The key that a secret is encrypted with is not known here: any key of the account, by the secret's store and for
    this secret alone. Secrets Manager User Guide, "Secret encryption and decryption"; Systems Manager User Guide, "AWS
    KMS encryption for AWS Systems Manager Parameter Store SecureString parameters"."""
    if ":secretsmanager:" in reference:
        secret = ":".join(reference.split(":")[:7])
        action, store, key = "secretsmanager:GetSecretValue", "secretsmanager", "SecretARN"
    else:
        secret = reference if reference.startswith("arn:") else world.arn("ssm", f"parameter/{reference.lstrip('/')}")
        action, store, key = "ssm:GetParameters", "ssm", "PARAMETER_ARN"
    return [
        Request(action, secret),
        Request("kms:Decrypt", world.arn("kms", "key/11111111-2222-3333-4444-555555555555"), {
            "kms:ViaService": f"{store}.{world.region}.amazonaws.com", f"kms:EncryptionContext:{key}": secret})]


@implied_by("sqs:SendMessage", "sns:Publish", "lambda:InvokeFunction")
def _invoke(call, world):
    """Scheduler does so with the schedule's role, and a function with its own; EventBridge in its own name: the
    resource's policy is asked."""
    if call.function:
        return [Request(call.operation, call.parameters["TopicArn"])]
    if call.role:
        return [Request(call.operation, call.parameters["resource"])]
    return [Request(call.operation, call.parameters["resource"], {
        "aws:SourceAccount": world.account, "aws:SourceArn": call.source}, service=call.service)]
