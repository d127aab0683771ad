"""Count the functions of daypass that three flows enter: how much a reader has to follow.

    python tools/steps.py [--src PATH] [--json]

`--src`: the folder that holds `daypass`, by default that of this checkout. A flow runs in a process
of its own, through public names and command lines alone, so that versions can be compared:

    token       Credentials.load().token() with an empty cache, at a local door over TLS
    render      `daypass render` for a door and a gate on Istio, with their Envoy configuration
    up          `daypass up` for one machine, until it starts Envoy
    authorizer  `daypass gate serve`: one ext_authz request over HTTP with a token it has not seen,
                from when it is sent until just after its answer is read

A function counts once, by module and qualified name. Comprehensions, the bodies of modules and
classes, and what an import calls, do not count. The authorizer also does things by the clock, which
do not count either: what callbacks enter that run where no request comes. Of ROUNDS requests, only
what each of them enters counts.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import inspect
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "src"
ROUNDS = 10
SETTLE_SECONDS = 0.02
QUIET_SECONDS = 1.5
"""Long enough for all that the authorizer does by the clock."""
PATIENCE_SECONDS = 60.0

UID = "00000000-0000-4000-8000-000000000001"
AUDIENCE, HOST, ISSUER = "gate.example.com", "ekf.example.com", "https://kubernetes.default.svc"
CLUSTER = f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains:
  ekf: {{host: {HOST}, front: istio, tls: {{secret: ekf-tls}}}}
policy: {{audiences: [{AUDIENCE}]}}
gate: {{audience: {AUDIENCE}, check: review, image: 'registry.example.com/daypass:1'}}
"""
ONE_MACHINE = f"""\
version: 1
cluster: {{server: 'https://127.0.0.1:9', certificateAuthority: tls.crt, issuer: '{ISSUER}'}}
domains: {{here: {{host: localhost, front: envoy}}}}
policy: {{audiences: [{AUDIENCE}]}}
gate: {{audience: {AUDIENCE}, engine: envoy}}
local: {{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external}}
"""
AUTHORIZER = f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains: {{ekf: {{host: {HOST}, front: envoy}}}}
gate: {{audience: {AUDIENCE}, engine: envoy, check: review}}
"""

Functions = frozenset[str]
Calls = list[tuple[str, str]]
"""Functions, each with the one of daypass that the interpreter or an event loop has called."""


# In the process that is measured.


class Counter:
    """Notes the functions below `root` that are entered while `is_on`, on any thread."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}{os.sep}"
        self._seen: set[tuple[str, str]] = set()
        self.is_on = False

    def install(self) -> None:
        """For this thread and those that it starts."""
        threading.setprofile(self._enter)
        sys.setprofile(self._enter)

    def start(self) -> None:
        """Begin anew."""
        self._seen = set()
        self.is_on = True

    def stop(self) -> Calls:
        """What was entered, as MODULE:QUALNAME."""
        self.is_on = False
        return sorted(self._seen)

    def _enter(self, frame: FrameType, event: str, _: object) -> None:
        if not self.is_on or event != "call":
            return
        if (name := self._name(frame)) is None:
            return
        first, outer = name, frame.f_back
        while outer is not None:
            file = outer.f_code.co_filename
            if file.startswith("<frozen importlib"):
                return
            if "/asyncio/" in file or "/uvloop/" in file:
                break
            first, outer = self._name(outer) or first, outer.f_back
        self._seen.add((first, name))

    def _name(self, frame: FrameType) -> str | None:
        """None where it is no function of daypass."""
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED  # no body of a module or a class
        if not is_function or not code.co_filename.startswith(self._root):
            return None
        if code.co_name in ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"):
            return None
        return f"{code.co_filename.removeprefix(self._root)}:{code.co_qualname}"


def measure(flow: str, arguments: Sequence[str]) -> int:
    """Run a flow here; print what it entered as a line of JSON, which is the last line."""
    daypass: Any = importlib.import_module("daypass")
    counter = Counter(Path(str(daypass.__file__)).resolve().parent)
    counter.install()
    if flow == "token":
        counter.start()
        daypass.Credentials.load().token()
        _report(counter)
        return 0
    main: Callable[[list[str]], int] = importlib.import_module("daypass.cli").main
    if flow == "authorizer":
        threading.Thread(target=_serve_commands, args=(counter,), daemon=True).start()
        return main([*arguments])
    if flow == "up":
        sys.addaudithook(lambda event, given: _end_at_envoy(counter, event, given))
    counter.start()
    code = main([*arguments])
    _report(counter)
    return code


def _end_at_envoy(counter: Counter, event: str, given: tuple[object, ...]) -> None:
    """Its config is whole now."""
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
        program = os.environ["DAYPASS_ENVOY"]
        if program in str(given):
            _report(counter)
            os._exit(0)


def _serve_commands(counter: Counter) -> None:
    """Each line on stdin begins or ends a count."""
    sys.setprofile(None)
    for line in sys.stdin:
        if line == "start\n":
            counter.start()
            os.write(1, b"[]\n")
        else:
            _report(counter)


def _report(counter: Counter) -> None:
    os.write(1, json.dumps(counter.stop()).encode() + b"\n")


# In the process that measures.


def token_flow(source: Path, folder: Path) -> Functions:
    """A cold token."""
    with api_server(folder) as url:
        environ = {
            "DAYPASS_DOOR": f"{url}/kubernetes",
            "DAYPASS_TOKEN": jwt({
                "iss": "kubernetes/serviceaccount",
                "sub": "system:serviceaccount:team:bot",
                "kubernetes.io/serviceaccount/namespace": "team",
                "kubernetes.io/serviceaccount/service-account.name": "bot",
                "kubernetes.io/serviceaccount/service-account.uid": "1",
                "kubernetes.io/serviceaccount/secret.name": "bot-daypass-1",
            }),
            "DAYPASS_AUDIENCE": AUDIENCE,
            "DAYPASS_CA_FILE": str(folder / "tls.crt"),
        }  # fmt: skip
        return functions_of_command(source, folder, "token", environ=environ)


def render_flow(source: Path, folder: Path) -> Functions:
    """The config of a cluster."""
    (folder / "daypass.yaml").write_text(CLUSTER)
    return functions_of_command(source, folder, "render", "render")


def up_flow(source: Path, folder: Path) -> Functions:
    """The config of one machine."""
    make_certificate(folder)
    (folder / "daypass.yaml").write_text(ONE_MACHINE)
    envoy = folder / "envoy"
    envoy.write_text("#!/bin/sh\nexit 1\n")
    envoy.chmod(0o700)
    write_kubeconfig(folder, "https://127.0.0.1:9")
    arguments = ["up", "--state", str(folder / "state"), "--kubeconfig", "kubeconfig"]
    return functions_of_command(
        source, folder, "up", *arguments, environ={"DAYPASS_ENVOY": str(envoy)}
    )


def authorizer_flow(source: Path, folder: Path) -> Functions:
    """Tokens that it has not seen, one after another."""
    (folder / "daypass.yaml").write_text(AUTHORIZER)
    with api_server(folder) as url:
        write_kubeconfig(folder, url)
        listen = folder / "authorizer.sock"
        arguments = [
            "gate", "serve", "--config", "daypass.yaml", "--kubeconfig", "kubeconfig",
            "--listen", f"unix:{listen}", "--status", "127.0.0.1:0", "--without-watch",
            "--drain", "0",
        ]  # fmt: skip
        with (
            (folder / "stderr").open("w+") as stderr,
            measured_process(
                source, folder, "authorizer", *arguments, stderr=stderr.fileno()
            ) as process,
        ):
            try:
                with connection_to(listen, process) as connection:
                    request_decision(connection, 0)
                    send_command(process, "start")
                    time.sleep(QUIET_SECONDS)
                    periodic = {first for first, _ in send_command(process, "stop")}
                    rounds = [
                        functions_of_request(process, connection, n) for n in range(1, ROUNDS + 1)
                    ]
            except (OSError, ValueError) as error:
                stderr.seek(0)
                raise SystemExit(f"the authorizer: {error}\n{stderr.read()}") from None
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)
    return frozenset.intersection(
        *(frozenset(name for first, name in calls if first not in periodic) for calls in rounds)
    )


def functions_of_request(
    process: subprocess.Popen[str], connection: socket.socket, number: int
) -> Calls:
    """What one request enters."""
    send_command(process, "start")
    request_decision(connection, number)
    time.sleep(SETTLE_SECONDS)
    return send_command(process, "stop")


def send_command(process: subprocess.Popen[str], word: str) -> Calls:
    """What the process under measurement answers to `start` and `stop`."""
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("["):  # the others are its audit events
            return [(first, name) for first, name in json.loads(line)]
    raise ValueError("it has ended")


def request_decision(connection: socket.socket, number: int) -> None:
    """Send a request with a token of its own; raises ValueError unless it may pass."""
    now = int(time.time())
    token = jwt({
        "iss": ISSUER, "sub": "system:serviceaccount:team:bot", "aud": [AUDIENCE],
        "iat": now, "nbf": now, "exp": now + 600, "jti": f"token-{number}",
        "kubernetes.io": {
            "namespace": "team",
            "serviceaccount": {"name": "bot", "uid": UID},
            "secret": {"name": "bot-daypass-1", "uid": UID},
        },
    })  # fmt: skip
    lines = ("GET /pipeline HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {token}", "", "")
    connection.sendall("\r\n".join(lines).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connection.recv(65536)
        if not data:
            raise ValueError(f"no answer: {answer!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"a good token does not pass: {answer!r}")


@contextmanager
def connection_to(path: Path, process: subprocess.Popen[str]) -> Iterator[socket.socket]:
    """A connection to where it listens, once it does."""
    until = time.monotonic() + PATIENCE_SECONDS
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        while True:
            try:
                connection.connect(str(path))
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield connection


def functions_of_command(
    source: Path, folder: Path, flow: str, *arguments: str, environ: Mapping[str, str] | None = None
) -> Functions:
    """What a flow that ends by itself enters."""
    with (
        (folder / "stderr").open("w+") as stderr,
        measured_process(
            source, folder, flow, *arguments, environ=environ, stderr=stderr.fileno()
        ) as process,
    ):
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        stderr.seek(0)
        last = output.rstrip("\n").rpartition("\n")[2]
        if process.returncode != 0 or not last.startswith("["):
            raise SystemExit(f"{flow} has failed:\n{stderr.read()}")
    return frozenset(name for _, name in json.loads(last))


@contextmanager
def measured_process(
    source: Path,
    folder: Path,
    flow: str,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    stderr: int,
) -> Iterator[subprocess.Popen[str]]:
    """This program in its other role, with the daypass of `source`, killed with the block."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DAYPASS_")}
    own = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, __file__, "--measure", flow, *arguments],
        cwd=folder, env={**kept, **own, "PYTHONPATH": str(source), **(environ or {})}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@contextmanager
def api_server(folder: Path) -> Iterator[str]:
    """One that grants every TokenRequest and believes every token; its URL. Its certificate is
    `tls.crt` in the folder.
    """
    make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class ApiServer(BaseHTTPRequestHandler):
    """Answers TokenRequests and TokenReviews."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Any of them."""
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        spec = question["spec"]
        if self.path.endswith("/token"):
            ends = datetime.now(UTC) + timedelta(hours=1)
            spec["expirationSeconds"] = 3600
            claims = {"aud": spec["audiences"], "exp": int(ends.timestamp()), "kubernetes.io": {}}
            status: dict[str, Any] = {
                "token": jwt(claims), "expirationTimestamp": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
            }  # fmt: skip
        elif spec["token"].count(".") == 2 and len(spec["token"]) > 100:
            user = {"username": "system:serviceaccount:team:bot"}
            status = {"authenticated": True, "user": user, "audiences": spec["audiences"]}
        else:
            status = {"authenticated": False, "error": "invalid bearer token"}
        body = json.dumps({**question, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


def jwt(claims: Mapping[str, object]) -> str:
    """A token that nobody has signed."""
    parts = [json.dumps(each).encode() for each in ({"alg": "RS256", "kid": "k"}, claims)]
    return ".".join(
        base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in (*parts, b"signature" * 9)
    )


def make_certificate(folder: Path) -> None:
    """`tls.crt` and `tls.key` for 127.0.0.1, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "steps")])
    now = datetime.now(UTC)
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(public, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def write_kubeconfig(folder: Path, url: str) -> None:
    """`kubeconfig`, of somebody with a token."""
    cluster = {"server": url, "certificate-authority": str(folder / "tls.crt")}
    file = folder / "kubeconfig"
    file.touch(0o600)
    file.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": {"token": "asker"}}],
    }))  # fmt: skip


FLOWS = {
    "token": token_flow, "render": render_flow, "up": up_flow, "authorizer": authorizer_flow,
}  # fmt: skip


def functions(flow: str, source: Path) -> Functions:
    """The functions that a flow of FLOWS enters in the daypass of `source`."""
    folder = Path(tempfile.mkdtemp(prefix="steps-"))
    try:
        return FLOWS[flow](source, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Count them all, and print a line each."""
    if sys.argv[1:2] == ["--measure"]:
        return measure(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description="functions of daypass that three flows enter")
    parser.add_argument("--src", type=Path, default=SOURCE, metavar="PATH")
    parser.add_argument("--json", action="store_true", help="with the names of the functions")
    args = parser.parse_args()
    entered = {flow: sorted(functions(flow, args.src.resolve())) for flow in FLOWS}
    if args.json:
        print(json.dumps(entered, indent=1))
        return 0
    for flow, names in entered.items():
        modules = len({name.partition(":")[0] for name in names})
        print(f"{flow:<12}{len(names):>5} functions in {modules:>3} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
