"""What Cronplane may do in AWS, held against what it does.

The first half reads template.yaml alone: attempts to get at more than is granted, each beside a near one that is
allowed, so that none is denied for a reason of its own; what the queues' and functions' policies let in; and every
wildcard, with its reason. The second half, last of all tests, looks back on what the functions of the stack really
asked of AWS (scripts/local_cloud/recording.py), and on what EventBridge and ECS did with the roles of its jobs.

The local cloud asks nobody for permission. iam.py decides as AWS does, aws_requests.py knows what a call implies.
"""

import dataclasses
import datetime
import json

import aws_requests
import pytest
from aws_requests import Call, World, assumes, of_function, requests_of
from conftest import ACCOUNT, REGION, ROOT, STACK
from iam import Request, Statement, Template, admits, arn_like, decide, holds, like, statements
from product import MERGE, ended, enabled_rules, get, job_path, post, run_now, schedule_of, until

# The role of each function.
FUNCTIONS = {"http": "HttpRole", "events": "EventsRole", "sweep": "SweepRole"}
# To which a role may be passed.
ENGINES = ("events.amazonaws.com", "scheduler.amazonaws.com")
SERVICES = {"ecs-tasks.amazonaws.com", *ENGINES}
# Its name begins with this stack's.
NEIGHBOUR = f"{STACK}2"
STRANGER = "111122223333"

HERE = World(ACCOUNT, REGION)
arn = HERE.arn

TASK_ROLE, START_ROLE = arn("iam", "role/jobs/report"), arn("iam", "role/jobs/start")
SECRET = arn("secretsmanager", "secret:reports/db-AbC123")
PARAMETER = arn("ssm", "parameter/reports/token")
GIVEN = {
    "AdminTokenSha256": "0" * 64,
    "DefaultSubnets": "subnet-0a1b2c3d",
    "PassableRoles": f"{TASK_ROLE},{START_ROLE}",
    "ReadableSecrets": f"{SECRET},{PARAMETER}",
}


def imagined(stack: str = STACK, region: str = REGION, **parameters: str) -> Template:
    """The template as if it were deployed, with roles and secrets that have no wildcard of their own."""
    return Template(ROOT / "template.yaml", stack, ACCOUNT, region, {**GIVEN, **parameters})


TEMPLATE = imagined()
POLICIES = {function: TEMPLATE.policies_of(role) for function, role in FUNCTIONS.items()}
BOUNDARY_ARN, BOUNDARY = TEMPLATE.ref("RoleBoundary"), TEMPLATE.managed("RoleBoundary")
# Whatever policy a job's role has, the boundary holds it.
EVERYTHING = statements("everything", {
    "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


# ---- attempts

def own_role(name: str = "platform_report_us-east-1_events", stack: str = STACK, path: str = "/cronplane/") -> str:
    return arn("iam", f"role{path}{stack}_{name}")


def named(service: str, kind: str, stack: str = STACK, rest: str = "platform_report") -> str:
    return arn(service, f"{kind}{stack}_{rest}")


def table(logical: str = "") -> str:
    return TEMPLATE.attribute("Table", "Arn") + logical


def log_group(stack: str = STACK, rest: str = "log-stream:run/main/0a1b") -> str:
    return arn("logs", f"log-group:/cronplane/{stack}/platform/report:{rest}")


def own_log(function: str) -> str:
    return TEMPLATE.attribute(f"{function.capitalize()}LogGroup", "Arn").removesuffix("*") + "log-stream:a"


BOUNDED = {"iam:PermissionsBoundary": BOUNDARY_ARN}
OTHER_BOUNDARIES = (None, "arn:aws:iam::aws:policy/AdministratorAccess", BOUNDARY_ARN.replace(STACK, NEIGHBOUR, 1))
FOREIGN_ROLES = (own_role(stack=NEIGHBOUR), own_role(path="/"), own_role(path="/cronplane/x/"),
                 arn("iam", "role/cronplane/other"), arn("iam", "role/admin"), arn("iam", f"role/{STACK}-HttpRole-1A2B"))
IN_ECS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
OTHER_SERVICES = ("lambda.amazonaws.com", "ec2.amazonaws.com", "states.amazonaws.com", None)
SHARED = {"ecs:cluster": arn("ecs", "cluster/shared")}
ELSEWHERE = {"ecs:cluster": f"arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/shared"}
OWN_TAG = "aws:ResourceTag/cronplane:stack"
FAILED, TEST = ({"events:source": f"cronplane.{STACK}", "events:detail-type": f"Cronplane {kind}"}
                for kind in ("Run Failed", "Notification Test"))
PROVISIONING, STARTING, ALL = {"http", "sweep"}, {"http", "events", "sweep"}, {"http", "events", "sweep"}

FOREIGN_FAMILIES = (named("ecs", "task-definition/", NEIGHBOUR, "platform_report:1"), arn("ecs", "task-definition/other:1"),
                    f"arn:aws:ecs:{REGION}:{STRANGER}:task-definition/{STACK}_platform_report:1")
FOREIGN_RULES = (named("events", "rule/", NEIGHBOUR), arn("events", "rule/other"), TEMPLATE.attribute("SweepRule", "Arn"),
                 TEMPLATE.attribute("TaskEventRule", "Arn"))
# The next one's group begins as ours does; and a group by itself is none of a function's business.
FOREIGN_SCHEDULES = (arn("scheduler", f"schedule/default/{STACK}_platform_report"),
                     named("scheduler", f"schedule/{NEIGHBOUR}/"), arn("scheduler", "schedule/other/report"),
                     f"arn:aws:scheduler:{REGION}:{STRANGER}:schedule/{STACK}/{STACK}_platform_report",
                     f"arn:aws:scheduler:eu-west-1:{ACCOUNT}:schedule/{STACK}/{STACK}_platform_report",
                     arn("scheduler", f"schedule-group/{STACK}"))
FOREIGN_TOPICS = (named("sns", "", NEIGHBOUR), arn("sns", "other"))
FOREIGN_GROUPS = (log_group(NEIGHBOUR), arn("logs", "log-group:/aws/lambda/other:log-stream:a"),
                  *(own_log(function) for function in FUNCTIONS))
IN_THE_LOG = {"dynamodb:LeadingKeys": ("AUDIT#platform",)}
FOREIGN_TABLES = (arn("dynamodb", "table/other"), table().replace(STACK, NEIGHBOUR), f"{table()}2")


@dataclasses.dataclass
class Near:
    """A request that exactly these functions may make, and what is like it and nobody may do."""

    by: set
    request: Request
    denied: list

    def __init__(self, by: set, request: Request, *denied: Request):
        self.by, self.request, self.denied = by, request, list(denied)

    def actions(self, *actions: str) -> "Near":
        self.denied += [self.request.but(action=action) for action in actions]
        return self

    def resources(self, *resources: str) -> "Near":
        self.denied += [self.request.but(resource=resource) for resource in resources]
        return self

    def contexts(self, key: str, *values: str | None) -> "Near":
        self.denied += [self.request.but(context={key: value}) for value in values]
        return self


def near(by: set, action: str, resource: str, context: dict | None = None) -> Near:
    return Near(by, Request(action, resource, context or {}))


ATTEMPTS = [
    # Roles.
    near(PROVISIONING, "iam:CreateRole", own_role(), BOUNDED).contexts("iam:PermissionsBoundary", *OTHER_BOUNDARIES)
    .resources(*FOREIGN_ROLES)
    .actions("iam:CreateUser", "iam:CreateAccessKey", "iam:CreatePolicy", "iam:CreateInstanceProfile"),
    near(PROVISIONING, "iam:PutRolePolicy", own_role(), BOUNDED).contexts("iam:PermissionsBoundary", *OTHER_BOUNDARIES)
    .resources(*FOREIGN_ROLES).actions("iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:PutUserPolicy"),
    near(PROVISIONING, "iam:PutRolePermissionsBoundary", own_role(), BOUNDED)
    .contexts("iam:PermissionsBoundary", *OTHER_BOUNDARIES).resources(*FOREIGN_ROLES)
    .actions("iam:DeleteRolePermissionsBoundary", "iam:PutUserPermissionsBoundary"),
    Near(PROVISIONING, Request("iam:GetRole", own_role()), *(
        Request(action, BOUNDARY_ARN) for action in (
            "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicyVersion", "iam:DeletePolicy")))
    .resources(own_role(stack=NEIGHBOUR), arn("iam", "role/admin")).actions("iam:ListRoles", "iam:GetRolePolicy"),
    near(PROVISIONING, "iam:UpdateAssumeRolePolicy", own_role()).resources(*FOREIGN_ROLES).actions("sts:AssumeRole"),
    near(PROVISIONING, "iam:DeleteRole", own_role()).resources(*FOREIGN_ROLES),
    near(PROVISIONING, "iam:DeleteRolePolicy", own_role()).resources(*FOREIGN_ROLES),
    near(PROVISIONING, "iam:TagRole", own_role()).resources(*FOREIGN_ROLES).actions("iam:UpdateRole"),
    near(PROVISIONING, "iam:CreateServiceLinkedRole",
         arn("iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"),
         {"iam:AWSServiceName": "ecs.amazonaws.com"}).contexts("iam:AWSServiceName", "rds.amazonaws.com", None)
    .resources(arn("iam", "role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS")),
    # Roles that are passed.
    near(STARTING, "iam:PassRole", own_role(), IN_ECS).contexts("iam:PassedToService", *OTHER_SERVICES)
    .resources(*FOREIGN_ROLES),
    *(near(PROVISIONING, "iam:PassRole", own_role(), {"iam:PassedToService": engine})
      .contexts("iam:PassedToService", *OTHER_SERVICES).resources(*FOREIGN_ROLES, TASK_ROLE) for engine in ENGINES),
    near(STARTING, "iam:PassRole", TASK_ROLE, IN_ECS)
    .contexts("iam:PassedToService", *OTHER_SERVICES, *ENGINES).resources(*FOREIGN_ROLES, f"{TASK_ROLE}s"),
    # Tasks.
    near(STARTING, "ecs:RunTask", named("ecs", "task-definition/", rest="platform_report:1"), SHARED)
    .resources(*FOREIGN_FAMILIES).contexts("ecs:cluster", ELSEWHERE["ecs:cluster"], None)
    .actions("ecs:StartTask", "ecs:CreateService", "ecs:ExecuteCommand"),
    near(STARTING, "ecs:StopTask", arn("ecs", "task/shared/0a1b"), {OWN_TAG: STACK}).contexts(OWN_TAG, None, NEIGHBOUR)
    .resources(f"arn:aws:ecs:{REGION}:{STRANGER}:task/shared/0a1b").actions("ecs:ExecuteCommand"),
    near(STARTING, "ecs:StopTask", named("ecs", "task/", rest="platform_report/0a1b"))
    .resources(named("ecs", "task/", NEIGHBOUR, "platform_report/0a1b")),
    near(STARTING, "ecs:TagResource", arn("ecs", "task/shared/*"), {"ecs:CreateAction": "RunTask"})
    .contexts("ecs:CreateAction", None, "StartTask"),
    near(PROVISIONING, "ecs:ListTasks", "*", SHARED).contexts("ecs:cluster", ELSEWHERE["ecs:cluster"], None)
    .actions("ecs:ListServices", "ecs:ListContainerInstances"),
    near(PROVISIONING, "ecs:DescribeTasks", arn("ecs", "task/shared/0a1b"))
    .resources(f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task/shared/0a1b"),
    # Clusters and task definitions.
    near(PROVISIONING, "ecs:CreateCluster", named("ecs", "cluster/"))
    .resources(named("ecs", "cluster/", NEIGHBOUR), arn("ecs", "cluster/shared")).actions("ecs:UpdateCluster"),
    near(PROVISIONING, "ecs:DeleteCluster", named("ecs", "cluster/")).resources(arn("ecs", "cluster/shared")),
    near(PROVISIONING, "ecs:PutClusterCapacityProviders", named("ecs", "cluster/")).resources(arn("ecs", "cluster/shared")),
    near(PROVISIONING, "ecs:TagResource", named("ecs", "cluster/")).resources(arn("ecs", "cluster/shared")),
    near(PROVISIONING, "ecs:DescribeClusters", arn("ecs", "cluster/shared"))
    .resources(f"arn:aws:ecs:{REGION}:{STRANGER}:cluster/shared"),
    near(PROVISIONING, "ecs:RegisterTaskDefinition", named("ecs", "task-definition/", rest="platform_report:*"))
    .resources(*FOREIGN_FAMILIES).actions("ecs:DeleteTaskDefinitions"),
    near(PROVISIONING, "ecs:TagResource", named("ecs", "task-definition/", rest="platform_report:*"),
         {"ecs:CreateAction": "RegisterTaskDefinition"}).contexts("ecs:CreateAction", None).resources(*FOREIGN_FAMILIES),
    # Rules and events.
    near(PROVISIONING, "events:PutRule", named("events", "rule/")).resources(*FOREIGN_RULES)
    .actions("events:EnableRule", "events:PutPermission", "events:CreateEventBus"),
    *(near(PROVISIONING, f"events:{action}", named("events", "rule/")).resources(*FOREIGN_RULES)
      for action in ("DisableRule", "DeleteRule", "RemoveTargets", "TagResource", "UntagResource", "ListTagsForResource")),
    *(near(PROVISIONING, "events:PutTargets", named("events", "rule/"), {"events:TargetArn": (target,)})
      .resources(*FOREIGN_RULES)
      .contexts("events:TargetArn", None, (arn("lambda", "function:other"),), (arn("sqs", "other"),),
                (target, arn("sns", "other")), (TEMPLATE.attribute("TaskEventQueue", "Arn"),),
                (f"arn:aws:ecs:{REGION}:{STRANGER}:cluster/shared",))
      for target in (arn("ecs", "cluster/shared"), TEMPLATE.attribute("StartQueue", "Arn"), named("sns", ""))),
    near(ALL, "events:PutEvents", arn("events", "event-bus/default"), FAILED)
    .contexts("events:source", None, "aws.ecs", f"cronplane.{NEIGHBOUR}", "cronplane")
    .contexts("events:detail-type", None, "ECS Task State Change", "Scheduled Event")
    .resources(arn("events", "event-bus/other"), f"arn:aws:events:{REGION}:{STRANGER}:event-bus/default"),
    near({"http"}, "events:PutEvents", arn("events", "event-bus/default"), TEST)
    .contexts("events:source", "aws.ecs", f"cronplane.{NEIGHBOUR}"),
    # Schedules. A group can be neither made nor deleted, with all that is in it, nor can others be looked at.
    *(near(PROVISIONING, f"scheduler:{action}Schedule", named("scheduler", f"schedule/{STACK}/"))
      .resources(*FOREIGN_SCHEDULES)
      .actions("scheduler:TagResource", "scheduler:UntagResource")
      for action in ("Get", "Create", "Update", "Delete")),
    Near(PROVISIONING, Request("scheduler:GetSchedule", named("scheduler", f"schedule/{STACK}/")), *(
        Request(f"scheduler:{action}", resource)
        for action in ("CreateScheduleGroup", "DeleteScheduleGroup", "GetScheduleGroup", "DeleteSchedule", "TagResource")
        for resource in (arn("scheduler", f"schedule-group/{name}") for name in (STACK, NEIGHBOUR, "default"))), *(
        Request(f"scheduler:{action}", "*") for action in ("ListScheduleGroups", "GetSchedule"))),
    near({"http"}, "scheduler:ListSchedules", "*").actions("scheduler:ListScheduleGroups", "scheduler:GetSchedule"),
    # Topics.
    near(PROVISIONING, "sns:Subscribe", named("sns", ""), {"sns:Protocol": "https"}).resources(*FOREIGN_TOPICS)
    .contexts("sns:Protocol", None, "http", "sms", "firehose", "application"),
    *(near(PROVISIONING, f"sns:{action}", named("sns", "")).resources(*FOREIGN_TOPICS) for action in (
        "CreateTopic", "SetTopicAttributes", "DeleteTopic", "Unsubscribe", "ListSubscriptionsByTopic", "TagResource")),
    near(PROVISIONING, "sns:ListTagsForResource", named("sns", "")).resources(*FOREIGN_TOPICS)
    .actions("sns:AddPermission", "sns:ConfirmSubscription"),
    # Only what tells of failures.
    near({"events"}, "sns:Publish", named("sns", "")).resources(*FOREIGN_TOPICS).actions("sns:Subscribe"),
    # Logs.
    near({"http"}, "logs:GetLogEvents", log_group())
    .resources(*FOREIGN_GROUPS, log_group(rest="log-stream:other/main/0a1b"))
    .actions("logs:PutLogEvents", "logs:FilterLogEvents", "logs:StartQuery", "logs:PutSubscriptionFilter"),
    *(near(PROVISIONING, f"logs:{action}", log_group(rest="log-stream:")).resources(*FOREIGN_GROUPS)
      for action in ("CreateLogGroup", "PutRetentionPolicy", "DeleteLogGroup")),
    near(PROVISIONING, "logs:TagResource", log_group().partition(":log-stream:")[0])
    .resources(arn("logs", f"log-group:/cronplane/{NEIGHBOUR}/platform/report")).actions("logs:DeleteLogStream"),
    *(near({function}, "logs:PutLogEvents", own_log(function)).actions("logs:GetLogEvents", "logs:DeleteLogGroup")
      for function in FUNCTIONS),
    # The table.
    *(near(ALL, f"dynamodb:{action}", table()).resources(*FOREIGN_TABLES, table("/index/due"))
      for action in ("GetItem", "PutItem", "UpdateItem", "ConditionCheckItem")),
    near(PROVISIONING, "dynamodb:DeleteItem", table()).resources(*FOREIGN_TABLES),
    near(PROVISIONING, "dynamodb:Query", table()).resources(*FOREIGN_TABLES, table("/index/other"))
    .actions("dynamodb:Scan", "dynamodb:DeleteTable", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive",
             "dynamodb:PartiQLSelect", "dynamodb:ExportTableToPointInTime", "dynamodb:PutResourcePolicy"),
    near({"sweep"}, "dynamodb:Query", table("/index/due")),
    # In it the audit log, to which entries are added and nothing else.
    near(ALL, "dynamodb:PutItem", table(), IN_THE_LOG),
    *(near(by, f"dynamodb:{action}", table(), {"dynamodb:LeadingKeys": ("TEAM#platform",)})
      .contexts("dynamodb:LeadingKeys", *IN_THE_LOG.values())
      for by, action in ((ALL, "UpdateItem"), (PROVISIONING, "DeleteItem"))),
    # The queues.
    near({"events"}, "sqs:ReceiveMessage", TEMPLATE.attribute("StartQueue", "Arn"))
    .resources(TEMPLATE.attribute("ScheduleDeadLetterQueue", "Arn"), arn("sqs", "other"))
    .actions("sqs:SendMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes"),
    # How much there is, and not what.
    near({"http"}, "events:ListRules", "*").actions("events:ListEventBuses", "events:ListRuleNamesByTarget"),
    near({"http"}, "ecs:ListClusters", "*").actions("ecs:ListServices", "ecs:ListContainerInstances"),
    near({"http"}, "iam:GetAccountSummary", "*")
    .actions("iam:ListRoles", "iam:GetAccountAuthorizationDetails", "iam:ListUsers"),
    near({"http"}, "servicequotas:GetServiceQuota", "*")
    .actions("servicequotas:RequestServiceQuotaIncrease", "servicequotas:ListServiceQuotas"),
    # And what has nothing near.
    Near(set(), Request("secretsmanager:GetSecretValue", SECRET), *(
        Request(action, resource) for action, resource in (
            ("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:other-AbC123")),
            ("ssm:GetParameters", PARAMETER),
            ("ssm:GetParameter", PARAMETER),
            ("kms:Decrypt", arn("kms", "key/0a1b")),
            ("lambda:UpdateFunctionCode", TEMPLATE.attribute("HttpFunction", "Arn")),
            ("lambda:UpdateFunctionConfiguration", TEMPLATE.attribute("EventsFunction", "Arn")),
            ("lambda:InvokeFunction", TEMPLATE.attribute("SweepFunction", "Arn")),
            ("lambda:AddPermission", TEMPLATE.attribute("HttpFunction", "Arn")),
            ("lambda:CreateFunction", arn("lambda", "function:other")),
            ("sts:AssumeRole", own_role()),
            ("sts:AssumeRole", TASK_ROLE),
            ("ecr:BatchGetImage", arn("ecr", "repository/report")),
            ("s3:GetObject", "arn:aws:s3:::packages/cronplane.zip"),
            ("ec2:RunInstances", arn("ec2", "instance/*")),
            ("cloudformation:UpdateStack", arn("cloudformation", f"stack/{STACK}/0a1b")),
        ))),
]


def told(request: Request) -> str:
    context = "".join(f" {key}={value}" for key, value in request.context.items())
    return f"{request.action} on {request.resource}{context}"


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: told(attempt.request))
def test_a_function_may_do_its_own_and_nothing_beside_it(attempt):
    may = {function for function, policies in POLICIES.items() if decide(attempt.request, policies).allowed}
    assert may == attempt.by
    for request in attempt.denied:
        for function, policies in POLICIES.items():
            assert not decide(request, policies).allowed, f"{function} may {told(request)}"


def test_every_action_that_is_granted_is_attempted_beside_its_bounds():
    """A statement that is added wants a row in ATTEMPTS."""
    granted = {action for policies in POLICIES.values() for one in policies for action in one.all("Action")}
    unscoped = {"ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "ecs:DeregisterTaskDefinition"}
    like_another = {
        "logs:CreateLogStream", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "iam:UntagRole", "ecs:UntagResource",
        "sns:UntagResource", "logs:UntagResource", "logs:ListTagsForResource"}
    assert granted - {attempt.request.action for attempt in ATTEMPTS} == unscoped | like_another


def test_without_roles_to_pass_there_are_none_but_our_own():
    bare = imagined(PassableRoles="", ReadableSecrets="")
    for role in FUNCTIONS.values():
        assert not decide(Request("iam:PassRole", TASK_ROLE, IN_ECS), bare.policies_of(role)).allowed
        assert decide(Request("iam:PassRole", own_role(), IN_ECS), bare.policies_of(role)).allowed
    boundary = bare.managed("RoleBoundary")
    for request in (Request("iam:PassRole", TASK_ROLE, IN_ECS), Request("secretsmanager:GetSecretValue", SECRET),
                    Request("ssm:GetParameters", PARAMETER), JOB_DECRYPTS):
        assert not decide(request, EVERYTHING, boundary).allowed
        assert decide(request, EVERYTHING, BOUNDARY).allowed


def test_roles_are_passed_to_three_services_only():
    for policies in (*POLICIES.values(), BOUNDARY):
        for one in policies:
            if "iam:PassRole" in one.all("Action"):
                assert one.all("Action") == ["iam:PassRole"]
                services = one.content["Condition"]["StringEquals"]["iam:PassedToService"]
                assert {services} if isinstance(services, str) else set(services) <= SERVICES


# ---- inside a job

JOB_DECRYPTS = Request("kms:Decrypt", arn("kms", "key/0a1b"), {
    "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com", "kms:EncryptionContext:SecretARN": SECRET})

# What a job's role may do at most, and what is like it.
JOB_ATTEMPTS = [
    near(set(), "ecs:RunTask", named("ecs", "task-definition/", rest="platform_report:1"), SHARED)
    .resources(*FOREIGN_FAMILIES).contexts("ecs:cluster", ELSEWHERE["ecs:cluster"], None)
    .actions("ecs:StopTask", "ecs:RegisterTaskDefinition", "ecs:ExecuteCommand"),
    near(set(), "ecs:TagResource", arn("ecs", "task/shared/*"), {"ecs:CreateAction": "RunTask"})
    .contexts("ecs:CreateAction", None),
    near(set(), "iam:PassRole", own_role(), IN_ECS).resources(*FOREIGN_ROLES)
    .contexts("iam:PassedToService", *OTHER_SERVICES, *ENGINES)
    .actions("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy",
             "iam:DeleteRolePermissionsBoundary", "sts:AssumeRole"),
    near(set(), "iam:PassRole", TASK_ROLE, IN_ECS).resources(arn("iam", "role/jobs/other"))
    .contexts("iam:PassedToService", *OTHER_SERVICES, *ENGINES),
    # Scheduler's starts that are left to Cronplane, and what it could not deliver.
    *(near(set(), "sqs:SendMessage", TEMPLATE.attribute(name, "Arn"))
      .resources(TEMPLATE.attribute("TaskEventQueue", "Arn"), TEMPLATE.attribute("TaskEventDeadLetterQueue", "Arn"),
                 arn("sqs", "other"), f"{TEMPLATE.attribute(name, 'Arn')}2",
                 TEMPLATE.attribute(name, "Arn").replace(ACCOUNT, STRANGER))
      .actions("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes")
      for name in ("StartQueue", "ScheduleDeadLetterQueue")),
    near(set(), "secretsmanager:GetSecretValue", SECRET).resources(arn("secretsmanager", "secret:other-AbC123"))
    .actions("secretsmanager:PutSecretValue", "secretsmanager:ListSecrets"),
    near(set(), "ssm:GetParameters", PARAMETER).resources(arn("ssm", "parameter/other")).actions("ssm:PutParameter"),
    Near(set(), JOB_DECRYPTS).contexts("kms:ViaService", None, f"s3.{REGION}.amazonaws.com")
    .resources(f"arn:aws:kms:{REGION}:{STRANGER}:key/0a1b").actions("kms:Encrypt", "kms:CreateGrant"),
    *(near(set(), f"logs:{action}", log_group()).resources(*FOREIGN_GROUPS)
      for action in ("CreateLogStream", "PutLogEvents")),
    near(set(), "logs:PutLogEvents", log_group()).actions("logs:GetLogEvents", "logs:DeleteLogGroup"),
    near(set(), "ecr:BatchGetImage", f"arn:aws:ecr:eu-west-1:{STRANGER}:repository/report")
    .actions("ecr:PutImage", "ecr:DeleteRepository"),
    Near(set(), Request("ecr:GetAuthorizationToken", "*"), *(
        Request(action, resource) for action, resource in (
            ("dynamodb:GetItem", table()), ("events:PutEvents", arn("events", "event-bus/default")),
            ("lambda:InvokeFunction", TEMPLATE.attribute("HttpFunction", "Arn")),
            ("scheduler:UpdateSchedule", named("scheduler", f"schedule/{STACK}/")), ("sns:Publish", named("sns", "")),
            ("s3:GetObject", "arn:aws:s3:::a/b")))),
]


@pytest.mark.parametrize("attempt", JOB_ATTEMPTS, ids=lambda attempt: told(attempt.request))
def test_a_jobs_role_can_do_no_more_than_the_boundary_whatever_its_policy(attempt):
    assert decide(attempt.request, EVERYTHING, BOUNDARY).allowed
    for request in attempt.denied:
        assert not decide(request, EVERYTHING, BOUNDARY).allowed, told(request)


# ---- what lets services in


def queue(logical: str) -> str:
    return TEMPLATE.attribute(logical, "Arn")


def by_service(action: str, resource: str, service: str, source: str) -> Request:
    return Request(action, resource, {"aws:SourceArn": source, "aws:SourceAccount": ACCOUNT}, f"{service}.amazonaws.com")


JOB_RULE = named("events", "rule/")
OWN_GROUP = arn("scheduler", f"schedule-group/{STACK}")
TASK_RULE, SWEEP_RULE, FAILURE_RULE = (
    TEMPLATE.attribute(name, "Arn") for name in ("TaskEventRule", "SweepRule", "FailureRule"))
API = arn("execute-api", f"{TEMPLATE.ref('Api')}/$default/$default")

# Resource, source that is let in, and others of its kind that are not.
SOURCES = [
    (by_service("sqs:SendMessage", queue("TaskEventQueue"), "events", TASK_RULE), (JOB_RULE, SWEEP_RULE)),
    (by_service("sqs:SendMessage", queue("TaskEventDeadLetterQueue"), "events", TASK_RULE), (JOB_RULE, SWEEP_RULE)),
    (by_service("sqs:SendMessage", queue("StartQueue"), "events", JOB_RULE),
     (TASK_RULE, SWEEP_RULE, named("events", "rule/", NEIGHBOUR), arn("events", "rule/other"))),
    (by_service("sqs:SendMessage", queue("AlertQueue"), "events", FAILURE_RULE), (JOB_RULE, TASK_RULE, SWEEP_RULE)),
    (by_service("sqs:SendMessage", queue("ScheduleDeadLetterQueue"), "events", FAILURE_RULE), (TASK_RULE, SWEEP_RULE)),
    (by_service("sqs:SendMessage", queue("ScheduleDeadLetterQueue"), "events", JOB_RULE),
     (TASK_RULE, SWEEP_RULE, named("events", "rule/", NEIGHBOUR), arn("events", "rule/other"))),
    (by_service("lambda:InvokeFunction", TEMPLATE.attribute("SweepFunction", "Arn"), "events", SWEEP_RULE),
     (JOB_RULE, TASK_RULE)),
    (by_service("lambda:InvokeFunction", TEMPLATE.attribute("HttpFunction", "Arn"), "apigateway", API),
     (arn("execute-api", "other/$default/$default"), arn("execute-api", f"{TEMPLATE.ref('Api')}/$default/POST/x"))),
]


def neighbours(request: Request, sources) -> list[Request]:
    """All that is like a request that is let in, and is not."""
    source = request.values("aws:SourceArn")[0]
    others = [*sources, source.replace(f":{ACCOUNT}:", f":{STRANGER}:"), source.replace(REGION, "eu-west-1"), None]
    return [
        *(request.but(context={"aws:SourceArn": other}) for other in others),
        *(request.but(service=other) for other in ("sns.amazonaws.com", "s3.amazonaws.com", "scheduler.amazonaws.com", None)
          if other != request.service),
        request.but(action=request.action.partition(":")[0] + ":DeleteQueue"),
        request.but(action="sqs:ReceiveMessage"),
        request.but(action="lambda:UpdateFunctionCode"),
        request.but(action="sns:Subscribe"),
        request.but(resource=f"{request.resource}2"),
    ]


def policies_of_resources(template: Template) -> dict[str, list[Statement]]:
    return {**template.queue_policies(), **template.function_policies()}


@pytest.mark.parametrize(("request_", "sources"), SOURCES, ids=[told(request) for request, _ in SOURCES])
def test_a_queue_or_function_lets_exactly_its_source_in(request_, sources):
    policy = policies_of_resources(TEMPLATE)[request_.resource]
    assert admits(policy, request_)
    for other in neighbours(request_, sources):
        assert not admits(policy, other), told(other)
    if request_.action.startswith("sqs:"):
        for other in (STRANGER, None):
            assert not admits(policy, request_.but(context={"aws:SourceAccount": other}))


def test_every_policy_of_a_queue_or_function_has_a_row():
    assert set(policies_of_resources(TEMPLATE)) == {request.resource for request, _ in SOURCES}
    assert all(len(policy) == 1 for policy in policies_of_resources(TEMPLATE).values())


def test_whatever_a_service_sends_to_lets_it_in():
    """The targets and dead-letter queues of the template's own rules, and those that Cronplane gives its rules."""
    policies = policies_of_resources(TEMPLATE)
    for name in TEMPLATE.of_type("AWS::Events::Rule"):
        for target in TEMPLATE.properties(name)["Targets"]:
            for resource in (target["Arn"], target.get("DeadLetterConfig", {}).get("Arn")):
                if resource:
                    action = "sqs:SendMessage" if ":sqs:" in resource else "lambda:InvokeFunction"
                    assert admits(policies[resource], by_service(
                        action, resource, "events", TEMPLATE.attribute(name, "Arn"))), f"{name} to {resource}"
    variables = TEMPLATE.resolve(TEMPLATE.body["Globals"]["Function"]["Environment"]["Variables"])
    queues = [variables[f"CRONPLANE_{name}_ARN"] for name in ("SCHEDULE_DLQ", "START_QUEUE")]
    # That of alerts is the stack's own rule's.
    assert len([value for value in variables.values() if isinstance(value, str) and ":sqs:" in value]) == len(queues) + 1
    for resource in queues:
        assert admits(policies[resource], by_service("sqs:SendMessage", resource, "events", JOB_RULE))
        # Scheduler comes with the schedule's role.
        assert decide(Request("sqs:SendMessage", resource), EVERYTHING, BOUNDARY).allowed


# ---- wildcards

# By reason: the statement, the element, and what stands there, without the partition, the region and the account.
WILDCARDS = {
    "what bears this stack's name: which teams and jobs there will be is not known": {
        ("OwnClusters", "Resource", "ecs:cluster/e2e_*"),
        ("OwnTaskDefinitions", "Resource", "ecs:task-definition/e2e_*:*"),
        ("TagNewTaskDefinitions", "Resource", "ecs:task-definition/e2e_*:*"),
        ("RunTasks", "Resource", "ecs:task-definition/e2e_*:*"),
        ("StopTasksInOwnClusters", "Resource", "ecs:task/e2e_*"),
        ("OwnRules", "Resource", "events:rule/e2e_*"),
        ("TargetsOfOwnRules", "Resource", "events:rule/e2e_*"),
        ("TargetsOfOwnRules", "ForAllValues:ArnLike", "sns:e2e_*"),
        ("BoundedRoles", "Resource", "iam:role/cronplane/e2e_*"),
        ("OwnRoles", "Resource", "iam:role/cronplane/e2e_*"),
        ("LookAtOwnRoles", "Resource", "iam:role/cronplane/e2e_*"),
        ("LookAtOwnRoles", "Resource", "iam:role/e2e_*"),
        ("PassOwnRoles", "Resource", "iam:role/cronplane/e2e_*"),
        ("OwnSchedules", "Resource", "scheduler:schedule/e2e/*"),
        ("OwnTopics", "Resource", "sns:e2e_*"),
        ("SubscribeToOwnTopics", "Resource", "sns:e2e_*"),
        ("TellSubscribers", "Resource", "sns:e2e_*"),
        ("OwnLogGroups", "Resource", "logs:log-group:/cronplane/e2e/*"),
        ("ReadJobLogs", "Resource", "logs:log-group:/cronplane/e2e/*:log-stream:run/*"),
        ("WriteJobLogs", "Resource", "logs:log-group:/cronplane/e2e/*"),
        ("RulesOfJobs", "ArnLike", "events:rule/e2e_*"),
    },
    "a job may name a cluster that this stack did not make, and tasks have no names": {
        ("AnyCluster", "Resource", "ecs:cluster/*"),
        ("ListTasks", "ArnLike", "ecs:cluster/*"),
        ("RunTasks", "ArnLike", "ecs:cluster/*"),
        ("TargetsOfOwnRules", "ForAllValues:ArnLike", "ecs:cluster/*"),
        ("DescribeTasks", "Resource", "ecs:task/*"),
        ("TagStartedTasks", "Resource", "ecs:task/*"),
        ("TagTasks", "Resource", "ecs:task/*"),
        ("StopOwnTasks", "Resource", "ecs:task/*"),
    },
    "AWS knows no resource for these actions (Service Authorization Reference)": {
        ("TaskDefinitionsUnscoped", "Resource", "*"),
        ("LookAtQuotas", "Resource", "*"),
        ("RegistryToken", "Resource", "*"),
    },
    "its resource is a container instance, of which Fargate has none": {("ListTasks", "Resource", "*")},
    "a job's image may lie in any repository, another account's too": {
        ("PullImages", "Resource", "arn:aws:ecr:*:*:repository/*"),
    },
    "which key a secret is encrypted with is not known; the condition holds it to the stores of secrets": {
        ("DecryptSecrets", "Resource", "kms:key/*"),
    },
    "what begins so is of the audit log, and denied": {("AuditLogStays", "ForAllValues:StringLike", "AUDIT#*")},
    "the streams of the function's own log group, as CloudFormation tells its ARN": {
        ("OwnLog", "Resource", f"logs:log-group:{STACK}-{name}LogGroup-1A2B3C4D5E6F:*")
        for name in ("Http", "Events", "Sweep")
    },
    "the stage of the API: it has one": {
        ("ApiInvokesHttpFunction", "ArnLike", f"execute-api:{STACK}-Api-1A2B3C4D5E6F/*/$default"),
    },
}


def every_statement() -> list[Statement]:
    trust = [
        one for name in TEMPLATE.of_type("AWS::IAM::Role")
        for one in statements(name, TEMPLATE.properties(name)["AssumeRolePolicyDocument"])]
    resources = [one for policy in policies_of_resources(TEMPLATE).values() for one in policy]
    return [*(one for policies in POLICIES.values() for one in policies), *BOUNDARY, *resources, *trust]


def shortened(text: str) -> str:
    for here in (f":{REGION}:{ACCOUNT}:", f"::{ACCOUNT}:"):
        if here in text:
            return text.removeprefix("arn:aws:").replace(here, ":", 1)
    return text


def wildcards_of(one: Statement) -> set[tuple[str, str, str]]:
    places = [(element, text) for element in ("Action", "Resource") for text in one.all(element)]
    principal = one.content.get("Principal", {})
    places += [("Principal", text) for text in (
        [principal] if isinstance(principal, str) else [str(value) for value in principal.values()])]
    for operator, keys in one.content.get("Condition", {}).items():
        if operator.endswith(("Like", "ArnEquals")):  # to others a `*` is a character as any
            for value in keys.values():
                places += [(operator, text) for text in (value if isinstance(value, list) else [value])]
    sid = one.content.get("Sid", "")
    return {(sid, element, shortened(text)) for element, text in places if "*" in text or "?" in text}


def test_every_wildcard_has_a_reason_and_every_reason_a_wildcard():
    found = {place for one in every_statement() for place in wildcards_of(one)}
    listed = [place for places in WILDCARDS.values() for place in places]
    assert len(listed) == len(set(listed))
    assert found == set(listed)


def test_no_statement_allows_all_but_something():
    for one in every_statement():
        assert not {"NotAction", "NotResource", "NotPrincipal"} & set(one.content), one.name


# Actions by which somebody could get at more, where nothing but the resource bounds them, and why that is enough.
UNCONDITIONED = {
    ("OwnRoles", "iam:UpdateAssumeRolePolicy"): "knows no such condition; the boundary holds whoever may assume the role",
    ("OwnRoles", "iam:DeleteRolePolicy"): "takes away only",
    ("OwnRoles", "iam:DeleteRole"): "takes away only",
    ("OwnRoles", "iam:TagRole"): "no policy looks at a role's tags",
    ("OwnRoles", "iam:UntagRole"): "no policy looks at a role's tags",
    ("LookAtOwnRoles", "iam:GetRole"): "reads only",
    ("LookAtQuotas", "iam:GetAccountSummary"): "reads only, and numbers only",
    ("ReadSecrets", "secretsmanager:GetSecretValue"): "each secret is named by whoever deploys",
    ("ReadSecrets", "ssm:GetParameters"): "each parameter is named by whoever deploys",
    ("OwnTopics", "sns:SetTopicAttributes"): "the topic's policy is Cronplane's own to write",
    ("OwnSchedules", "scheduler:CreateSchedule"): "knows no such condition; PassOwnRoles holds what a schedule can do",
    ("OwnSchedules", "scheduler:UpdateSchedule"): "knows no such condition; PassOwnRoles holds what a schedule can do",
}
SENSITIVE = ("iam:*", "sts:*", "kms:*", "secretsmanager:*", "ssm:*", "lambda:*", "*:PutRolePolicy", "*:PassRole",
             "ecs:RunTask", "events:PutEvents", "events:PutTargets", "scheduler:CreateSchedule",
             "scheduler:UpdateSchedule", "sns:Subscribe", "sns:SetTopicAttributes",
             "*:AddPermission", "*:PutResourcePolicy")


def test_a_sensitive_action_has_a_condition_or_a_reason():
    identities = [*(one for policies in POLICIES.values() for one in policies), *BOUNDARY]
    bare = {
        (one.content["Sid"], action) for one in identities if "Condition" not in one.content
        for action in one.all("Action") if any(like(pattern, action, ignores_case=True) for pattern in SENSITIVE)}
    assert bare == set(UNCONDITIONED)


def test_a_service_is_let_in_for_its_source_only():
    for policy in policies_of_resources(TEMPLATE).values():
        for one in policy:
            assert "Condition" in one.content and one.content["Principal"].keys() == {"Service"}, one.name


# "IAM and AWS STS quotas": characters without white space.
MANAGED_MAX, INLINE_MAX = 6144, 10240


def test_policies_have_room_under_the_longest_names():
    longest = imagined("s" * 40, "us-gov-west-1")
    longest.partition = "aws-us-gov"

    def length(document) -> int:
        return len(json.dumps(document, separators=(",", ":")))

    for name in longest.of_type("AWS::IAM::ManagedPolicy"):
        assert length(longest.properties(name)["PolicyDocument"]) <= MANAGED_MAX, name
    for name in FUNCTIONS.values():
        assert sum(length(one["PolicyDocument"]) for one in longest.properties(name)["Policies"]) <= INLINE_MAX / 2, name
    # A managed policy that several roles share has no list of any length but that of its own kind.
    many = imagined("s" * 40, "us-gov-west-1", PassableRoles=",".join([TASK_ROLE] * 20), ReadableSecrets="")
    assert length(many.properties("ProvisionPolicy")["PolicyDocument"]) == length(
        imagined("s" * 40, "us-gov-west-1").properties("ProvisionPolicy")["PolicyDocument"])


# ================================================================ what was really called

# Granted, and needed by nothing that the end-to-end tests do, and why.
IN_A_RACE = "a run that is stopped in the moment in which `events` starts its task; tests/it has it"
UNUSED = {
    ("EventsRole/StopTasksInOwnClusters", "Action", "ecs:StopTask"): IN_A_RACE,
    ("EventsRole/StopOwnTasks", "Action", "ecs:StopTask"): IN_A_RACE,
}

# Some permissions are for what goes wrong, to which no other test leads.
TEAM = "bounds"
DAILY = "cron(0 0 1 1 ? *)"
TOLD = {"subscribers": [{"protocol": "email", "endpoint": "ops@example.com"}]}


def without_providers(stack, job: str) -> str:
    """Takes the capacity providers from a job's cluster: ECS refuses a start that names one."""
    cluster = f"{STACK}_{TEAM}_{job}"
    stack.aws("ecs").put_cluster_capacity_providers(
        cluster=cluster, capacityProviders=[], defaultCapacityProviderStrategy=[])
    return cluster


@pytest.fixture(scope="session")
def given_up(stack) -> dict:
    """A run that waits for capacity, and will be refused when the sweeper tries it again."""
    post(stack, {"name": "given-up", "image": "busybox:1", "schedule": DAILY, "capacity": "spot",
                 "task_role": arn("iam", "role/jobs/report"), "notifications": TOLD}, TEAM)
    no_spot = stack.state / "no-spot"
    no_spot.touch()
    try:
        run = run_now(stack, "given-up", team=TEAM)
    finally:
        no_spot.unlink()
    without_providers(stack, "given-up")
    return run


def test_a_run_waits_for_the_sweeper(given_up):
    """It ends while other tests go on; see `test_the_sweeper_gave_a_run_up`."""
    assert given_up["status"] == "pending", given_up


@pytest.mark.last
def test_the_sweeper_gave_a_run_up(stack, given_up):
    run = ended(stack, given_up, 180)
    assert run["status"] == "failed_to_start" and "capacity provider" in run["stopped_reason"], run


def test_a_start_that_is_refused_is_told_and_a_cluster_gets_its_providers_back(stack):
    made = post(stack, {"name": "refused", "image": "busybox:1", "schedule": DAILY, "capacity": "spot_with_fallback",
                        "tags": {"stage": "one"}, "notifications": TOLD}, TEAM)
    cluster = without_providers(stack, "refused")
    asked = ended(stack, run_now(stack, "refused", team=TEAM))
    assert asked["status"] == "failed_to_start", asked
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    # As the schedule rule would.
    stack.aws("sqs").send_message(QueueUrl=stack.output("StartQueueUrl"), MessageBody=json.dumps({
        "team": TEAM, "job": "refused", "job_id": made["id"], "scheduled_time": now}))
    path = job_path("refused", "/runs?trigger=schedule", TEAM)
    until(lambda: [run["status"] for run in get(stack, path)["items"]] == ["failed_to_start"], 60, "the start is refused")

    for change in ({"capacity": "on_demand", "tags": {"stage": None}}, {"capacity": "spot"}):
        status, _, job = stack.call("PATCH", job_path("refused", team=TEAM), change, headers=MERGE)
        assert (status, job["status"]["phase"]) == (200, "ready"), job
    (found,) = stack.aws("ecs").describe_clusters(clusters=[cluster], include=["TAGS"])["clusters"]
    assert set(found["capacityProviders"]) == {"FARGATE", "FARGATE_SPOT"}
    assert "stage" not in {tag["key"] for tag in found["tags"]}


def hindered_and_paused(stack, made: dict) -> None:
    # Without our tag the topic is somebody else's.
    stack.aws("sns").untag_resource(ResourceArn=made["status"]["topic_arn"], TagKeys=["managed-by"])
    status, _, job = stack.call("PATCH", job_path(made["name"], team=TEAM), {
        "enabled": False, "tags": {"stage": "two"}}, headers=MERGE)
    assert (status, job["status"]["phase"]) == (200, "failed"), job


def test_a_job_that_is_hindered_is_paused_all_the_same(stack):
    made = post(stack, {"name": "held-back", "image": "busybox:1", "schedule": DAILY}, TEAM)
    rule = f"{STACK}_{TEAM}_held-back"
    assert rule in enabled_rules(stack)
    hindered_and_paused(stack, made)
    assert rule not in enabled_rules(stack)


def test_so_is_one_that_scheduler_starts(stack):
    made = post(stack, {"name": "held-in-zone", "image": "busybox:1", "schedule": DAILY, "timezone": "Asia/Tokyo",
                        "end_date": "2090-01-01T00:00:00Z"}, TEAM)
    before = schedule_of(stack, "held-in-zone", TEAM)
    assert before["State"] == "ENABLED"
    hindered_and_paused(stack, made)
    after = schedule_of(stack, "held-in-zone", TEAM)
    changed = {key for key in before if after.get(key) != before[key]} - {"ResponseMetadata", "LastModificationDate"}
    assert (changed, after["State"]) == ({"State"}, "DISABLED")


@dataclasses.dataclass
class Seen:
    """The stack as it is deployed, and all that was called, in order."""

    template: Template
    calls: list[Call]
    functions: dict[str, str]

    def of_functions(self):
        """Every request of a function: who, what, and the call that implies it. Equal ones once."""
        seen = set()
        for call in self.calls:
            if call.function is None:
                continue
            for request in requests_of(call, HERE):
                key = (call.function, told(request))
                if key not in seen:
                    seen.add(key)
                    yield self.functions[call.function], request, call

    def of_lambda(self):
        """What Lambda does with the role of each function."""
        for function in FUNCTIONS:
            body = self.template.body["Resources"][f"{function.capitalize()}Function"]["Properties"]
            group = self.template.attribute(body["LoggingConfig"]["LogGroup"]["Ref"], "Arn")
            queues = [
                self.template.resolve(event["Properties"]["Queue"]) for event in body.get("Events", {}).values()
                if event["Type"] == "SQS"]
            for request in of_function(group, queues):
                yield function, request


@pytest.fixture(scope="module")
def seen(stack) -> Seen:
    described = stack.aws("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described}
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack.describe()["Parameters"]}
    template = Template(ROOT / "template.yaml", stack.name, ACCOUNT, REGION, given, physical)
    functions = {template.ref(f"{name.capitalize()}Function"): name for name in FUNCTIONS}
    calls = [Call(**json.loads(line)) for line in stack.calls.read_text().splitlines()]
    return Seen(template, calls, functions)


@pytest.fixture
def whole_run(request):
    """Skips where not all was run that there is to look back on."""
    wanted = {"test_product.py", "test_schedules.py", "test_shared.py", "test_tasks.py"}
    items = {item.path.name for item in request.session.items}
    left_out = {item.path.name for item in request.config.deselected}
    if wanted - items or wanted & left_out:
        pytest.skip(f"it looks back on all of {', '.join(sorted(wanted))}")


last = pytest.mark.last(2)


@last
def test_every_function_was_seen(seen, whole_run):
    callers = {seen.functions[call.function] for call in seen.calls if call.function}
    assert callers == set(FUNCTIONS)
    services = {(call.service, call.operation) for call in seen.calls if call.service}
    assert services == {
        ("events.amazonaws.com", "ecs:RunTask"), ("events.amazonaws.com", "sqs:SendMessage"),
        ("events.amazonaws.com", "sns:Publish"), ("events.amazonaws.com", "lambda:InvokeFunction"),
        ("scheduler.amazonaws.com", "ecs:RunTask"), ("scheduler.amazonaws.com", "sqs:SendMessage"),
        ("ecs-tasks.amazonaws.com", "ecs:Prepare")}


@last
def test_a_function_may_do_what_it_did(seen):
    policies = {function: seen.template.policies_of(role) for function, role in FUNCTIONS.items()}
    denied = {}
    for function, request, call in seen.of_functions():
        decision = decide(request, policies[function])
        if not decision.allowed:
            denied[f"{function}, for {call.operation}: {told(request)}: {decision.effect}, {decision.why}"] = None
    for function, request in seen.of_lambda():
        decision = decide(request, policies[function])
        if not decision.allowed:
            denied[f"{function}, for Lambda: {told(request)}: {decision.effect}, {decision.why}"] = None
    assert not denied, "\n".join(denied)


def parts(one: Statement) -> set[tuple[str, str, str]]:
    """What of a statement could be left out: each action, and where there are several, each resource and each value of
    a condition."""
    found = {(one.name, "Action", action) for action in one.all("Action")}
    resources = one.all("Resource")
    if len(resources) > 1:
        found |= {(one.name, "Resource", pattern) for pattern in resources}
    for operator, keys in one.content.get("Condition", {}).items():
        for key, values in keys.items():
            if isinstance(values, list) and len(values) > 1:
                found |= {(one.name, f"{operator} {key}", value) for value in values}
    return found


def used_by(request: Request, given: list[Statement]) -> set[tuple[str, str, str]]:
    """Of these, what the request needs."""

    def needs(element: str, value: str) -> bool:
        if element == "Action":
            return value == request.action
        if element == "Resource":
            return arn_like(value, request.resource)
        operator, key = element.split(" ")
        return holds(operator, key, [value], request)

    return {
        part for one in given if one.allows and not one.misses(request) for part in parts(one) if needs(*part[1:])}


@last
def test_nothing_is_granted_that_nothing_uses(seen, whole_run):
    policies = {function: seen.template.policies_of(role) for function, role in FUNCTIONS.items()}
    used = set()
    for function, request, _ in seen.of_functions():
        used |= used_by(request, policies[function])
    for function, request in seen.of_lambda():
        used |= used_by(request, policies[function])
    boundary = seen.template.managed("RoleBoundary")
    for _, request in of_jobs(seen):
        used |= used_by(request, boundary)
    granted = {part for given in (*policies.values(), boundary) for one in given if one.allows for part in parts(one)}
    assert granted - used == set(UNUSED)


# ---- the roles of jobs


@dataclasses.dataclass
class Role:
    name: str
    trust: dict
    boundary: str | None
    policies: dict = dataclasses.field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether it is that of a team's jobs: a part less than a job's own has stands before the region."""
        return len(self.name.split(f"_{REGION}_")[0].split("_")) == 2

    def statements(self) -> list[Statement]:
        return [one for name, document in self.policies.items() for one in statements(name, document)]


def replayed(seen: Seen):
    """Every call in its order, with the roles of jobs as they were when it was made."""
    roles: dict[str, Role] = {}
    for call in seen.calls:
        yield call, roles
        name = call.parameters.get("RoleName")
        if call.status != 200 or name is None:
            continue
        if call.operation == "iam:CreateRole":
            (created, *_) = requests_of(call, HERE)
            roles[created.resource] = Role(
                name, json.loads(call.parameters["AssumeRolePolicyDocument"]), call.parameters.get("PermissionsBoundary"))
            continue
        role = roles.get(call.state["Arn"])
        if call.operation == "iam:PutRolePolicy":
            role.policies[call.parameters["PolicyName"]] = call.parameters["PolicyDocument"]
        elif call.operation == "iam:DeleteRolePolicy":
            role.policies.pop(call.parameters["PolicyName"], None)
        elif call.operation == "iam:PutRolePermissionsBoundary":
            role.boundary = call.parameters["PermissionsBoundary"]
        elif call.operation == "iam:UpdateAssumeRolePolicy":
            role.trust = json.loads(call.parameters["PolicyDocument"])
        elif call.operation == "iam:DeleteRole":
            del roles[call.state["Arn"]]


def of_registered(call: Call) -> tuple[str | None, list[Request]]:
    """What the execution role of a revision will be needed for, whether it is ever started or not."""
    return call.parameters.get("executionRoleArn"), [
        request for container in call.parameters["containerDefinitions"]
        for request in aws_requests.prepared(container, "0a1b", HERE)]


def of_jobs(seen: Seen):
    """Every request that is made, or would be, with a role that Cronplane made: the role as it was, and the request."""
    for call, roles in replayed(seen):
        if call.role in roles:
            for request in requests_of(call, HERE):
                yield roles[call.role], request
        elif call.operation == "ecs:RegisterTaskDefinition" and call.status == 200:
            role, requests = of_registered(call)
            for request in requests if role in roles else ():
                yield roles[role], request


@last
def test_a_jobs_role_may_do_what_is_done_with_it(seen, whole_run):
    boundary, boundary_arn = seen.template.managed("RoleBoundary"), seen.template.ref("RoleBoundary")
    denied, actions = {}, set()
    for role, request in of_jobs(seen):
        assert role.boundary == boundary_arn
        decision = decide(request, role.statements(), boundary)
        actions.add(request.action)
        if not decision.allowed:
            denied[f"{told(request)}: {decision.effect}, {decision.why}"] = None
    assert not denied, "\n".join(denied)
    assert actions == {
        "ecs:RunTask", "ecs:TagResource", "iam:PassRole", "sqs:SendMessage", "logs:CreateLogStream", "logs:PutLogEvents",
        "secretsmanager:GetSecretValue", "ssm:GetParameters", "kms:Decrypt", "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"}


@last
def test_a_jobs_role_is_taken_on_by_its_service_for_its_job_alone(seen, whole_run):
    checked = 0
    for call, roles in replayed(seen):
        if call.role not in roles:
            continue
        trust = statements("trust", roles[call.role].trust)
        taken = assumes(call, HERE)
        assert admits(trust, taken), told(taken)
        others = [taken.but(context={"aws:SourceAccount": STRANGER}), taken.but(context={"aws:SourceAccount": None}),
                  taken.but(context={"aws:SourceArn": None}), taken.but(service=None),
                  taken.but(context={"aws:SourceArn": call.source.replace(ACCOUNT, STRANGER)}),
                  *(taken.but(service=service) for service in (
                      *SERVICES, "lambda.amazonaws.com", "ec2.amazonaws.com") if service != call.service)]
        if call.service == "events.amazonaws.com":
            others += [taken.but(context={"aws:SourceArn": source}) for source in (
                f"{call.source}_failure", f"{call.source}2", named("events", "rule/", NEIGHBOUR), SWEEP_RULE)]
        if call.service == "scheduler.amazonaws.com":
            # Scheduler tells the group and no more: other schedules in it are the stack's own.
            assert call.source == OWN_GROUP
            others += [taken.but(context={"aws:SourceArn": source}) for source in (
                arn("scheduler", "schedule-group/default"), arn("scheduler", f"schedule-group/{NEIGHBOUR}"),
                named("scheduler", f"schedule/{STACK}/"), named("events", "rule/"))]
        for other in others:
            assert not admits(trust, other), told(other)
        checked += 1
    assert checked


@last
def test_a_jobs_role_is_of_its_job_alone(seen, whole_run):
    """What one job's roles may do with another job of the stack; and those of a team with another team's."""
    boundary = seen.template.managed("RoleBoundary")
    kinds = set()
    family = named("ecs", "task-definition/", rest="another_job:1")
    group = arn("logs", f"log-group:/cronplane/{STACK}/another/job:log-stream:run/main/0a1b")
    for role, request in of_jobs(seen):
        attempts = {
            "ecs:RunTask": [request.but(resource=family),
                            request.but(context={"ecs:cluster": arn("ecs", "cluster/another")})],
            "iam:PassRole": [request.but(resource=own_role("another_job_us-east-1_execution")),
                             request.but(resource=arn("iam", "role/another")),
                             *(request.but(context={"iam:PassedToService": engine}) for engine in ENGINES)],
            # Both queues are all jobs': what a message says is the schedule's, which only Cronplane writes.
            "sqs:SendMessage": [request.but(resource=seen.template.attribute("TaskEventQueue", "Arn"))],
            "ecs:TagResource": [request.but(resource=arn("ecs", "task/another/*")),
                                request.but(context={"ecs:CreateAction": None})],
            "logs:CreateLogStream": [request.but(resource=group)],
            "logs:PutLogEvents": [request.but(resource=group)],
            "secretsmanager:GetSecretValue": [request.but(resource=arn("secretsmanager", "secret:another-AbC123"))],
            "ssm:GetParameters": [request.but(resource=arn("ssm", "parameter/another"))],
            "kms:Decrypt": [request.but(context={"kms:ViaService": f"s3.{REGION}.amazonaws.com"}),
                            *(request.but(context={key: "another"}) for key in request.context if "Context" in key)],
            "ecr:GetAuthorizationToken": [],
        }.get(request.action)
        if attempts is None:  # a repository's
            attempts = [request.but(resource=f"{request.resource}-another")]
        if role.shared:
            # Any image, in any cluster, with any role that the deployment lets be passed: docs/SECURITY.md.
            attempts = {
                "ecs:RunTask": attempts[:1], "ecs:TagResource": attempts[1:],
                "iam:PassRole": attempts[2:]}.get(request.action, attempts if "ecr:" not in request.action else [])
        kinds.add(request.action)
        for attempt in attempts:
            assert not decide(attempt, role.statements(), boundary).allowed, told(attempt)
    assert {"ecs:RunTask", "sqs:SendMessage", "logs:PutLogEvents", "secretsmanager:GetSecretValue"} <= kinds


# ---- what AWS's services did in their own name


def topic_policies(seen: Seen) -> dict[str, list[Statement]]:
    found = {}
    for call in seen.calls:
        if call.operation == "sns:SetTopicAttributes" and call.parameters["AttributeName"] == "Policy":
            found[call.parameters["TopicArn"]] = statements("topic", call.parameters["AttributeValue"])
    return found


@last
def test_a_service_was_let_in_wherever_it_went(seen, whole_run):
    policies = {**policies_of_resources(seen.template), **topic_policies(seen)}
    went = set()
    for call in seen.calls:
        if call.service and not call.role:
            (request,) = requests_of(call, HERE)
            assert admits(policies[request.resource], request), told(request)
            went.add(call.operation)
    assert went == {"sqs:SendMessage", "sns:Publish", "lambda:InvokeFunction"}


@last
def test_a_topic_lets_its_failure_rule_in_alone(seen, whole_run):
    rules: dict[str, set[str]] = {}
    for call in seen.calls:
        if call.operation == "events:PutTargets":
            for target in call.parameters["Targets"]:
                rules.setdefault(target["Arn"], set()).add(arn("events", f"rule/{call.parameters['Rule']}"))
    policies = topic_policies(seen)
    assert policies
    for topic, policy in policies.items():
        # A dry run or one that failed half way has made a topic and no rule yet.
        for rule in rules.get(topic, ()):
            let_in = by_service("sns:Publish", topic, "events", rule)
            assert len(rules[topic]) == 1 and admits(policy, let_in)
            others = (rule.removesuffix("_failure"), named("events", "rule/", rest="another_job_failure"),
                      rule.replace(f"rule/{STACK}_", f"rule/{NEIGHBOUR}_"))
            for other in neighbours(let_in, [one for one in others if one != rule]):
                assert not admits(policy, other), told(other)
            for account in (STRANGER, None):
                assert not admits(policy, let_in.but(context={"aws:SourceAccount": account}))
    assert set(policies) & set(rules)


# ---- roles


@last
def test_roles_were_made_under_the_path_with_the_boundary(seen, whole_run):
    made = [call for call in seen.calls if call.operation == "iam:CreateRole"]
    assert made
    for call in made:
        assert call.parameters["Path"] == "/cronplane/"
        assert call.parameters["RoleName"].startswith(f"{STACK}_")
        assert call.parameters["PermissionsBoundary"] == seen.template.ref("RoleBoundary")


@last
def test_roles_were_passed_to_three_services_only(seen, whole_run):
    passed = {
        request.values("iam:PassedToService") for _, request, _ in seen.of_functions() if request.action == "iam:PassRole"}
    assert {service for (service,) in passed} == SERVICES
