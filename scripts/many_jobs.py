#!/usr/bin/env python3
"""Makes many jobs on a local cloud of its own and counts what they take of an AWS account.

    .local/venv/bin/python scripts/many_jobs.py [--jobs 10000] [--teams 10] [--engine scheduler]

It needs what scripts/up needs, and dist/cronplane.zip (scripts/package). The jobs are posted to the API as anybody
would, in teams whose default cluster they share; they are paused, so that none of them starts anything. At the end it
prints, for each kind of resource, how many there are and how many an account may have, and takes its cloud away.
"""

import argparse
import concurrent.futures
import pathlib
import sys
import time

import local_stack

# What an account has by default: Service Quotas, and the services' pages of quotas.
QUOTAS = {
    "rules of the default bus": 300,
    "roles": 1_000,
    "schedules": 10_000_000,
    "clusters": 10_000,
    "topics": 100_000,
    "log groups": 1_000_000,
}


def pages(client, operation: str, key: str, **parameters) -> list:
    return [one for page in client.get_paginator(operation).paginate(**parameters) for one in page[key]]


def count(stack: local_stack.Stack) -> dict[str, int]:
    """Everything of the account, also what the stack itself takes."""
    aws = stack.aws
    families = set()
    for arn in pages(aws("ecs"), "list_task_definitions", "taskDefinitionArns", status="ACTIVE"):
        families.add(arn.rsplit(":", 1)[0])
    return {
        "rules of the default bus": len(pages(aws("events"), "list_rules", "Rules")),
        "roles": len(pages(aws("iam"), "list_roles", "Roles")),
        "schedules": len(pages(aws("scheduler"), "list_schedules", "Schedules")),
        "clusters": len(pages(aws("ecs"), "list_clusters", "clusterArns")),
        "topics": len(pages(aws("sns"), "list_topics", "Topics")),
        "log groups": len(pages(aws("logs"), "describe_log_groups", "logGroups")),
        "task definition families": len(families),
    }


def call(stack: local_stack.Stack, method: str, path: str, body: dict, good: tuple[int, ...]) -> dict:
    status, _, answer = stack.call(method, path, body)
    if status not in good:
        raise local_stack.Failed(f"{method} {path}: {status} {answer}")
    return answer


def make(stack: local_stack.Stack, teams: int, jobs: int) -> list[float]:
    """Makes the jobs; gives how long each took, in seconds."""
    for team in range(teams):
        name = f"team-{team}"
        stack.aws("ecs").create_cluster(clusterName=name)
        definition = {"defaults": {"cluster": name}, "guardrails": {"clusters": [name]}}
        call(stack, "PUT", f"/v1/teams/{name}", definition, (200, 201))
    begun = time.monotonic()
    done = 0

    def post(number: int) -> float:
        nonlocal done
        definition = {"name": f"job-{number}", "image": "busybox:1", "enabled": False,
                      "schedule": "cron(0 * * * ? *)", "spread": True}
        start = time.monotonic()
        job = call(stack, "POST", f"/v1/teams/team-{number % teams}/jobs", definition, (201,))
        took = time.monotonic() - start
        if job["status"]["phase"] != "ready":
            raise local_stack.Failed(f"job-{number} is {job['status']['phase']}: {job['status']['reason']}")
        done += 1
        if done % 500 == 0:
            local_stack.say(f"{done} jobs after {time.monotonic() - begun:.0f} s")
        return took

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        return list(executor.map(post, range(jobs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--teams", type=int, default=10)
    parser.add_argument("--engine", choices=["rules", "by_need", "scheduler"], default="scheduler")
    options = parser.parse_args()
    state = pathlib.Path(local_stack.ROOT / ".local" / "many-jobs")
    stack = local_stack.Stack(
        state, 4666, 8180, 8543, parameters={"ScheduleEngine": options.engine, "RateLimit": "0"})
    try:
        stack.up()
        before = count(stack)
        took = sorted(make(stack, options.teams, options.jobs))
        after = count(stack)
    except local_stack.Failed as failure:
        sys.exit(f"many_jobs: {failure}")
    finally:
        stack.down(stop_runtime=False)
    print(f"{options.jobs} jobs in {options.teams} teams with the engine {options.engine}; "
          f"one POST took {took[len(took) // 2]:.2f} s (median), {took[-1]:.2f} s at most")
    print(f"{'':<26}{'before':>9}{'after':>9}{'a job':>9}{'quota':>12}")
    for kind, number in after.items():
        each = (number - before[kind]) / options.jobs
        print(f"{kind:<26}{before[kind]:>9}{number:>9}{each:>9.3f}{QUOTAS.get(kind, '-'):>12}")


if __name__ == "__main__":
    main()
