"""Service Quotas, which MiniStack does not have, and the walls of two quotas: rules and schedules.

LOCAL_CLOUD_QUOTAS in the environment sets other values than AWS's defaults, by service and quota code:
'{"events/L-244521F2": 12}'. Not modelled: quotas that are not listed here, and asking for more.
"""

import json
import os

from ministack import app
from ministack.core import router
from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import eventbridge as eb
from ministack.services import scheduler

from . import rules, schedules  # noqa: F401  (the walls stand before what these mend)
from .mending import mend

_CONTENT = "application/x-amz-json-1.1"
_SERVICES = {
    "events": "Amazon EventBridge (CloudWatch Events)",
    "ecs": "Amazon Elastic Container Service (Amazon ECS)",
    "scheduler": "Amazon EventBridge Scheduler",
}
_RULES, _SCHEDULES = "events/L-244521F2", "scheduler/L-EE5D6FF0"
_QUOTAS = {  # name and default
    _RULES: ("Number of rules", 300),
    "ecs/L-21C621EB": ("Clusters per account", 10_000),
    _SCHEDULES: ("Number of schedules", 10_000_000),
    "scheduler/L-A632CD40": ("Number of schedule groups", 500),
}


def _value(code):
    return json.loads(os.environ.get("LOCAL_CLOUD_QUOTAS", "{}")).get(code, _QUOTAS[code][1])


# --- The service --------------------------------------------------------------------------------

def _quota(code):
    service, quota = code.split("/")
    return {
        "ServiceCode": service, "ServiceName": _SERVICES[service], "QuotaCode": quota, "QuotaName": _QUOTAS[code][0],
        "QuotaArn": f"arn:aws:servicequotas:{get_region()}:{get_account_id()}:{code}",
        "Value": float(_value(code)), "Unit": "None", "Adjustable": True, "GlobalQuota": False,
    }


def _answer(operation, request):
    """The answer's content; nothing where AWS has no such resource."""
    service = request.get("ServiceCode")
    if operation == "GetServiceQuota":
        code = f"{service}/{request.get('QuotaCode')}"
        return {"Quota": _quota(code)} if code in _QUOTAS else None
    quotas = [_quota(code) for code in _QUOTAS if code.startswith(f"{service}/")]
    return {"Quotas": quotas} if quotas else None


async def handle_request(_method, _path, headers, body, _query):
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if operation not in ("GetServiceQuota", "ListServiceQuotas"):
        return error_response_json("InvalidAction", f"Unknown action: {operation}", 400, content_type=_CONTENT)
    answer = _answer(operation, json.loads(body or b"{}"))
    if answer is None:
        return error_response_json(
            "NoSuchResourceException", "The request failed because the specified service or quota does not exist.", 400,
            message_key="Message", content_type=_CONTENT)
    return 200, {"Content-Type": _CONTENT}, json.dumps(answer).encode()


router.SERVICE_PATTERNS["servicequotas"] = {
    "target_prefixes": ["ServiceQuotasV20190624"], "credential_scope": "servicequotas"}
app.SERVICE_HANDLERS["servicequotas"] = handle_request


# --- The walls ----------------------------------------------------------------------------------

@mend(eb, "_put_rule")
def rules_of_a_bus_are_limited(original, data):
    bus = data.get("EventBusName", "default")
    there = [rule for rule in eb._rules.values() if rule["EventBusName"] == bus]
    if eb._rule_key(data.get("Name"), bus) not in eb._rules and len(there) >= _value(_RULES):
        return error_response_json(
            "LimitExceededException", "The requested resource exceeds the maximum number allowed.", 400)
    return original(data)


@mend(scheduler, "_create_schedule")
def schedules_are_limited(original, name, body):
    is_new = f"{body.get('GroupName', 'default')}/{name}" not in scheduler._schedules
    if is_new and len(scheduler._schedules) >= _value(_SCHEDULES):
        return scheduler._error(402, "ServiceQuotaExceededException", "The request exceeds a service quota.")
    return original(name, body)
