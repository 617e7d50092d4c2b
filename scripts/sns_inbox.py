"""An HTTPS endpoint that subscribes to SNS topics: it confirms what it is asked to confirm and keeps
what it is sent.

SNS speaks to HTTPS subscribers only with a certificate it trusts, so `certificates` makes a local
authority; the local cloud is started with it in SSL_CERT_FILE. On its own the module is a process
that writes each message to a file, a line of JSON each:

    python scripts/sns_inbox.py <state directory> <port>
"""

import datetime
import http.server
import ipaddress
import json
import pathlib
import ssl
import sys
import threading
import time
import urllib.parse
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MESSAGES = "inbox.jsonl"


def certificates(directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The authority's certificate, and a key with its certificate for localhost; made once."""
    authority_file, server_file = directory / "ca.pem", directory / "localhost.pem"
    if authority_file.exists() and server_file.exists():
        return authority_file, server_file
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name, key, issuer, issuer_key, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=365))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority = "Cronplane local authority"
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False)
    authority_pem = certificate(
        authority, authority_key, authority, authority_key,
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(**{**usage, "key_cert_sign": True, "crl_sign": True}), True))
    server_pem = certificate(
        "localhost", server_key, authority, authority_key,
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(**{**usage, "digital_signature": True}), True),
        (x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False))
    key_pem = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server_file.touch(mode=0o600)
    server_file.write_bytes(key_pem + server_pem)
    authority_file.write_bytes(authority_pem)
    return authority_file, server_file


class Inbox(http.server.ThreadingHTTPServer):
    """Serves on 127.0.0.1; `messages` holds (path, SNS envelope) in the order of arrival."""

    def __init__(self, directory: pathlib.Path, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        _, server_file = certificates(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_file)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.messages: list[tuple[str, dict]] = []
        self.arrived = threading.Condition()
        self.file: pathlib.Path | None = None

    def url(self, path: str) -> str:
        return f"https://localhost:{self.server_address[1]}{path}"

    def keep(self, path: str, envelope: dict) -> None:
        with self.arrived:
            self.messages.append((path, envelope))
            if self.file is not None:
                with self.file.open("a") as file:
                    file.write(json.dumps({"path": path, **envelope}) + "\n")
            self.arrived.notify_all()

    def wait(self, path: str, wanted, seconds: float) -> dict:
        """The body of the first notification on a path that `wanted` is true of."""
        deadline = time.monotonic() + seconds
        with self.arrived:
            while True:
                for where, envelope in self.messages:
                    if where == path and envelope["Type"] == "Notification":
                        body = json.loads(envelope["Message"])
                        if wanted(body):
                            return body
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no such message on {path} in {seconds} s; arrived: {self.messages}")
                self.arrived.wait(left)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self):
        envelope = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if envelope["Type"] == "SubscriptionConfirmation":
            # Whoever reaches this port could name any URL: only this machine's own is called.
            url = urllib.parse.urlsplit(envelope["SubscribeURL"])
            if url.hostname in ("127.0.0.1", "localhost"):
                urllib.request.urlopen(url.geturl(), timeout=10).close()
        self.server.keep(self.path, envelope)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    state = pathlib.Path(sys.argv[1])
    inbox = Inbox(state, int(sys.argv[2]))
    inbox.file = state / MESSAGES
    inbox.serve_forever()
