"""Cronplane on this machine: the local cloud with template.yaml deployed to it.

scripts/up, scripts/down and the end-to-end tests share this module. Everything it makes lies in one
state directory (.local for scripts/up): the log and the process id of the local cloud, the packaged
template, the certificates, and `env`, which holds what a client needs. Everything listens on 127.0.0.1.

    .local/venv/bin/python scripts/local_stack.py up
    .local/venv/bin/python scripts/local_stack.py down
"""

import argparse
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3
import botocore.exceptions
import docker

import sns_inbox

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dist" / "cronplane.zip"
CODE_URI = "CodeUri: dist/cronplane.zip"
BUCKET = "cronplane-packages"
ACCOUNT, REGION = "000000000000", "us-east-1"
INBOX_LOG = "inbox.log"


class Failed(Exception):
    """Something that the person at the keyboard has to know; the message is all there is to say."""


class Process:
    """A Python script that outlives the one that started it, known by the pid in a file."""

    def __init__(self, state: pathlib.Path, script: str, *arguments: str):
        self.state, self.script = str(state), str(ROOT / "scripts" / script)
        self.pid_file = state / f"{script}.pid"
        self.command = [sys.executable, self.script, *arguments]

    def pid(self) -> int | None:
        """The pid, if it is alive and runs this script for this state directory: numbers are used
        again, so the file alone says nothing."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        running = command_line(pid)
        return pid if self.script in running and self.state in running else None

    def differs(self) -> bool:
        """Whether it runs, but with other arguments."""
        pid = self.pid()
        return pid is not None and command_line(pid) != self.command

    def start(self, log: pathlib.Path, environment: dict[str, str]) -> None:
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command, cwd=ROOT, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.pid_file.write_text(f"{process.pid}\n")
        # For an instant after it has started, a process shows no command line.
        wait_until(lambda: self.pid() is not None or process.poll() is not None, 5, pause=0.01)

    def stop(self, seconds: float = 20) -> None:
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            if not wait_until(lambda: self.gone(pid), seconds, pause=0.1):
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: self.gone(pid), seconds, pause=0.1)
        self.pid_file.unlink(missing_ok=True)

    def gone(self, pid: int) -> bool:
        try:
            os.waitpid(pid, os.WNOHANG)  # where it is our child, it stays until it is waited for
        except ChildProcessError:
            pass
        return self.pid() != pid


class Stack:
    """One local cloud and the one stack in it, deployed with these parameters besides its own."""

    def __init__(self, state: pathlib.Path, cloud_port: int, port: int, inbox_port: int, name: str = "cronplane",
                 parameters: dict[str, str] | None = None, records: bool = False):
        self.parameters = parameters or {}
        self.state, self.cloud_port, self.port, self.inbox_port, self.name = (
            state.resolve(), cloud_port, port, inbox_port, name)
        self.url = f"http://127.0.0.1:{port}"
        self.endpoint = f"http://127.0.0.1:{cloud_port}"
        self.env_file = self.state / "env"
        self.log = self.state / "local_cloud.log"
        self.cloud = Process(
            self.state, "local_cloud.py",
            "--port", str(cloud_port), "--api-port", str(port), "--api-name", name, "--state", str(self.state))
        self.inbox = Process(self.state, "sns_inbox.py", str(self.state), str(inbox_port))
        self.runtime_file = self.state / "runtime.json"
        # What the functions ask of AWS; see scripts/local_cloud/recording.py.
        self.calls = self.state / "calls.jsonl" if records else None

    # ---- up

    def up(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        self.start_cloud()
        self.deploy()
        self.wait_for_health()
        self.write_env()

    def start_cloud(self) -> None:
        if self.cloud.differs() or self.inbox.differs():
            raise Failed("it is up on other ports; run scripts/down first")
        docker_host = container_runtime("image").removeprefix("DOCKER_HOST=")
        if self.cloud.pid() is not None:
            return
        for port, variable in ((self.cloud_port, "LOCAL_CLOUD_PORT"), (self.port, "CRONPLANE_PORT")):
            if taken(port):
                raise Failed(f"port {port} is in use; end what uses it, or choose another with {variable}=<port>")
        self.runtime_file.write_text(json.dumps({"docker_host": docker_host, "cloud_port": self.cloud_port}))
        ready = self.state / "local_cloud.ready"
        ready.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
        if self.calls:
            self.calls.unlink(missing_ok=True)
        say("starting the local cloud")
        self.cloud.start(self.log, {
            **os.environ, "DOCKER_HOST": docker_host, "SSL_CERT_FILE": str(self.trusted_certificates()),
            **({"LOCAL_CLOUD_CALLS": str(self.calls)} if self.calls else {})})
        wait_until(lambda: ready.exists() or self.cloud.pid() is None, 60, pause=0.1)
        if not ready.exists():
            self.cloud.stop()
            raise Failed(f"the local cloud did not start; the end of {self.log}:\n{tail(self.log)}")

    def trusted_certificates(self) -> pathlib.Path:
        """SSL_CERT_FILE replaces what the machine trusts, so it holds that and our own authority."""
        authority, _ = sns_inbox.certificates(self.state)
        bundle = self.state / "trusted.pem"
        system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        bundle.write_bytes((system.read_bytes() if system.exists() else b"") + authority.read_bytes())
        return bundle

    def deploy(self) -> None:
        """Creates the stack, or brings it to the template and the package that are there now."""
        if not PACKAGE.exists():
            raise Failed("dist/cronplane.zip is missing; run scripts/package")
        template = self.package()
        cloudformation = self.aws("cloudformation")
        request = {
            "StackName": self.name,
            "TemplateBody": template,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in {
                    "AdminTokenSha256": hashlib.sha256(self.token().encode()).hexdigest(),
                    "DefaultSubnets": self.subnet(),
                    "DefaultPublicIp": "ENABLED",
                    "PublicUrl": self.url,
                    # Whatever is made in the local cloud is there to be tried.
                    "PassableRoles": f"arn:aws:iam::{ACCOUNT}:role/*",
                    "ReadableSecrets": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:*,"
                                       f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/*",
                    **self.parameters,
                }.items()],
        }
        try:
            if self.deployed():
                say("updating the stack")
                cloudformation.update_stack(**request)
                wanted = "UPDATE_COMPLETE"
            else:
                say("creating the stack")
                cloudformation.create_stack(**request)
                wanted = "CREATE_COMPLETE"
        except botocore.exceptions.ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
        wait_until(lambda: not self.status().endswith("_IN_PROGRESS"), 120)
        if self.status() != wanted:
            reasons = "\n".join(
                f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
                for event in cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
                if event["ResourceStatus"].endswith("_FAILED"))
            raise Failed(f"the stack is {self.status()}:\n{reasons}")

    def package(self) -> str:
        """The template as `sam package` would leave it: the code lies in S3, all else is unchanged."""
        code = PACKAGE.read_bytes()
        key = hashlib.sha256(code).hexdigest() + ".zip"
        s3 = self.aws("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key=key, Body=code)
        template = (ROOT / "template.yaml").read_text()
        if CODE_URI not in template:
            raise Failed(f"template.yaml has no `{CODE_URI}`")
        packaged = template.replace(CODE_URI, f"CodeUri: s3://{BUCKET}/{key}")
        (self.state / "template.yaml").write_text(packaged)
        return packaged

    def deployed(self) -> bool:
        try:
            status = self.status()
        except botocore.exceptions.ClientError:
            return False
        if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
            # A stack that was never made cannot be updated either.
            self.aws("cloudformation").delete_stack(StackName=self.name)
            wait_until(lambda: not self.deployed(), 60)
            return False
        return status != "DELETE_COMPLETE"

    def status(self) -> str:
        return self.describe()["StackStatus"]

    def describe(self) -> dict:
        return self.aws("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]

    def output(self, key: str) -> str:
        return next(output["OutputValue"] for output in self.describe()["Outputs"] if output["OutputKey"] == key)

    def subnet(self) -> str:
        """A subnet for jobs that name none: the default VPC's, as in a new account."""
        ec2 = self.aws("ec2")
        found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        if not found:
            vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
            found = [ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]]
        return min(subnet["SubnetId"] for subnet in found)

    def token(self) -> str:
        """The administrator's token; made once, and kept for as long as the stack is up."""
        file = self.state / "token"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32))
        return file.read_text()

    def wait_for_health(self) -> None:
        def healthy() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=10) as answer:
                    return answer.status == 200
            except OSError:
                return False

        if not wait_until(healthy, 60):
            raise Failed(f"{self.url}/healthz does not answer; the end of {self.log}:\n{tail(self.log)}")

    def write_env(self) -> None:
        values = {
            "CRONPLANE_URL": self.url,
            "CRONPLANE_TOKEN": self.token(),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        self.env_file.touch(mode=0o600)
        self.env_file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    # ---- down

    def down(self, stop_runtime: bool = True) -> None:
        self.inbox.stop()
        self.cloud.stop()
        self.remove_containers()
        if stop_runtime:
            container_runtime("stop")
        # What the next stack must not find. Certificates and images are kept: they are slow to make.
        for name in ("env", "token", self.runtime_file.name, "template.yaml", sns_inbox.MESSAGES, INBOX_LOG):
            (self.state / name).unlink(missing_ok=True)
        for name in ("s3", "volumes"):
            shutil.rmtree(self.state / name, ignore_errors=True)

    def remove_containers(self) -> None:
        """What a local cloud that was ended by force left behind, and the demo's own container."""
        if not self.runtime_file.exists():
            return
        cloud_port = json.loads(self.runtime_file.read_text())["cloud_port"]
        try:
            client = self.docker()
            for label in (f"ministack.instance={socket.gethostname()}:{cloud_port}", self.container_label()):
                for container in client.containers.list(all=True, filters={"label": label}):
                    try:
                        container.remove(force=True)
                    except docker.errors.NotFound:
                        pass  # it went by itself meanwhile
        except docker.errors.DockerException as error:
            say(f"containers could not be looked for: {error}")

    # ---- what clients of the stack need

    def aws(self, service: str):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=REGION,
            aws_access_key_id="test", aws_secret_access_key="test")

    def docker(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=json.loads(self.runtime_file.read_text())["docker_host"])

    def container_label(self) -> str:
        """Marks a container that is neither a task nor a function as this stack's."""
        return f"cronplane.local={self.state}"

    def call(self, method: str, path: str, body=None, headers: dict | None = None, token: str | None = None):
        """A request to the API; gives the status, the headers and the body, decoded where it is JSON."""
        request = urllib.request.Request(
            self.url + path, method=method,
            data=None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token() if token is None else token}",
                     **({} if body is None else {"Content-Type": "application/json"}), **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, answer_headers, text = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, answer_headers, text = error.code, error.headers, error.read()
        is_json = "json" in (answer_headers["Content-Type"] or "")
        return status, answer_headers, json.loads(text) if is_json and text else text.decode()


def container_runtime(*arguments: str, **options) -> str:
    """What scripts/container-runtime prints; it says itself what is wrong when it fails."""
    done = subprocess.run(
        [ROOT / "scripts" / "container-runtime", *arguments], stdout=subprocess.PIPE, text="stdin" not in options,
        **options)
    if done.returncode != 0:
        raise Failed("there is no container runtime to run tasks in")
    return done.stdout.strip() if isinstance(done.stdout, str) else done.stdout.decode().strip()


def command_line(pid: int) -> list[str]:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def wait_until(true, seconds: float, pause: float = 0.5) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail(file: pathlib.Path, lines: int = 20) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def from_environment() -> Stack:
    """The stack of scripts/up, with its ports from the environment."""
    return Stack(
        state=pathlib.Path(os.environ.get("CRONPLANE_LOCAL", ROOT / ".local")),
        cloud_port=int(os.environ.get("LOCAL_CLOUD_PORT", "4566")),
        port=int(os.environ.get("CRONPLANE_PORT", "8080")),
        inbox_port=int(os.environ.get("INBOX_PORT", "8443")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "down"])
    options = parser.parse_args()
    stack = from_environment()
    try:
        if options.command == "down":
            stack.down()
            return
        stack.up()
    except Failed as failure:
        sys.exit(f"{options.command}: {failure}")
    say(f"Cronplane is up; {stack.env_file} holds its address and token")
    print(stack.url)


if __name__ == "__main__":
    main()
