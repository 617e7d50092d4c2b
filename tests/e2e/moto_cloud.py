"""What test_moto.py stands on: moto as a second cloud, a proxy before it that writes down every call and
its answer, and the packaged binary, serving on a port, with the environment that template.yaml gives it.

Everything listens on 127.0.0.1, on free ports.
"""

import dataclasses
import functools
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import cfnlint.decode.cfn_yaml
from conftest import REGION, ROOT, client, eventually, free_port

STACK = "second"
TEAM = "platform"
TOKEN = "a token of the tests"
MOTO_ACCOUNT = "123456789012"

# What of template.yaml the binary itself rests on; the rest is how it is invoked.
KEPT_RESOURCES = ("Table", "RoleBoundary", "ScheduleDeadLetterQueue", "StartQueue", "AlertQueue")


@dataclasses.dataclass(frozen=True)
class Call:
    """One request of an AWS SDK and its answer; the error's code and message where it was refused."""

    operation: str
    status: int
    code: str = ""
    message: str = ""

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


SCHEDULER_OPERATIONS = {
    "GET": "GetSchedule", "POST": "CreateSchedule", "PUT": "UpdateSchedule", "DELETE": "DeleteSchedule"}


def operation_of(method: str, path: str, headers, body: bytes) -> str:
    """`ecs:CreateCluster`: the service is in the signature, the operation in a header or the form. EventBridge
    Scheduler has a REST API, of which Cronplane uses two paths."""
    credential = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", headers["Authorization"])
    if credential[1] == "scheduler":
        if (method, path.split("?")[0]) == ("GET", "/schedules"):
            return "scheduler:ListSchedules"
        is_known = re.fullmatch("/schedules/[^/]+", path.split("?")[0])
        return f"scheduler:{SCHEDULER_OPERATIONS[method] if is_known else path}"
    target = headers.get("X-Amz-Target")
    name = target.rsplit(".", 1)[-1] if target else urllib.parse.parse_qs(body.decode())["Action"][0]
    return f"{credential[1]}:{name}"


def refusal_of(headers, body: bytes) -> tuple[str, str]:
    """The code and the message of an error in JSON or XML."""
    text = body.decode(errors="replace")
    if "json" in (headers.get("Content-Type") or "") or text.startswith("{"):
        error = json.loads(text)
        code = error.get("__type") or headers.get("x-amzn-ErrorType") or error.get("code", "")
        return code.rsplit("#", 1)[-1], error.get("message") or error.get("Message") or ""
    found = [re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("Code", "Message")]
    return tuple(match[1] if match else text for match in found)


def of_rate_limit(operation: str, body: bytes) -> bool:
    """The buckets of those who ask are settled at any time, beside whatever request; and where a condition does not
    hold, another is tried."""
    return operation == "dynamodb:UpdateItem" and json.loads(body)["Key"]["pk"]["S"].startswith("RATE#")


class Recorder:
    """A proxy. It hands on what `as_moto_takes_it(operation, request)` gives, and answers what moto answers, or
    the status and the body that `as_aws_answers(operation, request)` gives instead of it. What it keeps are all calls
    but those of the rate limit."""

    def __init__(self, port: int, as_moto_takes_it, as_aws_answers):
        calls = self.calls = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                operation = operation_of(self.command, self.path, self.headers, body)
                taken = as_moto_takes_it(operation, body)
                cloud = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                if taken != body:
                    self.headers.replace_header("Content-Length", str(len(taken)))
                cloud.request(self.command, self.path, taken, dict(self.headers))
                answer = cloud.getresponse()
                status, content = answer.status, answer.read()
                cloud.close()
                if 200 <= status < 300:
                    status, content = as_aws_answers(operation, body, content) or (status, content)
                refusal = () if 200 <= status < 300 else refusal_of(answer.headers, content)
                if not of_rate_limit(operation, body):
                    calls.append(Call(operation, status, *refusal))
                self.send_response(status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_DELETE = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def local_template(template: dict) -> tuple[dict, list[str]]:
    """template.yaml without what invokes the binary, as moto's CloudFormation takes it; its outputs are the
    variables of the function `http`, whose names are given back. A schedule group moto's CloudFormation does not know:
    its Ref is the name that it is given (CloudFormation User Guide, "AWS::Scheduler::ScheduleGroup", Return values)."""
    group = template["Resources"]["ScheduleGroup"]["Properties"]["Name"]
    variables = {
        **template["Globals"]["Function"]["Environment"]["Variables"],
        **template["Resources"]["HttpFunction"]["Properties"]["Environment"]["Variables"],
    }
    return {
        "Parameters": template["Parameters"],
        "Conditions": template["Conditions"],
        "Resources": {name: template["Resources"][name] for name in KEPT_RESOURCES},
        # The id of an output holds no underscore.
        "Outputs": {
            name.replace("_", ""): {"Value": group if value == {"Ref": "ScheduleGroup"} else value}
            for name, value in variables.items()},
    }, list(variables)


class SecondCloud:
    """moto, the recorder before it, and Cronplane, which knows the recorder only."""

    def __init__(self, state: pathlib.Path):
        self.state, self.port, self.api_port = state, free_port(), free_port()
        self.endpoint, self.url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.api_port}"
        self.processes, self.recorder, self.created = [], None, {}

    def start(self) -> "SecondCloud":
        moto_server = pathlib.Path(sys.executable).with_name("moto_server")
        self.run("moto", [moto_server, "--host", "127.0.0.1", "--port", str(self.port)], os.environ)
        eventually(lambda: self.answers(f"{self.endpoint}/moto-api/data.json"), timeout=60)
        self.recorder = Recorder(self.port, self.as_moto_takes_it, self.as_aws_answers)
        self.account = self.client("sts").get_caller_identity()["Account"]
        assert self.account == MOTO_ACCOUNT
        self.variables = self.deploy()
        with zipfile.ZipFile(ROOT / "dist" / "cronplane.zip") as package:
            binary = pathlib.Path(package.extract("bootstrap", self.state))
        binary.chmod(0o755)
        self.run("cronplane", [binary], {
            **self.variables, "PATH": os.environ["PATH"], "CRONPLANE_LISTEN": f"127.0.0.1:{self.api_port}",
            "AWS_ENDPOINT_URL": self.recorder.url, "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        })
        eventually(lambda: self.answers(f"{self.url}/healthz"), timeout=30)
        status, answer = self.call("PUT", f"/v1/teams/{TEAM}", self.team())
        assert status == 201, answer
        return self

    def team(self) -> dict:
        """What the jobs of test_moto.py and the examples may name."""
        role = f"arn:aws:iam::{self.account}:role/jobs"
        return {"guardrails": {
            "task_roles": [f"{role}/report", f"{role}/other", f"{role}/archive-uploads"],
            "execution_roles": [f"{role}/start"],
            "clusters": ["shared", "cron-jobs"],
            "secrets": self.readable_secrets(),
            "file_systems": ["fs-0123456789abcdef0"],
        }}

    def readable_secrets(self) -> list[str]:
        return [f"arn:aws:{service}:{REGION}:{self.account}:{kind}reports/*"
                for service, kind in (("secretsmanager", "secret:"), ("ssm", "parameter/"))]

    def run(self, name: str, command: list, environment) -> None:
        with open(self.state / f"{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def answers(self, url: str) -> bool:
        for process in self.processes:
            assert process.poll() is None, f"{process.args[0]} ended; its log is in {self.state}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    @staticmethod
    def as_moto_takes_it(operation: str, request: bytes) -> bytes:
        """moto's RunTask breaks off (a 500) without what may be left out on Fargate: a container's memory, which
        is the task's then (ECS API reference, "ContainerDefinition"), and security groups, which are the VPC's
        default then ("AwsVpcConfiguration")."""
        if operation == "ecs:RegisterTaskDefinition":
            definition = json.loads(request)
            for container in definition["containerDefinitions"]:
                if "memory" not in container and "memoryReservation" not in container:
                    container["memory"] = int(definition["memory"])
            return json.dumps(definition).encode()
        if operation == "ecs:RunTask":
            task = json.loads(request)
            task["networkConfiguration"]["awsvpcConfiguration"].setdefault("securityGroups", [])
            return json.dumps(task).encode()
        return request

    def as_aws_answers(self, operation: str, request: bytes, answer: bytes) -> tuple[int, bytes] | None:
        """What Cronplane cannot do without, and moto answers otherwise."""
        if operation == "logs:ListTagsForResource":
            return self.tags_of_group(json.loads(request)["resourceArn"])
        if operation == "ecs:ListTasks" and "family" in json.loads(request):
            return self.tasks_of_family(**json.loads(request))
        if operation in ("ecs:DescribeTasks", "ecs:RunTask"):
            return self.tasks_as_told(json.loads(answer))
        return None

    def tags_of_group(self, arn: str) -> tuple[int, bytes] | None:
        """ListTagsForResource of a log group that is not there is a ResourceNotFoundException (CloudWatch Logs
        API reference, "ListTagsForResource", Errors). moto answers that it has no tags, or those that it had
        before it was deleted; and a group without our tags would be somebody else's."""
        group = arn.split(":log-group:", 1)[1]
        found = self.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if group in [one["logGroupName"] for one in found]:
            return None
        return 400, json.dumps({
            "__type": "ResourceNotFoundException", "message": "The specified resource does not exist."}).encode()

    def tasks_of_family(self, cluster: str, family: str, **asked) -> tuple[int, bytes]:
        """Tasks of deregistered revisions go on running (ECS API reference, "DeregisterTaskDefinition") and are
        listed with their family; moto lists those of active revisions only."""
        ecs = self.client("ecs")
        arns = ecs.list_tasks(cluster=cluster, **asked)["taskArns"]
        tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        return 200, json.dumps({"taskArns": [
            task["taskArn"] for task in tasks if f":task-definition/{family}:" in task["taskDefinitionArn"]]}).encode()

    def tasks_as_told(self, answer: dict) -> tuple[int, bytes]:
        """Every task has a createdAt and a version, which begins with 1 and grows (ECS API reference, "Task");
        moto's have no time, and all have version 0."""
        for task in answer.get("tasks", []):
            task["createdAt"] = self.created.setdefault(task["taskArn"], round(time.time(), 3))
            task["version"] = 2 if task["desiredStatus"] == "STOPPED" else 1
        return 200, json.dumps(answer).encode()

    def deploy(self) -> dict[str, str]:
        """Makes the table and what else the binary rests on; gives the binary's variables."""
        subnet = self.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
        given = {
            "AdminTokenSha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "DefaultSubnets": subnet,
            "PassableRoles": f"arn:aws:iam::{self.account}:role/jobs/*",
            "ReadableSecrets": ",".join(self.readable_secrets()),
            "PublicUrl": self.url,
        }
        template, names = local_template(cfnlint.decode.cfn_yaml.load(str(ROOT / "template.yaml")))
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=STACK, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()])
        (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        variables = {name: outputs[name.replace("_", "")] for name in names}
        self.client("scheduler").create_schedule_group(Name=variables["CRONPLANE_SCHEDULE_GROUP"])
        return variables

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.recorder:
            self.recorder.close()

    @functools.cache
    def client(self, service: str):
        """A client that looks at moto past the recorder, which holds the product's own calls only."""
        return client(service, self.endpoint)

    def call(self, method: str, path: str, body=None, headers: dict | None = None) -> tuple[int, dict | None]:
        """A request to Cronplane's API; gives the status and the body."""
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        return status, json.loads(text) if text else None
