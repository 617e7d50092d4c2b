"""EventBridge Scheduler: which schedules it takes, when they start, and how they are listed. What a schedule's target
starts is told in rules.py.

Not modelled, and so not tested here, besides what rules.py says: that a group is deleted some time after it was asked
for; the first occurrence of a rate whose StartDate lies up to five minutes back, which does not start here; and an
`at` in an hour that the clocks skip, which is taken for the hour after it. Where no document of AWS's has the words of
a refusal they are this module's.
"""

import base64
import datetime
import json
import math
import operator
import re
import time
import zlib
import zoneinfo

from ministack.core.responses import get_account_id, get_region, new_uuid, request_scope
from ministack.services import eventbridge as eb
from ministack.services import scheduler

from .mending import mend, set_value

# MiniStack looks every 10 s; on AWS a schedule starts within its minute, and a person waits for it.
set_value(scheduler, "_SCHEDULE_TICK_INTERVAL", 1)

# The names alone: zoneinfo itself takes files for zones that are none.
_ZONES = zoneinfo.available_timezones()
if not _ZONES:
    raise SystemExit("local cloud: this machine has no time zones; install tzdata")

_NAME = re.compile(r"[0-9a-zA-Z-_.]{1,64}")
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", re.ASCII)
_MOST_DELAYED = 5  # seconds; a flexible window is a minute at least, and a person waits for it


# --- When a schedule starts ---------------------------------------------------------------------

def _zone(schedule):
    return zoneinfo.ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")


def _at_time(schedule):
    """When a one-time schedule starts; of others nothing."""
    match = _AT.fullmatch(schedule["ScheduleExpression"])
    try:
        return match and datetime.datetime.fromisoformat(match[1]).replace(tzinfo=_zone(schedule)).timestamp()
    except ValueError:  # a day that no calendar has
        return None


def _is_start(fields, local):
    """Whether a cron expression, as MiniStack parses it, has this local minute."""
    minutes, hours, days, months, weekdays, years, open_day, _ = fields
    return (
        local.minute in minutes and local.hour in hours and local.month in months
        and (years is None or local.year in years)
        and (eb._dow_matches(weekdays, local) if open_day == "?" else eb._dom_matches(days, local)))


def _cron_times(fields, zone, since, until):
    """The minutes of UTC whose local time is a start. So a local time that the clocks skip is none, and one that they
    repeat is one once: its second pass is left out (EventBridge Scheduler User Guide, "Schedule types")."""
    for minute in range(math.ceil(since / 60) * 60, math.ceil(until), 60):
        local = datetime.datetime.fromtimestamp(minute, zone)
        if local.fold == 0 and _is_start(fields, local):
            yield minute


def _rate_times(interval, first, since, until):
    count = max(0, math.ceil((since - first) / interval))
    while (moment := first + count * interval) < until:
        yield moment
        count += 1


def occurrences(schedule, since, until):
    """The times of a schedule from `since` to before `until`. A rate without a StartDate begins at once when it is made
    (EventBridge Scheduler User Guide, "Schedule types"), and here when it is changed too: of that the guide says
    nothing, and a start that nobody expects is what must show in a test."""
    at = _at_time(schedule)
    if at is not None:
        return [at] if since <= at < until else []
    start, end = (scheduler._to_epoch(schedule.get(field)) for field in ("StartDate", "EndDate"))
    interval = eb._parse_rate_seconds(schedule["ScheduleExpression"])
    if interval:
        first = schedule["LastModificationDate"] if start is None else start
        times = _rate_times(interval, first, since, until)
    else:
        times = _cron_times(eb._parse_cron_fields(schedule["ScheduleExpression"]), _zone(schedule), since, until)
    return [moment for moment in times if (start is None or moment >= start) and (end is None or moment <= end)]


def _delay(schedule):
    """Within a flexible window a target is invoked when it suits AWS: here some seconds late, and always as many for a
    schedule of this name."""
    flexible = schedule["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE"
    return zlib.crc32(schedule["Name"].encode()) % _MOST_DELAYED if flexible else 0


# Up to when a schedule was looked at, and which version of it: {(account, region, group/name): (version, time)}. A new
# version is looked at from when it came to be, so what passed before, or while it was disabled, is not made up for.
_looked_at: dict = {}


@mend(scheduler, "_tick_schedules")
def every_occurrence_starts_once(_original):
    now = time.time()
    for key, schedule in list(scheduler._schedules._data.items()):
        version, since = _looked_at.get(key, (None, None))
        if version != schedule["LastModificationDate"]:
            version = since = schedule["LastModificationDate"]
        until = max(since, now - _delay(schedule))
        _looked_at[key] = (version, until)
        if schedule["State"] != "ENABLED":
            continue
        times = occurrences(schedule, since, until)
        with request_scope(*key[:2]):
            for moment in times:
                _invoke(schedule, moment)
        if schedule["ActionAfterCompletion"] == "DELETE" and _is_complete(schedule, times, until):
            scheduler._schedules._data.pop(key, None)
    for key in _looked_at.keys() - scheduler._schedules._data.keys():
        del _looked_at[key]


def _is_complete(schedule, times, until):
    """Whether these were a schedule's last times."""
    if _at_time(schedule) is not None:
        return bool(times)
    end = scheduler._to_epoch(schedule.get("EndDate"))
    return end is not None and until > end


def _invoke(schedule, moment):
    try:
        eb._invoke_target(schedule["Target"], {
            "EventId": new_uuid(), "Source": "aws.scheduler", "DetailType": "Scheduled Event", "Detail": "{}",
            "Time": int(moment), "Resources": [schedule["Arn"]], "Account": get_account_id(), "Region": get_region(),
        }, schedule)
    except Exception:
        scheduler.logger.exception("%s could not invoke its target", schedule["Arn"])


# --- Which schedules are taken ------------------------------------------------------------------

def _invalid(message):
    return scheduler._error(400, "ValidationException", message)


def _against(value, member, constraint):
    return (f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must "
            f"{constraint}")


def _name_refused(value, member):
    if not _NAME.fullmatch(value):
        return _against(value, member, "satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$"
                        if len(value) <= 64 else "have length less than or equal to 64")
    return None


def _window_refused(window):
    mode, minutes = window.get("Mode"), window.get("MaximumWindowInMinutes")
    if mode not in ("OFF", "FLEXIBLE"):
        return _against(mode, "flexibleTimeWindow.mode", "satisfy enum value set: [OFF, FLEXIBLE]")
    if mode == "FLEXIBLE" and minutes is None:
        return "MaximumWindowInMinutes is required for a flexible time window."
    if minutes is not None and not 1 <= minutes <= 1440:
        return _against(minutes, "flexibleTimeWindow.maximumWindowInMinutes", "have value between 1 and 1440")
    return None


def _dates_refused(schedule):
    """Of a one-time schedule the dates are ignored."""
    if _at_time(schedule) is not None:
        return None
    start, end = (scheduler._to_epoch(schedule.get(field)) for field in ("StartDate", "EndDate"))
    if start is not None and start < time.time() - 300:
        return "The StartDate you specify cannot be earlier than 5 minutes ago."
    if end is not None and end < time.time():
        return "The EndDate you specify cannot be in the past."
    if start is not None and end is not None and end < start:
        return "The EndDate you specify cannot be earlier than the StartDate."
    return None


def _retries_refused(policy):
    for field, least, most in (("MaximumEventAgeInSeconds", 60, 86400), ("MaximumRetryAttempts", 0, 185)):
        value = policy.get(field)
        if value is not None and not least <= value <= most:
            member = f"target.retryPolicy.{field[0].lower()}{field[1:]}"
            return _against(value, member, f"have value between {least} and {most}")
    return None


def _is_expression(schedule):
    expression = schedule["ScheduleExpression"]
    return (
        _at_time(schedule) is not None or eb._parse_rate_seconds(expression) is not None
        or eb._parse_cron_fields(expression) is not None)


def _refused(name, schedule):
    """Why AWS does not take such a schedule. What is missing altogether is told by MiniStack."""
    if not all(schedule.get(field) for field in ("ScheduleExpression", "FlexibleTimeWindow", "Target")):
        return None
    zone = schedule.get("ScheduleExpressionTimezone", "UTC")
    return (
        _name_refused(name, "name") or _name_refused(schedule.get("GroupName", "default"), "groupName")
        or (f"Invalid ScheduleExpressionTimezone {zone}." if zone not in _ZONES else None)
        or (f"Invalid Schedule Expression {schedule['ScheduleExpression']}." if not _is_expression(schedule) else None)
        or _window_refused(schedule["FlexibleTimeWindow"]) or _dates_refused(schedule)
        or _retries_refused(schedule["Target"].get("RetryPolicy") or {}))


# What each schedule was made from, the client token included: {(account, region, group/name): the request}.
_made_from: dict = {}


@mend(scheduler, "_create_schedule")
def schedule_is_looked_at_and_made_once(original, name, body):
    """The same request with the same client token is a retry, and answered as the first was."""
    if refused := _refused(name, body):
        return _invalid(refused)
    key = f"{body.get('GroupName', 'default')}/{name}"
    made = (get_account_id(), get_region(), key)
    if key in scheduler._schedules and body.get("ClientToken") and _made_from.get(made) == body:
        return scheduler._json_resp(200, {"ScheduleArn": scheduler._schedules[key]["Arn"]})
    response = original(name, body)
    if response[0] == 200:
        _made_from[made] = body
    return response


@mend(scheduler, "_update_schedule")
def changed_schedule_is_looked_at(original, name, body):
    refused = _refused(name, body)
    return _invalid(refused) if refused else original(name, body)


@mend(scheduler, "_create_schedule_group")
def group_has_a_name_of_this_kind(original, name, body):
    refused = _name_refused(name, "name")
    return _invalid(refused) if refused else original(name, body)


# --- How schedules are listed -------------------------------------------------------------------

@mend(scheduler, "_list_schedules")
def schedules_are_listed_by_the_page(original, query):
    """In the order of groups and names, and from the last that was told: what comes and goes in between shifts no
    page. MiniStack tells the first page for all there is."""
    group, wanted = query.get("ScheduleGroup"), int(query.get("MaxResults", 100))
    if not 1 <= wanted <= 100:
        return _invalid(_against(wanted, "maxResults", "have value between 1 and 100"))
    if group not in (None, "default") and group not in scheduler._schedule_groups:
        return scheduler._error(404, "ResourceNotFoundException", f"Schedule group {group} does not exist.")
    try:
        told = json.loads(base64.urlsafe_b64decode(query["NextToken"])) if query.get("NextToken") else ["", ""]
    except ValueError:
        return _invalid("Invalid NextToken.")
    place = operator.itemgetter("GroupName", "Name")
    schedules = json.loads(original({**query, "MaxResults": len(scheduler._schedules)})[2])["Schedules"]
    rest = sorted((one for one in schedules if [*place(one)] > told), key=place)
    answer = {"Schedules": rest[:wanted]}
    if len(rest) > wanted:
        token = json.dumps(place(rest[wanted - 1])).encode()
        answer["NextToken"] = base64.urlsafe_b64encode(token).decode()
    return scheduler._json_resp(200, answer)
