"""EventBridge rules: when they fire, what they pass on, and what they start. What a target starts is the same for
EventBridge Scheduler, and told here too; when a schedule starts is told in schedules.py.

Not modelled, and so not tested here: retries (every failure goes to the dead-letter queue at once, as
AWS does for missing resources and permissions), and a target's role (that it exists, and what it may do).
"""

import datetime
import json
import logging
import re
import time
import uuid

from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import ecs, lambda_svc, sns, sqs
from ministack.services import eventbridge as eb

from . import recording
from .mending import mend, set_value

log = logging.getLogger("local_cloud.rules")

# MiniStack looks every 10 s; on AWS a rule fires within its minute, and a person waits for it.
set_value(eb, "_SCHEDULER_TICK_INTERVAL", 1)


def _rfc3339(epoch):
    return datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- When a rule fires --------------------------------------------------------------------------

def _restart_countdown(key):
    """A rate counts from the rule's creation or last enabling, and a cron time that passed while the rule
    was off is gone: MiniStack keeps counting and starts at once when a rule is enabled again."""
    eb._rule_last_fired[(get_account_id(), get_region(), key)] = time.time()


@mend(eb, "_put_rule")
def put_rule_replaces_the_rule(original, data):
    """What PutRule leaves out is not kept, and tags are those of the creation."""
    data = dict(data)
    key = eb._rule_key(data.get("Name"), data.get("EventBusName", "default"))
    before = dict(eb._rules.get(key) or {})
    if before:
        data.pop("Tags", None)
        data = {"State": "ENABLED", "Description": "", "RoleArn": "", **data}
    response = original(data)
    after = eb._rules.get(key) or {}
    same = all(before.get(field) == after.get(field) for field in ("State", "ScheduleExpression"))
    if response[0] == 200 and not same:
        _restart_countdown(key)
    return response


@mend(eb, "_enable_rule")
def enabled_rule_waits_one_interval(original, data):
    key = eb._rule_key(data.get("Name"), data.get("EventBusName", "default"))
    if missing := _rule_missing(data.get("Name"), key):
        return missing
    was_enabled = eb._rules[key]["State"] == "ENABLED"
    response = original(data)
    if not was_enabled:
        _restart_countdown(key)
    return response


def _rule_missing(name, key):
    if key in eb._rules:
        return None
    return error_response_json("ResourceNotFoundException", f"Rule {name} does not exist on EventBus default.", 400)


@mend(eb, "_disable_rule")
def unknown_rule_is_not_disabled(original, data):
    key = eb._rule_key(data.get("Name"), data.get("EventBusName", "default"))
    return _rule_missing(data.get("Name"), key) or original(data)


@mend(eb, "_remove_targets")
def unknown_rule_has_no_targets_to_remove(original, data):
    key = eb._rule_key(data.get("Rule"), data.get("EventBusName", "default"))
    return _rule_missing(data.get("Rule"), key) or original(data)


@mend(eb, "_list_targets_by_rule")
def unknown_rule_has_no_targets_to_list(original, data):
    key = eb._rule_key(data.get("Rule"), data.get("EventBusName", "default"))
    return _rule_missing(data.get("Rule"), key) or original(data)


@mend(eb, "_delete_rule")
def rule_with_targets_stays(original, data):
    if eb._targets.get(eb._rule_key(data.get("Name"), data.get("EventBusName", "default"))):
        return error_response_json("ValidationException", "Rule can't be deleted since it has targets.", 400)
    return original(data)


@mend(eb, "_put_targets")
def targets_are_looked_at(original, data):
    """A cluster is started with a role, and an input has a length."""
    for number, target in enumerate(data.get("Targets", []), 1):
        if _is_cluster(target.get("Arn", "")) and not target.get("RoleArn"):
            return error_response_json("ValidationException", f"RoleArn is required for target {target['Arn']}.", 400)
        if len(target.get("Input") or "") > 8192:
            return error_response_json(
                "ValidationException", f"1 validation error detected: Value at 'targets.{number}.member.input' failed "
                "to satisfy constraint: Member must have length less than or equal to 8192", 400)
    return original(data)


@mend(eb, "_tick_scheduled_rules")
def rates_do_not_drift(original):
    """A rate's next start is counted from when the last one was due, not from when it was seen to be."""
    before = dict(eb._rule_last_fired)
    original()
    for key, due_from in before.items():
        fired = eb._rule_last_fired.get(key, due_from)
        interval = eb._parse_rate_seconds((eb._rules._data.get(key) or {}).get("ScheduleExpression", ""))
        if interval and fired - due_from >= interval:
            eb._rule_last_fired[key] = due_from + (fired - due_from) // interval * interval


# --- Expressions --------------------------------------------------------------------------------

# A star, a number or a range, and perhaps a step.
_CRON_PART = re.compile(r"(?:\*|([A-Z0-9]+)(?:-([A-Z0-9]+))?)(?:/([0-9]+))?")


@mend(eb, "_cron_field")
def cron_values_exist_and_ranges_wrap(_original, field, lo, hi, names=None):
    """`20-2` is the hours 20 to 23 and 0 to 2, and there is no hour 24: MiniStack makes an empty range of the one and
    takes the other. A ValueError is its sign for a field that is none."""
    def value(text):
        number = (names or {}).get(text)
        if number is None:
            number = int(text)
        if not lo <= number <= hi:
            raise ValueError(f"{text} is not within {lo} and {hi}")
        return number

    values = set()
    for part in field.upper().split(","):
        match = _CRON_PART.fullmatch(part)
        if not match:
            raise ValueError(f"{part} is neither a value nor a range")
        first, last, step = match.groups()
        start = value(first) if first else lo
        end = value(last) if last else hi if step or not first else start
        run = [*range(start, end + 1)] if start <= end else [*range(start, hi + 1), *range(lo, end + 1)]
        values.update(run[::int(step or 1)])
    return frozenset(values)


@mend(eb, "_parse_cron_fields")
def one_day_field_is_open(original, expression):
    """Of the two day fields one is `?`, and nothing else is; weekdays have no steps. MiniStack takes all of these."""
    fields = original(expression)
    if fields is None:
        return None
    _, _, day, _, weekday, year = expression.strip().removeprefix("cron(").removesuffix(")").split()
    if (day == "?") == (weekday == "?") or "/" in weekday or year == "?":
        return None
    return fields


@mend(eb, "_parse_rate_seconds")
def unit_agrees_with_the_value(original, expression):
    seconds = original(expression)
    if not seconds:  # nothing comes of it, or nothing but zero
        return None
    value, unit = expression.removeprefix("rate(").removesuffix(")").split()
    return seconds if (int(value) == 1) == (not unit.endswith("s")) else None


@mend(eb, "_validate_schedule_expression")
def rates_are_parsed_too(original, expression):
    """MiniStack looks at the form of a rate alone."""
    if expression.startswith("rate("):
        return eb._parse_rate_seconds(expression) is not None
    return original(expression)


# --- What a rule passes on ----------------------------------------------------------------------

_PATH_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']+)'\]")


def _at_path(event, path):
    """The value at a JSON path such as `$.detail.containers[0].exitCode`; raises when there is none."""
    value = event
    for name, index, quoted in _PATH_STEP.findall(path):
        value = value[int(index)] if index else value[name or quoted]
    return value


@mend(eb, "_apply_input_transformer")
def paths_know_array_indices(_original, transformer, rule, view):
    """MiniStack's paths are names and dots only. A path that leads nowhere gives an empty string, as in
    MiniStack: AWS makes no variable of it, and what such a template then says is nowhere written."""
    event = view.event_with_detail()
    values = {}
    for name, path in transformer.get("InputPathsMap", {}).items():
        try:
            values[name] = _at_path(event, path)
        except (KeyError, IndexError, TypeError):
            values[name] = ""
    values |= {
        "aws.events.rule-name": rule.get("Name", ""),
        "aws.events.rule-arn": rule.get("Arn", ""),
        "aws.events.event": view.envelope(),
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": _rfc3339(time.time()),
    }
    return eb._render_input_template(transformer.get("InputTemplate", ""), values)


# --- What a target starts -----------------------------------------------------------------------

class InvocationFailed(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def _is_cluster(arn):
    try:
        spec = parse_arn(arn)
    except ArnParseError:
        return False
    return spec.service == "ecs" and spec.resource.startswith("cluster/")


@mend(eb, "_invoke_target")
def targets_are_invoked_as_on_aws(original, target, event, rule, view=None):
    """A cluster is a target, the time of a rule's scheduled event is on the minute, Scheduler's keywords are
    substituted, and what cannot be delivered goes to the target's dead-letter queue."""
    by_schedule = event.get("Source") == "aws.scheduler"
    if event.get("DetailType") == "Scheduled Event" and event.get("Source") == "aws.events":
        event = {**event, "Time": int(event["Time"] // 60 * 60)}
        view = None
    view = view or eb._pattern_event_view(event)
    if by_schedule:
        event = {**event, "_execution": uuid.uuid4().hex[:16]}
        target = _with_scheduler_keywords(target, event, rule)
    try:
        if _is_cluster(target.get("Arn", "")):
            _run_ecs_task(target, rule, view, by_schedule)
        elif missing := _missing_resource(target.get("Arn", "")):
            raise InvocationFailed("NO_RESOURCE", missing)
        else:
            recording.target_invoked(target["Arn"], rule, by_schedule)
            original(target, event, rule, view)
    except InvocationFailed as failure:
        log.warning("%s did not reach %s: %s", rule.get("Name"), target.get("Arn"), failure.message)
        _send_to_dead_letter_queue(target, event, rule, view, failure, by_schedule)


def _with_scheduler_keywords(target, event, schedule):
    text = target.get("Input")
    if not text:
        return target
    for keyword, value in {
        "schedule-arn": schedule.get("Arn", ""),
        "scheduled-time": _rfc3339(event["Time"]),
        "execution-id": event["_execution"],
        "attempt-number": "1",
    }.items():
        text = text.replace(f"<aws.scheduler.{keyword}>", value)
    return {**target, "Input": text}


def _missing_resource(arn):
    """Why this queue, topic or function cannot be reached; nothing when it can."""
    try:
        service = parse_arn(arn).service
    except ArnParseError:
        return None
    exists = {
        "sqs": lambda: sqs._queue_by_arn(arn),
        "sns": lambda: sns._topic_by_arn_any_scope(arn),
        "lambda": lambda: lambda_svc._get_func_record_for_ref(arn)[0],
    }.get(service, lambda: True)()
    return None if exists else f"The specified target {arn} does not exist."


def _lower_first(record):
    return {key[:1].lower() + key[1:]: value for key, value in record.items()}


def _run_task_request(target, source, view, by_schedule):
    parameters = target.get("EcsParameters") or {}
    request = {"cluster": target["Arn"]}
    for field, name in {
        "TaskDefinitionArn": "taskDefinition", "TaskCount": "count", "LaunchType": "launchType",
        "PlatformVersion": "platformVersion", "Group": "group", "PropagateTags": "propagateTags",
        "CapacityProviderStrategy": "capacityProviderStrategy", "EnableExecuteCommand": "enableExecuteCommand",
        "EnableECSManagedTags": "enableECSManagedTags", "PlacementConstraints": "placementConstraints",
        "PlacementStrategy": "placementStrategy",
    }.items():
        if parameters.get(field) not in (None, ""):
            request[name] = parameters[field]
    network = _lower_first(parameters.get("NetworkConfiguration") or {}).get("awsvpcConfiguration")
    if network:
        request["networkConfiguration"] = {"awsvpcConfiguration": _lower_first(network)}
    if parameters.get("Tags"):  # a rule's are {Key, Value}, a schedule's {key, value}
        request["tags"] = [_lower_first(tag) for tag in parameters["Tags"]]
    overrides = _task_overrides(target, source, view)
    if overrides:
        request["overrides"] = overrides
    prefix = "chronos-schedule" if by_schedule else "events-rule"
    request["startedBy"] = f"{prefix}/{source.get('Name', '')}"[:36]
    return request


def _task_overrides(target, rule, view):
    """An ECS target's input is the task's overrides; without one, nothing is overridden."""
    if target.get("InputTransformer"):
        text = eb._apply_input_transformer(target["InputTransformer"], rule, view)
    elif target.get("Input"):
        text = target["Input"]
    else:
        return None
    try:
        overrides = json.loads(text)
    except ValueError as error:
        raise InvocationFailed("INVALID_JSON", f"The target's input is not valid JSON: {error}") from error
    return overrides if isinstance(overrides, dict) else None


_ERROR_CODES = {
    "ClusterNotFoundException": "NO_RESOURCE",
    "InvalidParameterException": "INVALID_PARAMETER",
    "AccessDeniedException": "NO_PERMISSIONS",
}


def _run_ecs_task(target, source, view, by_schedule):
    request = _run_task_request(target, source, view, by_schedule)
    recording.task_started(target, source, request, by_schedule)
    status, _headers, body = ecs._run_task(request)
    answer = json.loads(body)
    if status != 200:
        error = answer.get("__type", "ClientException").rsplit("#", 1)[-1]
        code = error if by_schedule else _ERROR_CODES.get(error, "SDK_CLIENT_ERROR")
        raise InvocationFailed(code, answer.get("message") or answer.get("Message") or error)
    if answer.get("failures"):
        reason = answer["failures"][0].get("reason", "")
        raise InvocationFailed("RESOURCE_LIMIT_EXCEEDED", f"RunTask failed: {reason}")


def _send_to_dead_letter_queue(target, event, source, view, failure, by_schedule):
    """Every failure here is a lasting one, so no retry was made: RETRY_ATTEMPTS is 0, and of a rule's
    retry conditions none was exhausted. Scheduler says so all the same."""
    queue = sqs._queue_by_arn((target.get("DeadLetterConfig") or {}).get("Arn", ""))
    if queue is None:
        return
    recording.target_invoked(target["DeadLetterConfig"]["Arn"], source, by_schedule)
    attributes = {
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": failure.message,
        "RETRY_ATTEMPTS": "0",
    }
    if by_schedule:
        attributes |= {
            "SCHEDULE_ARN": source["Arn"],
            "SCHEDULED_TIME": _rfc3339(event["Time"]),
            "EXECUTION_ID": event["_execution"],
            "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
            "IS_PAYLOAD_TRUNCATED": "false",
        }
        body = target.get("Input") or "{}"
    else:
        attributes["RULE_ARN"] = source["Arn"]
        body = json.dumps(view.event_with_detail())
    sqs._act_send_message({
        "MessageBody": body,
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    }, sqs._queue_url(parse_arn(target["DeadLetterConfig"]["Arn"]).resource))


@mend(eb, "_dispatch_to_sns")
def alerts_have_no_subject(_original, arn, payload):
    """EventBridge publishes to a topic without a subject."""
    sns.publish_internal(arn, payload, "")
