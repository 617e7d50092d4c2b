"""iam.py evaluates as the IAM User Guide says; its cases are the guide's. What it does not know is an error."""

import iam
import pytest
from aws_requests import Call, World, known, requests_of
from conftest import ROOT
from iam import EXPLICIT_DENY, IMPLICIT_DENY, Request, Unknown, decide, statements

TRUE, FALSE = True, False


def policy(*given: dict) -> list[iam.Statement]:
    return statements("given", {"Version": "2012-10-17", "Statement": list(given)})


def allow(action="s3:GetObject", resource="*", **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action="s3:GetObject", resource="*", **more) -> dict:
    return {**allow(action, resource, **more), "Effect": "Deny"}


OBJECT = Request("s3:GetObject", "arn:aws:s3:::carlossalazar/report.txt")


# ---- the decision ("Policy evaluation logic", "Permissions boundaries for IAM entities")


@pytest.mark.parametrize(("policies", "boundary", "effect"), [
    ([], None, IMPLICIT_DENY),
    ([allow()], None, iam.ALLOW),
    ([allow("s3:PutObject")], None, IMPLICIT_DENY),
    ([allow(), deny()], None, EXPLICIT_DENY),
    ([deny(), allow()], None, EXPLICIT_DENY),
    ([deny()], None, EXPLICIT_DENY),
    ([allow(), deny("s3:PutObject")], None, iam.ALLOW),
    # Both have to allow.
    ([allow()], [], IMPLICIT_DENY),
    ([], [allow()], IMPLICIT_DENY),
    ([allow()], [allow()], iam.ALLOW),
    ([allow("*")], [allow("s3:PutObject"), allow("cloudwatch:*")], IMPLICIT_DENY),
    ([allow()], [allow("*"), deny("s3:*")], EXPLICIT_DENY),
])
def test_denied_unless_allowed_and_not_denied(policies, boundary, effect):
    assert decide(OBJECT, policy(*policies), None if boundary is None else policy(*boundary)).effect == effect


def test_a_denial_says_which_statement_came_nearest():
    wanted = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    given = policy(allow("s3:*", Sid="Far"), allow("iam:PassRole", Condition=wanted, Sid="Near"))
    request = Request("iam:PassRole", "arn:aws:iam::1:role/x", {"iam:PassedToService": "ec2.amazonaws.com"})
    why = decide(request, given).why
    assert "given/Near" in why and "iam:PassedToService" in why and "ec2.amazonaws.com" in why


# ---- actions and resources ("IAM JSON policy elements: Action", "... NotAction", "... Resource")


@pytest.mark.parametrize(("pattern", "action", "matches"), [
    ("iam:*AccessKey*", "iam:CreateAccessKey", TRUE),
    ("iam:*AccessKey*", "iam:CreateUser", FALSE),
    ("IAM:listaccesskeys", "iam:ListAccessKeys", TRUE),
    ("s3:Get?bject", "s3:GetObject", TRUE),
    ("s3:Get?Object", "s3:GetObject", FALSE),
    ("s3:GetObject", "s3:GetObjectAcl", FALSE),
    ("*", "sqs:SendMessage", TRUE),
])
def test_actions_are_compared_without_case(pattern, action, matches):
    assert decide(Request(action, "arn:aws:s3:::a"), policy(allow(pattern))).allowed is matches


@pytest.mark.parametrize(("pattern", "resource", "matches"), [
    ("arn:aws:iam::123456789012:user/*", "arn:aws:iam::123456789012:user/Development/product_1234", TRUE),
    ("arn:aws:iam::123456789012:user/D*", "arn:aws:iam::123456789012:user/d", FALSE),
    ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", "arn:aws:s3:::amzn-s3-demo-bucket/1/2/test/3.jpg", TRUE),
    ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", "arn:aws:s3:::amzn-s3-demo-bucket/test/3.jpg", FALSE),
    ("arn:aws:sqs:*:123456789012:queue?", "arn:aws:sqs:us-east-2:123456789012:queue1", TRUE),
    # A wildcard ends with its part of the ARN...
    ("arn:aws:sqs:*:queue1:x", "arn:aws:sqs:us-east-2:123456789012:queue1:x", FALSE),
    # ...but for the last part, which can hold colons.
    ("arn:aws:logs:us-east-2:1:log-group:/a/*", "arn:aws:logs:us-east-2:1:log-group:/a/b:log-stream:c", TRUE),
    ("*", "*", TRUE),
    ("arn:aws:ecs:us-east-2:1:*", "*", FALSE),
])
def test_resources_are_compared_part_by_part(pattern, resource, matches):
    assert decide(OBJECT.but(resource=resource), policy(allow(resource=pattern))).allowed is matches


def test_not_action_and_not_resource_are_all_others():
    others = policy({"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"})
    assert decide(OBJECT, others).allowed
    assert not decide(OBJECT.but(action="iam:ListUsers"), others).allowed
    assert not decide(OBJECT.but(resource="arn:aws:s3:::secret/plan"), others).allowed


# ---- conditions ("IAM JSON policy elements: Condition operators")


@pytest.mark.parametrize(("operator", "wanted", "given", "holds"), [
    ("StringEquals", "iamuser-admin", "iamuser-admin", TRUE),
    ("StringEquals", "iamuser-admin", "IAMuser-admin", FALSE),
    ("StringEquals", "iamuser-*", "iamuser-admin", FALSE),
    ("StringEquals", ["a", "b"], "b", TRUE),
    ("StringEquals", "a", None, FALSE),
    ("StringEqualsIgnoreCase", "IAMUSER-admin", "iamuser-Admin", TRUE),
    ("StringLike", "dev?/*", "dev1/x", TRUE),
    ("StringNotEquals", "a", "b", TRUE),
    ("StringNotEquals", ["a", "b"], "b", FALSE),
    ("StringNotEquals", "a", None, TRUE),
    ("StringNotLike", "a*", "ab", FALSE),
    ("ArnEquals", "arn:aws:sns:*:123456789012:topic-*", "arn:aws:sns:us-east-2:123456789012:topic-1", TRUE),
    ("ArnLike", "arn:aws:sns:us-east-2:123456789012:topic", "arn:aws:sns:us-east-2:210987654321:topic", FALSE),
    ("ArnLike", "arn:aws:sns:us-east-2:123456789012:topic", None, FALSE),
    ("ArnNotLike", "arn:aws:sns:*:*:topic", "arn:aws:sns:us-east-2:1:topic", FALSE),
    ("Bool", "true", "true", TRUE),
    ("Bool", "true", "false", FALSE),
    ("Bool", "true", None, FALSE),
    ("Null", "true", None, TRUE),
    ("Null", "true", "here", FALSE),
    ("Null", "false", "here", TRUE),
    ("Null", "false", None, FALSE),
    ("StringEqualsIfExists", "a", None, TRUE),
    ("StringEqualsIfExists", "a", "b", FALSE),
    ("StringLikeIfExists", ["t1.*", "t2.*"], "t2.small", TRUE),
    ("ForAllValues:StringEquals", ["PostDateTime", "Message", "Tags"], ("Message", "Tags"), TRUE),
    ("ForAllValues:StringEquals", ["PostDateTime", "Message", "Tags"], ("Message", "UserName"), FALSE),
    ("ForAllValues:StringEquals", ["Message"], None, TRUE),
    ("ForAnyValue:StringEquals", ["environment", "cost-center"], ("environment", "other"), TRUE),
    ("ForAnyValue:StringEquals", ["environment", "cost-center"], ("other",), FALSE),
    ("ForAnyValue:StringEquals", ["environment"], None, FALSE),
    ("ForAllValues:ArnLike", ["arn:aws:sqs:*:1:a*"], ("arn:aws:sqs:x:1:ab", "arn:aws:sqs:x:2:ab"), FALSE),
])
def test_condition_operators(operator, wanted, given, holds):
    request = OBJECT.but(context={"aws:SomeKey": given})
    # A key is compared without case.
    assert decide(request, policy(allow(Condition={operator: {"aws:somekey": wanted}}))).allowed is holds


def test_every_key_of_every_operator_has_to_hold():
    both = {"StringEquals": {"aws:a": "1", "aws:b": "2"}, "Bool": {"aws:c": "true"}}
    given = {"aws:a": "1", "aws:b": "2", "aws:c": "true"}
    assert decide(OBJECT.but(context=given), policy(allow(Condition=both))).allowed
    for key in given:
        assert not decide(OBJECT.but(context={**given, key: "other"}), policy(allow(Condition=both))).allowed


# ---- a resource's own policy


@pytest.mark.parametrize(("principal", "service", "admitted"), [
    ({"Service": "events.amazonaws.com"}, "events.amazonaws.com", TRUE),
    ({"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}, "events.amazonaws.com", TRUE),
    ({"Service": "events.amazonaws.com"}, "sns.amazonaws.com", FALSE),
    ({"Service": "events.amazonaws.com"}, None, FALSE),
    ({"AWS": "123456789012"}, "events.amazonaws.com", FALSE),
    ({"AWS": "*"}, "events.amazonaws.com", TRUE),
    ("*", None, TRUE),
])
def test_a_principal_is_one_that_is_named(principal, service, admitted):
    assert iam.admits(policy(allow(Principal=principal)), OBJECT.but(service=service)) is admitted


# ---- what is not known


@pytest.mark.parametrize("statement", [
    allow(Condition={"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}),
    allow(Condition={"ForSomeValues:StringEquals": {"aws:TagKeys": "a"}}),
    allow(Condition={"StringEquals": {"aws:TagKeys": "a"}}),
    allow(resource="arn:aws:s3:::${aws:username}/*"),
    allow(resource="arn:aws:s3"),
    allow(Principal={"CanonicalUser": "a"}),
    {**allow(), "NotPrincipal": "*"},
    {**allow(), "Effect": "Audit"},
    {"Effect": "Allow", "Resource": "*"},
])
def test_what_is_not_known_is_an_error(statement):
    with pytest.raises(Unknown):
        decide(OBJECT.but(context={"aws:TagKeys": ("a", "b")}), policy(statement))


def test_a_policy_of_another_version_is_an_error():
    with pytest.raises(Unknown):
        statements("old", {"Version": "2008-10-17", "Statement": [allow()]})


# ---- the template


def template(stack="e2e", **parameters) -> iam.Template:
    return iam.Template(ROOT / "template.yaml", stack, "000000000000", "us-east-1", {
        "AdminTokenSha256": "0" * 64, "DefaultSubnets": "subnet-1, subnet-2", **parameters})


@pytest.mark.parametrize(("value", "resolved"), [
    ({"Ref": "AWS::StackName"}, "e2e"),
    ({"Ref": "DefaultSubnets"}, ["subnet-1", "subnet-2"]),
    ({"Fn::GetAtt": ["Table", "Arn"]}, "arn:aws:dynamodb:us-east-1:000000000000:table/e2e-Table-1A2B3C4D5E6F"),
    ({"Fn::GetAtt": "StartQueue.Arn"}, "arn:aws:sqs:us-east-1:000000000000:e2e-StartQueue-1A2B3C4D5E6F"),
    ({"Fn::Sub": "${AWS::Partition}/${Table.Arn}/${!kept}"},
     "aws/arn:aws:dynamodb:us-east-1:000000000000:table/e2e-Table-1A2B3C4D5E6F/${kept}"),
    ({"Fn::Sub": ["${a}-${AWS::Region}", {"a": {"Ref": "HistoryDays"}}]}, "400-us-east-1"),
    ({"Fn::Join": [",", {"Ref": "DefaultSubnets"}]}, "subnet-1,subnet-2"),
    ({"Fn::If": ["HasPublicUrl", "yes", "no"]}, "no"),
    ([1, {"Fn::If": ["HasPassableRoles", 2, {"Ref": "AWS::NoValue"}]}, 3], [1, 3]),
    ({"a": {"Ref": "AWS::NoValue"}, "b": "kept"}, {"b": "kept"}),
])
def test_intrinsic_functions(value, resolved):
    assert template().resolve(value) == resolved


@pytest.mark.parametrize("value", [
    {"Ref": "Nothing"}, {"Fn::ImportValue": "x"}, {"Fn::GetAtt": ["Table", "StreamArn"]},
    {"Fn::Sub": "${DefaultSubnets}"},
])
def test_what_of_a_template_is_not_known_is_an_error(value):
    with pytest.raises(Unknown):
        template().resolve(value)


def test_conditions_follow_the_parameters():
    assert not template().condition("HasPassableRoles")
    assert template(PassableRoles="arn:aws:iam::000000000000:role/a").condition("HasPassableRoles")


def test_a_parameter_without_a_value_is_an_error():
    with pytest.raises(Unknown):
        iam.Template(ROOT / "template.yaml", "e2e", "000000000000", "us-east-1", {})


# ---- from a call to requests


HERE = World("000000000000", "us-east-1")
ROLE = "arn:aws:iam::000000000000:role/jobs/report"


def asked(operation: str, parameters: dict, state: dict | None = None) -> dict[str, Request]:
    return {one.action: one for one in requests_of(Call(operation, parameters, state=state), HERE)}


def test_a_start_implies_that_its_roles_are_passed_and_its_task_is_tagged():
    found = asked("ecs:RunTask", {
        "cluster": "shared", "taskDefinition": "e2e_a_b", "propagateTags": "TASK_DEFINITION",
        "overrides": {"taskRoleArn": ROLE}}, {
        "taskDefinitionArn": HERE.definition("e2e_a_b:3"), "executionRoleArn": f"{ROLE}-start", "taskRoleArn": None,
        "tags": [{"key": "cronplane:stack", "value": "e2e"}]})
    assert found.keys() == {"ecs:RunTask", "ecs:TagResource", "iam:PassRole"}
    assert found["ecs:RunTask"].resource == HERE.definition("e2e_a_b:3")
    assert found["ecs:RunTask"].values("ecs:cluster") == (HERE.cluster("shared"),)
    assert found["ecs:TagResource"].resource == "arn:aws:ecs:us-east-1:000000000000:task/shared/*"
    assert found["ecs:TagResource"].values("ecs:CreateAction") == ("RunTask",)
    passed = [one for one in requests_of(Call("ecs:RunTask", {
        "taskDefinition": "e2e_a_b", "overrides": {"taskRoleArn": ROLE}}, state={
        "executionRoleArn": f"{ROLE}-start", "taskRoleArn": "other"}), HERE) if one.action == "iam:PassRole"]
    assert [(one.resource, one.values("iam:PassedToService")) for one in passed] == [
        (ROLE, ("ecs-tasks.amazonaws.com",)), (f"{ROLE}-start", ("ecs-tasks.amazonaws.com",))]


@pytest.mark.parametrize(("operation", "parameters", "actions"), [
    ("ecs:RegisterTaskDefinition", {"family": "a", "taskRoleArn": ROLE, "tags": [{"key": "a", "value": "b"}]},
     {"ecs:RegisterTaskDefinition", "ecs:TagResource", "iam:PassRole"}),
    ("ecs:RegisterTaskDefinition", {"family": "a"}, {"ecs:RegisterTaskDefinition"}),
    ("ecs:CreateCluster", {"clusterName": "a", "tags": [{"key": "a", "value": "b"}]},
     {"ecs:CreateCluster", "ecs:TagResource", "iam:CreateServiceLinkedRole"}),
    ("events:PutRule", {"Name": "a", "Tags": [{"Key": "a", "Value": "b"}]}, {"events:PutRule", "events:TagResource"}),
    ("events:PutTargets", {"Rule": "a", "Targets": [{"Arn": "arn:aws:sqs:x:1:a", "RoleArn": ROLE}]},
     {"events:PutTargets", "iam:PassRole"}),
    ("events:PutTargets", {"Rule": "a", "Targets": [{"Arn": "arn:aws:sqs:x:1:a"}]}, {"events:PutTargets"}),
    ("iam:CreateRole", {"RoleName": "a", "Tags": [{"Key": "a", "Value": "b"}]}, {"iam:CreateRole", "iam:TagRole"}),
    ("sns:CreateTopic", {"Name": "a", "Tags": [{"Key": "a", "Value": "b"}]}, {"sns:CreateTopic", "sns:TagResource"}),
    ("logs:CreateLogGroup", {"logGroupName": "a", "tags": {"a": "b"}}, {"logs:CreateLogGroup", "logs:TagResource"}),
    ("dynamodb:TransactWriteItems", {"TransactItems": [
        {"Put": {"TableName": "t"}}, {"Update": {"TableName": "t"}}, {"Delete": {"TableName": "t"}},
        {"ConditionCheck": {"TableName": "t"}}]},
     {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"}),
    ("dynamodb:TransactGetItems", {"TransactItems": [{"Get": {"TableName": "t"}}]}, {"dynamodb:GetItem"}),
    ("dynamodb:BatchGetItem", {"RequestItems": {"t": None}}, {"dynamodb:BatchGetItem"}),
])
def test_a_call_implies_others(operation, parameters, actions):
    assert asked(operation, parameters).keys() == actions


def test_an_operation_that_is_not_known_is_an_error():
    assert "iam:AttachRolePolicy" not in known()
    with pytest.raises(KeyError, match="say in aws_requests.py"):
        requests_of(Call("iam:AttachRolePolicy", {}), HERE)
