"""IAM as AWS evaluates it, and template.yaml as CloudFormation resolves it: enough of both for the policies of this
project, and an `Unknown` for everything else, so that nothing is taken for allowed or denied by mistake.

Sources: IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators", "... Resource",
"Creating a condition with multiple keys or values"; CloudFormation User Guide, "Intrinsic function reference".
"""

import dataclasses
import functools
import json
import pathlib
import re

import cfnlint.decode.cfn_yaml


class Unknown(Exception):
    """Something that this module does not know."""


# --- Matching -----------------------------------------------------------------------------------

@functools.cache
def _pattern(pattern: str, ignores_case: bool) -> re.Pattern:
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(character) or re.escape(character) for character in pattern)
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignores_case else 0))


def like(pattern: str, text: str, ignores_case: bool = False) -> bool:
    """`*` is any characters, `?` is any one."""
    return _pattern(pattern, ignores_case).fullmatch(text) is not None


def arn_like(pattern: str, text: str) -> bool:
    """Each of the six parts of an ARN by itself; the last one can hold colons."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", 5), text.split(":", 5)
    if len(wanted) != 6:
        raise Unknown(f"{pattern} is no whole ARN")
    return len(given) == 6 and all(map(like, wanted, given))


# --- Requests and policies ----------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Request:
    """One thing to be authorized. The context's keys are compared without case; a value is a string, or a tuple of
    strings where AWS has an array. `service` is the principal of a resource policy: the service that acts."""

    action: str
    resource: str
    context: dict = dataclasses.field(default_factory=dict, hash=False)
    service: str | None = None

    def values(self, key: str) -> tuple[str, ...] | None:
        for name, value in self.context.items():
            if name.lower() == key.lower():
                return value if isinstance(value, tuple) else (value,)
        return None

    def but(self, **changes) -> "Request":
        """This request with another action, resource or service, or with other values of its context (None takes a
        key away)."""
        context = {**self.context, **changes.pop("context", {})}
        given = {key: value for key, value in context.items() if value is not None}
        return dataclasses.replace(self, context=given, **changes)


def _list(value) -> list:
    return value if isinstance(value, list) else [value]


_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"}


@dataclasses.dataclass(frozen=True)
class Statement:
    policy: str
    content: dict = dataclasses.field(hash=False)

    @property
    def name(self) -> str:
        return f"{self.policy}/{self.content.get('Sid', '(no Sid)')}"

    @property
    def allows(self) -> bool:
        return self.content["Effect"] == "Allow"

    def all(self, element: str) -> list:
        return _list(self.content[element]) if element in self.content else []

    def misses(self, request: Request) -> list[str]:
        """What of the statement does not apply to the request, the most telling first; nothing if it applies."""
        found = []
        if not self._names("Action", lambda pattern: like(pattern, request.action, ignores_case=True)):
            found.append("Action")
        if not self._names("Resource", lambda pattern: arn_like(pattern, request.resource)):
            found.append("Resource")
        if "Principal" in self.content and not _is_principal(self.content["Principal"], request.service):
            found.append("Principal")
        for operator, keys in self.content.get("Condition", {}).items():
            for key, wanted in keys.items():
                if not holds(operator, key, [str(one) for one in _list(wanted)], request):
                    found.append(f"{operator} {key} = {wanted}, which is {request.values(key)}")
        return found

    def _names(self, element: str, matches) -> bool:
        if f"Not{element}" in self.content:
            return not any(map(matches, self.all(f"Not{element}")))
        # A trust policy has no resource: it is that of its role.
        return any(map(matches, self.all(element))) or (element == "Resource" and element not in self.content)


def _is_principal(wanted, service: str | None) -> bool:
    if wanted == "*":
        return True
    if set(wanted) - {"Service", "AWS"}:
        raise Unknown(f"principal {wanted}")
    return service in _list(wanted.get("Service", [])) or "*" in _list(wanted.get("AWS", []))


def statements(name: str, document: dict | str) -> list[Statement]:
    document = json.loads(document) if isinstance(document, str) else document
    if document.get("Version") != "2012-10-17":
        raise Unknown(f"{name} is of version {document.get('Version')}")
    if "${" in json.dumps(document):
        raise Unknown(f"{name} has a policy variable")
    found = []
    for content in _list(document["Statement"]):
        if set(content) - _ELEMENTS or content["Effect"] not in ("Allow", "Deny"):
            raise Unknown(f"{name} has a statement with {sorted(content)}, {content['Effect']}")
        if ("Action" in content) == ("NotAction" in content) or {"Resource", "NotResource"} <= set(content):
            raise Unknown(f"{name} has a statement with {sorted(content)}")
        found.append(Statement(name, content))
    return found


# --- Conditions ---------------------------------------------------------------------------------

def _bool(wanted: str, given: str) -> bool:
    return wanted.lower() == given.lower()


_OPERATORS = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": like,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "Bool": _bool,
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def holds(operator: str, key: str, wanted: list[str], request: Request) -> bool:
    """Whether one key of a condition is as the operator wants it: one of several values is enough, or for a negated
    operator, none of them."""
    given = request.values(key)
    quantifier, _, plain = operator.rpartition(":")
    if plain == "Null":
        return [_bool(one, str(given is None).lower()) for one in wanted] == [True]
    if_exists, plain = plain.endswith("IfExists"), plain.removesuffix("IfExists")
    negated, plain = plain in _NEGATED, _NEGATED.get(plain, plain)
    if plain not in _OPERATORS:
        raise Unknown(f"operator {operator}")

    def fits(value: str) -> bool:
        return any(_OPERATORS[plain](one, value) for one in wanted) != negated

    if quantifier == "ForAllValues":
        return all(map(fits, given or ()))
    if quantifier not in ("", "ForAnyValue"):
        raise Unknown(f"operator {operator}")
    if given is None:
        return if_exists or (negated and not quantifier)
    if quantifier == "ForAnyValue":
        return any(map(fits, given))
    if len(given) != 1:
        raise Unknown(f"{operator} of {key}, which has {len(given)} values")
    return fits(given[0])


# --- The decision -------------------------------------------------------------------------------

ALLOW, IMPLICIT_DENY, EXPLICIT_DENY = "allow", "implicit deny", "explicit deny"


@dataclasses.dataclass(frozen=True)
class Decision:
    effect: str
    why: str
    # The statement that allowed or denied.
    statement: Statement | None = None

    @property
    def allowed(self) -> bool:
        return self.effect == ALLOW


def decide(request: Request, policies: list[Statement], boundary: list[Statement] | None = None) -> Decision:
    """By a principal's policies and, if it has one, its permissions boundary: both have to allow, and neither may
    deny."""
    limits = policies + (boundary or [])
    for one in limits:
        if not one.allows and not one.misses(request):
            return Decision(EXPLICIT_DENY, f"denied by {one.name}", one)
    for kind, given in (("policies", policies), ("boundary", boundary)):
        if given is not None and not any(one.allows and not one.misses(request) for one in given):
            return Decision(IMPLICIT_DENY, f"not in the {kind}; {_nearest(request, given)}")
    allowing = next(one for one in policies if one.allows and not one.misses(request))
    return Decision(ALLOW, f"allowed by {allowing.name}", allowing)


def admits(policy: list[Statement], request: Request) -> bool:
    """By a resource's own policy."""
    return decide(request, policy).allowed


def _nearest(request: Request, given: list[Statement]) -> str:
    def far(one: Statement) -> tuple:
        missed = one.misses(request)
        return "Action" in missed, "Resource" in missed, len(missed)

    allowing = [one for one in given if one.allows]
    if not allowing:
        return "nothing is"
    nearest = min(allowing, key=far)
    return f"nearest is {nearest.name}, but for {'; '.join(nearest.misses(request))}"


# --- The template -------------------------------------------------------------------------------

_NOTHING = object()
# Of which parameters there is a list.
_LISTS = ("CommaDelimitedList", "List<")


class Template:
    """template.yaml with the values of its parameters and the physical ids of a stack's resources."""

    def __init__(self, file: pathlib.Path, stack: str, account: str, region: str, parameters: dict[str, str],
                 physical: dict[str, str] | None = None):
        self.body = cfnlint.decode.cfn_yaml.load(str(file))
        self.stack, self.account, self.region, self.partition = stack, account, region, "aws"
        self.physical = physical or {name: self._imagined(name) for name in self.body["Resources"]}
        self.parameters = {name: self._parameter(name, parameters) for name in self.body["Parameters"]}

    def _imagined(self, logical: str) -> str:
        """A physical id of the form that CloudFormation gives."""
        name = f"{self.stack}-{logical}-1A2B3C4D5E6F"
        kind = self.type_of(logical)
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{name}"
        if kind == "AWS::Scheduler::ScheduleGroup":
            return self.stack  # its `Name`
        if kind == "AWS::Events::Rule" and "Name" in self.body["Resources"][logical]["Properties"]:
            return self.body["Resources"][logical]["Properties"]["Name"]["Fn::Sub"].replace("${AWS::StackName}", self.stack)
        return self.arn("iam", f"policy/{name}") if kind == "AWS::IAM::ManagedPolicy" else name

    def _parameter(self, name: str, given: dict[str, str]):
        declared = self.body["Parameters"][name]
        if name not in given and "Default" not in declared:
            raise Unknown(f"parameter {name} has no value")
        value = str(given.get(name, declared.get("Default")))
        if declared["Type"].startswith(_LISTS):
            return [one.strip() for one in value.split(",")]
        return value

    def arn(self, service: str, resource: str) -> str:
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"

    def type_of(self, logical: str) -> str:
        return self.body["Resources"][logical]["Type"]

    def of_type(self, kind: str) -> list[str]:
        return [name for name, resource in self.body["Resources"].items() if resource["Type"] == kind]

    def properties(self, logical: str) -> dict:
        return self.resolve(self.body["Resources"][logical]["Properties"])

    # ---- intrinsic functions

    def resolve(self, value):
        if isinstance(value, list):
            resolved = [self.resolve(one) for one in value]
            return [one for one in resolved if one is not _NOTHING]
        if not isinstance(value, dict):
            return value
        name = next(iter(value), None)
        if len(value) == 1 and (name == "Ref" or name.startswith("Fn::")):
            function = {
                "Ref": self.ref, "Fn::GetAtt": self._get_att, "Fn::Sub": self._sub, "Fn::Join": self._join,
                "Fn::If": self._if,
            }.get(name)
            if function is None:
                raise Unknown(f"intrinsic function {name}")
            return function(value[name])
        resolved = {key: self.resolve(one) for key, one in value.items()}
        return {key: one for key, one in resolved.items() if one is not _NOTHING}

    def ref(self, name: str):
        pseudo = {
            "AWS::StackName": self.stack, "AWS::AccountId": self.account, "AWS::Region": self.region,
            "AWS::Partition": self.partition, "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": _NOTHING,
        }
        for values in (pseudo, self.parameters, self.physical):
            if name in values:
                return values[name]
        raise Unknown(f"Ref of {name}")

    def attribute(self, logical: str, name: str) -> str:
        """CloudFormation's return values; that of a log group ends in `:*`."""
        last = self.physical[logical].rsplit("/", 1)[-1]
        kind = self.type_of(logical)
        found = {
            ("AWS::DynamoDB::Table", "Arn"): lambda: self.arn("dynamodb", f"table/{last}"),
            ("AWS::SQS::Queue", "Arn"): lambda: self.arn("sqs", last),
            ("AWS::SQS::Queue", "QueueName"): lambda: last,
            ("AWS::Logs::LogGroup", "Arn"): lambda: self.arn("logs", f"log-group:{self.physical[logical]}:*"),
            ("AWS::Serverless::Function", "Arn"): lambda: self.arn("lambda", f"function:{last}"),
            ("AWS::Events::Rule", "Arn"): lambda: self.arn("events", f"rule/{last}"),
            ("AWS::IAM::Role", "Arn"): lambda: self.arn("iam", f"role/{last}"),
        }.get((kind, name))
        if found is None:
            raise Unknown(f"attribute {name} of a {kind}")
        return found()

    def _get_att(self, value) -> str:
        logical, _, name = value.partition(".") if isinstance(value, str) else (value[0], "", value[1])
        return self.attribute(logical, name)

    def _sub(self, value) -> str:
        text, own = (value, {}) if isinstance(value, str) else value

        def put(match: re.Match) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in own:
                return self.resolve(own[name])
            found = self._get_att(name) if "." in name else self.ref(name)
            if not isinstance(found, str):
                raise Unknown(f"Sub of {name}, which is no text")
            return found

        return re.sub(r"\$\{([^}]+)\}", put, text)

    def _join(self, value) -> str:
        separator, parts = value
        return separator.join(self.resolve(parts))

    def _if(self, value):
        name, then, otherwise = value
        return self.resolve(then if self.condition(name) else otherwise)

    def condition(self, name: str) -> bool:
        return self._truth(self.body["Conditions"][name])

    def _truth(self, value: dict) -> bool:
        ((name, operand),) = value.items()
        if name == "Condition":
            return self.condition(operand)
        if name == "Fn::Equals":
            left, right = self.resolve(operand)
            return left == right
        truths = {"Fn::Not": lambda: not self._truth(operand[0]), "Fn::And": lambda: all(map(self._truth, operand)),
                  "Fn::Or": lambda: any(map(self._truth, operand))}
        if name not in truths:
            raise Unknown(f"condition function {name}")
        return truths[name]()

    # ---- policies

    def policies_of(self, role: str) -> list[Statement]:
        """All that a role of the template may do."""
        properties = self.properties(role)
        found = []
        by_arn = {self.ref(name): name for name in self.of_type("AWS::IAM::ManagedPolicy")}
        for arn in properties.get("ManagedPolicyArns", []):
            if arn not in by_arn:
                raise Unknown(f"managed policy {arn}")
            found += self.managed(by_arn[arn])
        for policy in properties.get("Policies", []):
            found += statements(role, policy["PolicyDocument"])
        return found

    def managed(self, logical: str) -> list[Statement]:
        return statements(logical, self.properties(logical)["PolicyDocument"])

    def queue_policies(self) -> dict[str, list[Statement]]:
        """By the ARN of the queue."""
        found: dict[str, list[Statement]] = {}
        by_url = {self.ref(name): self.attribute(name, "Arn") for name in self.of_type("AWS::SQS::Queue")}
        for logical in self.of_type("AWS::SQS::QueuePolicy"):
            properties = self.properties(logical)
            for url in properties["Queues"]:
                found.setdefault(by_url[url], []).extend(statements(logical, properties["PolicyDocument"]))
        return found

    def function_policies(self) -> dict[str, list[Statement]]:
        """By the ARN of the function: the statements that Lambda makes of its permissions (Lambda API reference,
        "AddPermission")."""
        found: dict[str, list[Statement]] = {}
        for logical in self.of_type("AWS::Lambda::Permission"):
            given = self.properties(logical)
            if set(given) - {"FunctionName", "Action", "Principal", "SourceArn", "SourceAccount"}:
                raise Unknown(f"{logical} has {sorted(given)}")
            condition = {}
            if "SourceArn" in given:
                condition["ArnLike"] = {"aws:SourceArn": given["SourceArn"]}
            if "SourceAccount" in given:
                condition["StringEquals"] = {"aws:SourceAccount": given["SourceAccount"]}
            principal = given["Principal"]
            found.setdefault(given["FunctionName"], []).append(Statement(logical, {
                "Sid": logical, "Effect": "Allow", "Action": given["Action"], "Resource": given["FunctionName"],
                "Principal": "*" if principal == "*" else {"Service": principal},
                **({"Condition": condition} if condition else {})}))
        return found
