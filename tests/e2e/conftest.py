"""What the end-to-end tests share: a local cloud on ports of its own, Cronplane deployed to another one, and
HTTPS subscribers.

All traffic stays on 127.0.0.1. Everything that is started here is ended here.
"""

import datetime
import http.server
import ipaddress
import json
import os
import pathlib
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import local_stack  # noqa: E402
import sns_inbox  # noqa: E402

ACCOUNT, REGION = local_stack.ACCOUNT, local_stack.REGION
STACK = "e2e"


def pytest_configure(config):
    config.addinivalue_line("markers", "last(rank=1): after all others, of those that are last the lower rank first: "
                            "it looks back on them, or would wait for what goes on")
    config.deselected = []


def pytest_collection_modifyitems(items):
    def rank(item):
        marker = item.get_closest_marker("last")
        return 0 if marker is None else marker.args[0] if marker.args else 1

    items.sort(key=rank)


def pytest_deselected(items):
    items[0].config.deselected.extend(items)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(probe, timeout=15, interval=0.1):
    """The first true answer of `probe`, asked until `timeout` seconds are over."""
    end = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < end, f"nothing came within {timeout} s: {probe}"
        time.sleep(interval)


# --- The local cloud ----------------------------------------------------------------------------

class LocalCloud:
    """A process of scripts/local_cloud.py with its own ports and state."""

    def __init__(self, state, environment=None, api_name=None):
        self.state, self.port, self.api_port = pathlib.Path(state), free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.api_url = f"http://127.0.0.1:{self.api_port}"
        self.environment = {**os.environ, **(environment or {})}
        self.api_name, self.process = api_name, None

    def start(self):
        self.state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, ROOT / "scripts/local_cloud.py", "--port", str(self.port),
                   "--api-port", str(self.api_port), "--state", self.state]
        if self.api_name:
            command += ["--api-name", self.api_name]
        with open(self.state / "local_cloud.log", "ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        eventually(lambda: self.process.poll() is not None or (self.state / "local_cloud.ready").exists(), timeout=60)
        assert self.process.poll() is None, (self.state / "local_cloud.log").read_text()
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)

    def client(self, service):
        return client(service, self.endpoint)


def client(service, endpoint):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION,
                        aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture(scope="session")
def docker_host():
    """A Docker API socket with the image docker.io/library/busybox:1."""
    command = [ROOT / "scripts/container-runtime", "image"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    host = answer.stdout.strip().removeprefix("DOCKER_HOST=")
    os.environ["DOCKER_HOST"] = host
    return host


# --- HTTPS, with an authority of our own --------------------------------------------------------

class Authority:
    """A certificate authority for localhost; clients trust it through SSL_CERT_FILE."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cronplane test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = self._sign(self.name, self.key, [(basic, True)])
        self.file = self.directory / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def server_context(self):
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([
            x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = self._sign(subject, key, [(names, False)])
        file = self.directory / "server.pem"
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption())
            + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


class Subscriber:
    """An HTTPS endpoint that keeps what SNS sends it. It confirms nothing by itself."""

    def __init__(self, context):
        received = self.received = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.put((self.headers["x-amz-sns-message-type"], body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, kind, timeout=15):
        """The next message of this kind (SubscriptionConfirmation, Notification)."""
        end = time.monotonic() + timeout
        while True:
            found, body = self.received.get(timeout=max(0.01, end - time.monotonic()))
            if found == kind:
                return body

    def confirm(self, timeout=15):
        """Visits the SubscribeURL of the next confirmation message, and gives back that message."""
        message = self.next("SubscriptionConfirmation", timeout)
        urllib.request.urlopen(message["SubscribeURL"], timeout=10).read()
        return message

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def subscriber(authority):
    subscriber = Subscriber(authority.server_context())
    yield subscriber
    subscriber.close()


@pytest.fixture(scope="session")
def cloud(docker_host, authority, tmp_path_factory):
    """A local cloud of this test session's own. It gives its container runtime five seconds an answer,
    so that a time-out which costs a silent container its log shows."""
    cloud = LocalCloud(tmp_path_factory.mktemp("cloud"), {
        "SSL_CERT_FILE": str(authority.file), "MINISTACK_DOCKER_TIMEOUT": "5",
    }).start()
    yield cloud
    cloud.stop()


# --- Cronplane in a local cloud -----------------------------------------------------------------

@pytest.fixture(scope="session")
def stack():
    """Cronplane as scripts/up brings it up, on ports of its own, with the teams of product.py; what its functions ask
    of AWS is written down, for test_permissions.py."""
    from product import TEAMS, make_team  # which has its names from here

    state = ROOT / ".local" / "e2e" / "product"
    up = local_stack.Stack(state, free_port(), free_port(), free_port(), name=STACK, records=True)
    try:
        up.up()
        for team, definition in TEAMS.items():
            make_team(up, team, definition)
        yield up
    finally:
        up.down(stop_runtime=False)


@pytest.fixture(scope="session")
def inbox(stack):
    """Subscribers on https, each on a path of its own."""
    server = sns_inbox.Inbox(stack.state)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
