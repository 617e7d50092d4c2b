"""The drift example on the local cloud: its first run finds nothing, then somebody changes the
infrastructure by hand, and its second run finds that, fails, and the subscriber is told.

The example's infrastructure is made of Terraform's built-in `terraform_data`, which lives in the state
alone. So the states, served from a container of their own, are what is real here: `terraform apply`
writes them, and the change by hand is an edit of one of them.

    .local/venv/bin/python scripts/demo.py      with the stack of scripts/up
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

import docker

import sns_inbox
from local_stack import INBOX_LOG, ROOT, Failed, Stack, container_runtime, from_environment, say, taken, wait_until

TEAM = "infrastructure"
EXAMPLE = ROOT / "examples" / "detect-terraform-drift"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/terraform-drift"
TAG = "1.0.0"
INBOX_PATH = "/drift"

SERVE_STATES = """
set -e
cp -r /infrastructure /tmp/apply
for directory in /tmp/apply/*/; do
  cd "$directory"
  rm backend.tf
  terraform init -input=false -no-color
  terraform apply -input=false -no-color -auto-approve
  cp terraform.tfstate "/srv/$(basename "$directory")"
done
touch /srv/ready
exec httpd -f -p 8080 -h /srv
"""


def run(stack: Stack) -> None:
    job = json.loads((EXAMPLE.parent / "detect-terraform-drift.json").read_text())
    path = f"/v1/teams/{TEAM}/jobs/{job['name']}"
    make_team(stack, job)
    delete_job(stack, path)

    say("making the image of the drift check")
    make_image(stack)
    stack.aws("ecs").create_cluster(clusterName=job["cluster"])
    states = start_states(stack)
    start_inbox(stack)

    job["schedule"] = "cron(* * * * ? *)"
    job["environment"]["STATE_URL"] = f"http://{address(states)}:8080"
    job["notifications"]["subscribers"] = [
        {"protocol": "https", "endpoint": f"https://localhost:{stack.inbox_port}{INBOX_PATH}"}]
    status, _, answer = stack.call("POST", f"/v1/teams/{TEAM}/jobs", job)
    if status != 201:
        raise Failed(f"the job was refused with {status}:\n{json.dumps(answer, indent=2)}")
    say(f"posted {job['name']}: {answer['status']['phase']}, {job['schedule']}")
    wait_until_ready(stack, path)

    say("waiting for the first run, at most a minute away")
    # A job of an earlier demo had runs too: the history outlives the job.
    since = answer["created_at"]
    first = wait_for_run(stack, path, since, number=1)
    show(stack, path, first)
    expect(first, "succeeded", 0)

    write_file(states, "/srv/dns", read_file(states, "/srv/dns").replace(b"192.0.2.10", b"198.51.100.7"))
    say("\nsomebody has changed the address of www.example.com by hand; waiting for the second run")
    second = wait_for_run(stack, path, since, number=2)
    show(stack, path, second)
    expect(second, "failed", 2)

    message = wait_for_message(stack, second["task_arn"])
    say(f"\nSNS told {job['notifications']['subscribers'][0]['endpoint']}:")
    print(json.dumps({**message, "event": "..."}, indent=2), flush=True)
    say(f"\nIt goes on every minute until it is paused (POST {path}/pause) or scripts/down ends it all.")


# ---- the image and its surroundings


def make_image(stack: Stack) -> None:
    """Under the name that the job's ECR repository has, where the local cloud finds it. From this
    machine's own Terraform where there is one, which needs no registry; else from the Dockerfile."""
    terraform, busybox = shutil.which("terraform"), shutil.which("busybox")
    if terraform is None or busybox is None:
        stack.docker().images.build(path=str(EXAMPLE), tag=f"{IMAGE}:{TAG}", rm=True)
        return
    archive = tarfile.open(fileobj=(data := io.BytesIO()), mode="w")
    for directory in ("bin", "tmp", "srv", "etc"):
        add(archive, directory, mode=0o1777 if directory == "tmp" else 0o755, kind=tarfile.DIRTYPE)
    archive.add(pathlib.Path(busybox).resolve(), "bin/busybox")
    archive.add(pathlib.Path(terraform).resolve(), "bin/terraform")
    for applet in subprocess.run([busybox, "--list"], check=True, text=True, stdout=subprocess.PIPE).stdout.split():
        if applet != "busybox":
            add(archive, f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox")
    archive.add(EXAMPLE / "check", "bin/check")
    archive.add(EXAMPLE / "infrastructure", "infrastructure")
    archive.close()
    data.seek(0)
    with (stack.state / "image.tar").open("w+b") as file:
        shutil.copyfileobj(data, file)
        file.seek(0)
        container_runtime("import", f"{IMAGE}:{TAG}", stdin=file)
    (stack.state / "image.tar").unlink()


def add(archive: tarfile.TarFile, name: str, mode: int = 0o755, kind=tarfile.REGTYPE, target: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname = mode, kind, target
    archive.addfile(entry)


def start_states(stack: Stack):
    """A container that serves the states, after a first `terraform apply`."""
    client = stack.docker()
    for container in client.containers.list(all=True, filters={"label": stack.container_label()}):
        container.remove(force=True)
    container = client.containers.run(
        f"{IMAGE}:{TAG}", ["sh", "-c", SERVE_STATES], detach=True, labels=dict([stack.container_label().split("=")]))

    def ready() -> bool:
        container.reload()
        try:
            read_file(container, "/srv/ready")
        except docker.errors.NotFound:
            return False
        return True

    if not wait_until(ready, 60):
        raise Failed(f"the demo's infrastructure could not be made:\n{container.logs().decode(errors='replace')}")
    return container


def address(container) -> str:
    settings = container.attrs["NetworkSettings"]
    networks = settings.get("Networks") or {}
    return settings.get("IPAddress") or next(network["IPAddress"] for network in networks.values())


def read_file(container, path: str) -> bytes:
    chunks, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        return archive.extractfile(archive.getmembers()[0]).read()


def write_file(container, path: str, content: bytes) -> None:
    file = pathlib.PurePosixPath(path)
    with tarfile.open(fileobj=(data := io.BytesIO()), mode="w") as archive:
        entry = tarfile.TarInfo(file.name)
        entry.mode, entry.size = 0o644, len(content)
        archive.addfile(entry, io.BytesIO(content))
    container.put_archive(str(file.parent), data.getvalue())


def start_inbox(stack: Stack) -> None:
    if stack.inbox.pid() is None:
        if taken(stack.inbox_port):
            raise Failed(f"port {stack.inbox_port} is in use; choose another with INBOX_PORT=<port>")
        stack.inbox.start(stack.state / INBOX_LOG, dict(os.environ))
        if not wait_until(lambda: taken(stack.inbox_port), 20, pause=0.1):
            raise Failed(f"the inbox did not start; see {stack.state / INBOX_LOG}")


# ---- the team and its job


def make_team(stack: Stack, job: dict) -> None:
    """A new team may have its jobs in no cluster that it names; this one may in the job's."""
    team = {"display_name": "Infrastructure", "guardrails": {"clusters": [job["cluster"]]}}
    status, _, answer = stack.call("PUT", f"/v1/teams/{TEAM}", team)
    if status not in (200, 201):
        raise Failed(f"the team was refused with {status}:\n{json.dumps(answer, indent=2)}")


def delete_job(stack: Stack, path: str) -> None:
    status, _, _ = stack.call("DELETE", f"{path}?stop_tasks=true&delete_logs=true")
    if status in (204, 404):
        return
    say("deleting the job of an earlier demo")
    if not wait_until(lambda: stack.call("GET", path)[0] == 404, 180, pause=2):
        raise Failed("the job of an earlier demo is still being deleted")


def wait_until_ready(stack: Stack, path: str) -> None:
    def ready() -> bool:
        status = stack.call("GET", path)[2]["status"]
        return status["phase"] == "ready" and all(
            subscription["state"] == "confirmed" for subscription in status["subscriptions"])

    if not wait_until(ready, 120, pause=1):
        raise Failed(f"the job is not ready:\n{json.dumps(stack.call('GET', path)[2]['status'], indent=2)}")


def wait_for_run(stack: Stack, path: str, since: str, number: int) -> dict:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        runs = stack.call("GET", f"{path}/runs?from={since}")[2]["items"]
        if len(runs) >= number and runs[-number]["status"] not in ("pending", "running"):
            return runs[-number]
        time.sleep(1)
    raise Failed(f"run {number} did not end; the runs so far:\n{json.dumps(runs, indent=2)}")


def show(stack: Stack, path: str, run: dict) -> None:
    print(f"\n{run['id']}  trigger {run['trigger']}  for {run['scheduled_time']}  "
          f"{run['status']}, exit code {run['exit_code']}", flush=True)
    def lines() -> list[dict]:
        return stack.call("GET", f"{path}/runs/{run['id']}/logs")[2]["items"]

    # The container's lines may reach the log a moment after the task has stopped.
    wait_until(lines, 10)
    for line in lines():
        print(f"  {line['timestamp']}  {line['message']}", flush=True)


def expect(run: dict, status: str, exit_code: int) -> None:
    if (run["trigger"], run["status"], run["exit_code"]) != ("schedule", status, exit_code):
        raise Failed(f"expected a run by the schedule that {status} with exit code {exit_code}, got:\n"
                     f"{json.dumps(run, indent=2)}")


def wait_for_message(stack: Stack, task_arn: str) -> dict:
    def arrived() -> list[dict]:
        file = stack.state / sns_inbox.MESSAGES
        envelopes = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        bodies = [json.loads(envelope["Message"]) for envelope in envelopes if envelope["Type"] == "Notification"]
        return [body for body in bodies if body["event"]["detail"].get("taskArn") == task_arn]

    if not wait_until(arrived, 60):
        raise Failed("the subscriber was not told of the failure")
    return arrived()[0]


if __name__ == "__main__":
    try:
        run(from_environment())
    except Failed as failure:
        sys.exit(f"demo: {failure}")
