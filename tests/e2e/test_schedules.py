"""Jobs that EventBridge Scheduler starts: in their time zone, once, from a date on; in the stack of test_product.py,
with real containers, over HTTP only.

What starts is posted together (`awaited`), for one minute that is soon. The tests that wait for it come after all
others, when it has long been.
"""

import datetime
import json
import types
import zoneinfo

import pytest
from conftest import ACCOUNT, REGION, STACK
from product import (
    ENDED, MERGE, TEAM, arn, at_once, dry, get, in_aws, instant, job_path, jobs, log_lines, operations, patch, post,
    problem, runs, schedule_of, until,
)

GROUP = STACK
DAILY = "cron(0 6 * * ? *)"
BERLIN = "Europe/Berlin"
GONE = "e2e-gone"


def told(moment: datetime.datetime) -> str:
    """As the API and a container are told a time."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def on_the_wall(slot: datetime.datetime, zone: str) -> str:
    """What the clocks of a zone show at a time of this year; in UTC that is hours away, or has been."""
    shown = slot.astimezone(zoneinfo.ZoneInfo(zone))
    assert shown.utcoffset()
    return f"cron({shown.minute} {shown.hour} {shown.day} {shown.month} ? *)"


def definitions(slot: datetime.datetime, second: datetime.datetime) -> dict[str, dict]:
    """Each starts once, at the `slot` or the `second`."""
    return {
        "in-berlin": {"schedule": on_the_wall(slot, BERLIN), "timezone": BERLIN},
        "one-time": {"schedule": f"at({second:%Y-%m-%dT%H:%M:%S})"},
        # It began an hour ago, and goes on from there; AWS may take its time.
        "phased": {
            "schedule": "rate(1 hour)", "start_date": told(second - datetime.timedelta(hours=1)),
            "flexible_window_minutes": 1},
        "in-kolkata": {
            "schedule": on_the_wall(slot, "Asia/Kolkata"), "timezone": "Asia/Kolkata",
            "capacity": "spot_with_fallback"},
        "lost": {"schedule": on_the_wall(slot, BERLIN), "timezone": BERLIN, "cluster": GONE},
    }


@pytest.fixture(scope="session")
def awaited(stack) -> dict[str, types.SimpleNamespace]:
    """By the jobs' names: the job and its preview as they were before the start, and when that is to be."""
    second = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=70)).replace(microsecond=0)
    slot = second.replace(second=0) + datetime.timedelta(minutes=1)
    stack.aws("ecs").create_cluster(clusterName=GONE)

    def begin(name: str, definition: dict) -> types.SimpleNamespace:
        post(stack, {
            "name": name, "image": "busybox:1", "command": ["sh", "-c", 'echo "for $SCHEDULED_TIME"'], **definition})
        return types.SimpleNamespace(
            job=get(stack, job_path(name)), preview=get(stack, job_path(name, "/schedule")),
            slot=second if name in ("one-time", "phased") else slot)

    made = definitions(slot, second)
    answers = at_once(*(lambda name=name: begin(name, made[name]) for name in made))
    # Behind Cronplane's back.
    stack.aws("ecs").delete_cluster(cluster=GONE)
    return dict(zip(made, answers))


# ---- what stands in AWS


def test_a_job_in_a_zone_is_a_schedule_in_the_stacks_group(stack, awaited):
    job = awaited["in-berlin"].job
    arns = {one["kind"]: one["arn"] for one in job["status"]["resources"]}
    assert {one["state"] for one in job["status"]["resources"]} == {"ready"}
    assert "schedule_rule" not in arns

    assert stack.output("ScheduleGroupName") == GROUP
    assert in_aws(stack, "in-berlin")["schedules"] == [f"{GROUP}/{STACK}_{TEAM}_in-berlin"]
    assert f"{STACK}_{TEAM}_in-berlin" not in in_aws(stack, "in-berlin")["rules"]
    schedule = schedule_of(stack, "in-berlin")
    assert schedule["Arn"] == arns["schedule"] == arn("scheduler", f"schedule/{GROUP}/{STACK}_{TEAM}_in-berlin")
    assert (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]) == (job["schedule"], BERLIN)
    assert (schedule["State"], schedule["FlexibleTimeWindow"]) == ("ENABLED", {"Mode": "OFF"})
    assert not {"StartDate", "EndDate"} & schedule.keys()

    target = schedule["Target"]
    assert (target["Arn"], target["RoleArn"]) == (arns["cluster"], arns["events_role"])
    assert target["EcsParameters"]["TaskDefinitionArn"] == arns["task_definition"]
    assert target["EcsParameters"]["PropagateTags"] == "TASK_DEFINITION"
    dead_letters = stack.output("ScheduleDeadLetterQueueUrl").rsplit("/", 1)[1]
    assert target["DeadLetterConfig"] == {"Arn": arn("sqs", dead_letters)}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 900, "MaximumRetryAttempts": 185}


def test_what_cronplane_starts_itself_is_a_message_with_the_jobs_role(stack, awaited):
    job, target = awaited["in-kolkata"].job, schedule_of(stack, "in-kolkata")["Target"]
    arns = {one["kind"]: one["arn"] for one in job["status"]["resources"]}
    queue = stack.output("StartQueueUrl").rsplit("/", 1)[1]
    assert (target["Arn"], target["RoleArn"]) == (arn("sqs", queue), arns["events_role"])
    assert "EcsParameters" not in target
    message = json.loads(target["Input"])
    assert (message["team"], message["job"], message["job_id"]) == (TEAM, "in-kolkata", job["id"])


def test_the_start_that_comes_is_told_before(awaited):
    for name, one in awaited.items():
        status, preview = one.job["status"], one.preview
        assert (status["next_starts"][0], preview["next"][0]) == (told(one.slot), told(one.slot)), name
        assert (status["next_starts_approximate"], preview["approximate"], preview["engine"]) == (
            False, False, "scheduler"), name
        assert status["schedule"] == {
            "engine": "scheduler", "expression": one.job["schedule"], "description": preview["description"]}, name
        assert instant(preview["local"][0]) == one.slot, name
    berlin = awaited["in-berlin"]
    assert berlin.preview["local"][0] == berlin.slot.astimezone(zoneinfo.ZoneInfo(BERLIN)).isoformat()
    assert BERLIN in berlin.preview["description"]
    assert (awaited["one-time"].job["status"]["next_starts"], awaited["one-time"].preview["notes"]) == (
        [told(awaited["one-time"].slot)], ["the only start"])
    hourly = [instant(start) for start in awaited["phased"].job["status"]["next_starts"]]
    assert {later - earlier for earlier, later in zip(hourly, hourly[1:])} == {datetime.timedelta(hours=1)}


# ---- changes


def carriers(stack, name: str) -> tuple[bool, bool]:
    """Whether there is the rule, and whether there is the schedule."""
    found = in_aws(stack, name)
    return f"{STACK}_{TEAM}_{name}" in found["rules"], bool(found["schedules"])


def kinds(job: dict) -> set[str]:
    return {one["kind"] for one in job["status"]["resources"]} & {"schedule_rule", "schedule"}


def test_a_job_moves_to_scheduler_and_back(stack):
    path = job_path("moving")
    post(stack, {"name": "moving", "image": "busybox:1", "schedule": DAILY})
    assert carriers(stack, "moving") == (True, False)
    for change, engine, kind, moves in (
            ({"timezone": BERLIN}, "scheduler", "schedule",
             ["scheduler:CreateSchedule", "events:RemoveTargets", "events:DeleteRule"]),
            ({"timezone": None}, "rule", "schedule_rule",
             ["events:PutRule", "events:PutTargets", "scheduler:DeleteSchedule"])):
        before = carriers(stack, "moving")
        foreseen = dry(stack, "PATCH", path, change, MERGE)
        # The new one stands before the old one goes.
        assert [call for call in operations(foreseen) if call.startswith(("events:", "scheduler:"))] == moves
        assert carriers(stack, "moving") == before
        job = patch(stack, "moving", change)
        assert carriers(stack, "moving") == (engine == "rule", engine == "scheduler")
        assert kinds(job) == {kind}
        assert job["status"]["schedule"]["engine"] == foreseen["schedule"]["engine"] == engine
    assert stack.call("DELETE", path + "?delete_logs=true")[0] == 204
    assert not any(in_aws(stack, "moving").values())


def test_a_pause_disables_the_schedule_and_a_resumption_enables_it(stack):
    path = job_path("resting-in-zone")
    post(stack, {"name": "resting-in-zone", "image": "busybox:1", "schedule": DAILY, "timezone": "America/New_York",
                 "flexible_window_minutes": 5, "end_date": "2090-01-01T00:00:00Z"})

    def told_by_aws() -> dict:
        return {key: value for key, value in schedule_of(stack, "resting-in-zone").items()
                if key not in ("ResponseMetadata", "LastModificationDate")}

    before, preview = told_by_aws(), get(stack, path + "/schedule")
    assert before["State"] == "ENABLED"
    assert operations(dry(stack, "POST", path + "/pause")) == ["scheduler:UpdateSchedule"]
    status, _, job = stack.call("POST", path + "/pause")
    assert (status, job["status"]["phase"], job["status"]["next_starts"]) == (200, "ready", []), job
    assert told_by_aws() == {**before, "State": "DISABLED"}
    paused = get(stack, path + "/schedule")
    assert (paused["next"], len(paused["next"])) == (preview["next"], 10)
    assert paused["notes"][0].startswith("paused: ") and paused["notes"][1:] == preview["notes"]
    status, _, job = stack.call("POST", path + "/resume")
    assert (status, job["status"]["next_starts"]) == (200, preview["next"][:5]), job
    assert told_by_aws() == before


# ---- previews


def preview_of(stack, **wanted) -> dict:
    status, _, preview = stack.call("POST", "/v1/schedules/preview", wanted)
    assert status == 200, preview
    return preview


def test_an_hour_that_the_clocks_skip_is_told(stack):
    preview = preview_of(stack, expression="cron(30 2 * * ? *)", timezone=BERLIN, after="2027-03-26T12:00:00Z", count=3)
    assert (preview["valid"], preview["error"], preview["engine"], preview["approximate"]) == (
        True, None, "scheduler", False)
    assert preview["local"] == [f"2027-03-{rest}" for rest in (
        "27T02:30:00+01:00", "29T02:30:00+02:00", "30T02:30:00+02:00")]
    assert preview["next"] == [f"2027-03-{rest}" for rest in ("27T01:30:00Z", "29T00:30:00Z", "30T00:30:00Z")]
    assert preview["notes"][0] == (
        "2027-03-28 02:30: skipped, as the clocks in Europe/Berlin go from 02:00 to 03:00 then")
    assert preview["notes"][1].startswith("2027-10-31 02:30: started the first time only")
    assert preview_of(stack, expression="cron(30 2 * * ? *)", count=1)["engine"] == "rule"


def test_what_cannot_be_is_told_with_the_reason(stack):
    preview = preview_of(stack, expression="at(2027-03-28T02:30:00)", timezone=BERLIN)
    assert (preview["valid"], preview["next"], preview["engine"]) == (False, [], None)
    assert preview["error"] == "never comes: the clocks in Europe/Berlin go from 02:00 to 03:00 then"
    nowhere = {"expression": DAILY, "timezone": "Europe/Atlantis"}
    body = problem(stack.call("POST", "/v1/schedules/preview", nowhere), 422)
    assert [error["pointer"] for error in body["errors"]] == ["/timezone"]
    past = {"name": "past", "image": "busybox:1", "schedule": "at(2020-01-01T00:00:00)"}
    body = problem(stack.call("POST", jobs(), past), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["/schedule"]


@pytest.mark.parametrize("timing", [
    {"schedule": DAILY},
    {"schedule": "cron(0 * * * ? *)", "spread": True},
    {"schedule": "cron(30 2 ? * MON-FRI *)", "timezone": BERLIN, "start_date": "2080-01-01T00:00:00Z",
     "end_date": "2080-12-31T00:00:00Z", "flexible_window_minutes": 10},
    {"schedule": "rate(2 days)", "start_date": "2080-02-29T12:34:56Z"},
], ids=lambda timing: "-".join(timing))
def test_a_jobs_preview_is_what_its_dry_run_told(stack, timing):
    definition = {"name": "foretold", "image": "busybox:1", **timing}
    path = job_path("foretold")
    foreseen = dry(stack, "POST", jobs(), definition)
    post(stack, definition)
    try:
        preview = get(stack, path + "/schedule")
        if preview["next"] != foreseen["schedule"]["next"]:  # the first one has been meanwhile
            assert preview["next"][:9] == foreseen["schedule"]["next"][1:]
            foreseen["schedule"] |= {key: preview[key] for key in ("next", "local")}
        assert preview == foreseen["schedule"]
        assert dry(stack, "POST", path + "/pause")["schedule"]["notes"][0].startswith("paused: ")
        # The same, asked of the schedule as AWS has it.
        ahead = get(stack, path + "/schedule?after=2079-12-31T23:00:00Z&count=3")
        bounds = {key: value for key, value in timing.items() if key not in ("schedule", "spread")}
        assert len(ahead["next"]) == 3
        assert ahead == preview_of(
            stack, expression=get(stack, path)["status"]["schedule"]["expression"], **bounds,
            after="2079-12-31T23:00:00Z", count=3)
    finally:
        assert stack.call("DELETE", path + "?delete_logs=true")[0] == 204


# ---- starts


def started_once(stack, name: str, slot: datetime.datetime) -> dict:
    """The one run of a job, once it has ended; what it was told is when it was meant."""
    def ended() -> bool:
        found = runs(stack, name)
        return bool(found) and found[-1]["status"] in ENDED

    until(ended, 150, f"the run of {name} at {slot} has ended; its runs: {runs(stack, name)}")
    (run,) = runs(stack, name)
    assert (run["status"], run["trigger"], run["scheduled_time"]) == ("succeeded", "schedule", told(slot)), run
    late = instant(run["created_at"]) - slot
    assert datetime.timedelta(seconds=-1) < late < datetime.timedelta(seconds=30), late
    until(lambda: log_lines(stack, name, run) == [f"for {told(slot)}"], 20, f"{name} was told its time")
    return run


@pytest.mark.last
def test_a_job_starts_by_the_clocks_of_its_zone(stack, awaited):
    slot = awaited["in-berlin"].slot
    run = started_once(stack, "in-berlin", slot)
    assert get(stack, job_path("in-berlin", f"/runs/{run['id']}"))["scheduled_time"] == told(slot)
    # The next one is in a year.
    starts = [instant(start) for start in get(stack, job_path("in-berlin"))["status"]["next_starts"]]
    assert all((start - slot).days >= 364 for start in starts)


@pytest.mark.last
def test_one_time_is_once(stack, awaited):
    started_once(stack, "one-time", awaited["one-time"].slot)
    job, preview = get(stack, job_path("one-time")), get(stack, job_path("one-time", "/schedule"))
    assert (job["status"]["phase"], job["enabled"], job["status"]["next_starts"]) == ("ready", True, [])
    assert (preview["next"], preview["notes"]) == ([], ["never starts after `after`"])
    # The job stays what it is: only another time that is past would be refused.
    assert in_aws(stack, "one-time")["schedules"]
    patch(stack, "one-time", {"description": "changed"})
    assert stack.call("DELETE", job_path("one-time", "?delete_logs=true"))[0] in (202, 204)
    until(lambda: stack.call("GET", job_path("one-time"))[0] == 404, 60, "it is gone")
    assert not any(in_aws(stack, "one-time").values())


@pytest.mark.last
def test_a_rate_counts_from_its_start_date(stack, awaited):
    slot = awaited["phased"].slot
    started_once(stack, "phased", slot)
    assert get(stack, job_path("phased"))["status"]["next_starts"][0] == told(slot + datetime.timedelta(hours=1))


@pytest.mark.last
def test_a_start_of_scheduler_goes_through_the_queue_to_spot(stack, awaited):
    run = started_once(stack, "in-kolkata", awaited["in-kolkata"].slot)
    assert run["capacity_provider"] in ("FARGATE_SPOT", "FARGATE"), run


@pytest.mark.last
def test_what_scheduler_could_not_deliver_is_kept(stack, awaited):
    sqs, queue = stack.aws("sqs"), stack.output("ScheduleDeadLetterQueueUrl")
    schedule, found = schedule_of(stack, "lost"), []

    def letter() -> bool:
        """Others' letters are left where they are."""
        for message in sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0,
        ).get("Messages", []):
            attributes = {
                name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}
            if attributes.get("SCHEDULE_ARN") == schedule["Arn"]:
                found.append(attributes)
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return bool(found)

    until(letter, 150, "the start that could not be made is in the dead-letter queue")
    (attributes,) = found
    assert attributes["TARGET_ARN"] == f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{GONE}"
    assert attributes["SCHEDULED_TIME"] == told(awaited["lost"].slot)
    assert "ClusterNotFound" in attributes["ERROR_CODE"], attributes
    assert runs(stack, "lost") == []
