"""The authorizer beside one in Go that keeps a map, before a real API server. Both are behind the
same Envoy, which asks them about the tokens that it has verified.

Rates are what one load generator gets through in turns; CPU is that of Envoy and of the authorizer
for a request.
"""

from __future__ import annotations

import base64
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.loads import Target, build, cpu_seconds, fire, stub
from bench.report import figure, spread
from bench.revocation import at_one_gate, measure
from bench.rounds import compare
from daypass.config import Address
from daypass.gate.authorizer.api_server import TOKEN_PATH
from daypass.render.envoy.settings import Protected
from daypass.rules.decision import Rules
from support import objects
from support.authority import Authority
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import EKF
from support.gates import running_gate
from support.identities import RBAC, Identity
from support.publishing import published
from support.single_changes import RULES
from support.tokens import AUDIENCE, ISSUER
from support.up_gate import calling, gate_up

CACHED, UNSEEN, MANY = 2_000, 5_000, 100_000
CONNECTIONS, MOST_CONNECTIONS = 16, 64
NAME = "kubernetes.default.svc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A gate, and the process that it asks, or None."""

    port: int
    authority_file: Path
    envoy: int
    authorizer: int | None

    def fire(
        self,
        load: Path,
        tokens: Path,
        *,
        seconds: float,
        once: bool = False,
        path: str = "/pipeline",
        numbers: int = 1,
        connections: int = CONNECTIONS,
    ) -> dict[str, Any]:
        """What the generator gets through. `numbers`: that stand for {number} in the path."""
        header = tokens.parent / "bearer"
        header.write_text("Authorization: Bearer {token}\n")
        target = Target(
            port=self.port, authority_file=self.authority_file, name=EKF, path=path,
            header_file=header, tokens=tokens, method="GET", numbers=numbers,
        )  # fmt: skip
        return fire(load, target, connections=connections, seconds=seconds, once=once,
                    tolerated=0.01 if once else 0.0)  # fmt: skip

    def cpu_seconds(self) -> float:
        """Of Envoy and the authorizer until now."""
        return sum(cpu_seconds(pid) for pid in (self.envoy, self.authorizer) if pid is not None)


class Bench:
    """A control plane, tokens of it, and programs."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self.folder = folder
        self.plane = plane
        self.load = build()
        self.identity = plane.make_identity()
        self._key = load_pem_private_key((plane.folder / "sa.key").read_bytes(), None)
        self._numbers = itertools.count()
        self.reviewer = plane.make_identity()
        plane.admin.create(f"{RBAC}/clusterrolebindings", _delegator(self.reviewer))
        self.token_file = folder / "reviewer"
        self.token_file.touch(0o600)
        self.token_file.write_text(self.reviewer.token.reveal())

    def tokens(self, *counts: int) -> Path:
        """A file with so many new tokens of each of some identities, the first of which is that of
        the bench, signed as the API server does.
        """
        number = next(self._numbers)
        file = self.folder / f"tokens-{number}"
        file.touch(0o600)
        with file.open("w") as lines:
            for user, count in enumerate(counts):
                name = self.identity.service_account + (f"-{user}" if user else "")
                identity = replace(self.identity, service_account=name)
                lines.writelines(
                    f"{self._token(identity, f'{number}-{user}-{n}')}\n" for n in range(count)
                )
        return file

    def _token(self, identity: Identity, jti: str) -> str:
        now = int(time.time())
        bound = {"namespace": identity.namespace,
                 "serviceaccount": {"name": identity.service_account,
                                    "uid": identity.service_account_uid},
                 "secret": {"name": identity.secret_name, "uid": identity.secret_uid}}  # fmt: skip
        claims = {"iss": ISSUER, "aud": [AUDIENCE], "sub": identity.user, "iat": now, "nbf": now,
                  "exp": now + 7000, "jti": f"00000000-0000-4000-8000-{jti:>012}",
                  "kubernetes.io": bound}  # fmt: skip
        body = f"{_part({'alg': 'RS256'})}.{_part(claims)}"
        assert isinstance(self._key, RSAPrivateKey)
        signature = self._key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def api_server_rate(self) -> float:
        """TokenReviews a second of the API server itself, of tokens that it has not seen."""
        spec = {"token": "{token}", "audiences": [AUDIENCE]}
        review = {"kind": "TokenReview", "spec": spec, "apiVersion": "authentication.k8s.io/v1"}
        return self.rate_of(TOKEN_PATH, review)

    def rate_of(self, path: str, review: dict[str, Any]) -> float:
        """Reviews a second of the API server itself, one for each of UNSEEN tokens."""
        headers, body = self.folder / "review-headers", self.folder / "review-body"
        headers.touch(0o600)
        headers.write_text(
            f"Authorization: Bearer {self.reviewer.token.reveal()}\n"
            "Content-Type: application/json\n"
        )
        body.write_text(json.dumps(review))
        target = Target(
            port=self.plane.port, authority_file=self.plane.ca_path, name=NAME, path=path,
            header_file=headers, body_file=body, tokens=self.tokens(UNSEEN),
        )  # fmt: skip
        figures = fire(self.load, target, connections=MOST_CONNECTIONS, seconds=0, once=True)
        return float(figures["per_second"])


def run(*, quick: bool) -> None:
    """Cached and unseen tokens, memory, and the check without an authorizer."""
    rounds, seconds = (3, 1.0) if quick else (9, 3.0)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "cp") as plane:
            bench = Bench(folder, plane)
            with ExitStack() as stack:
                protected = stack.enter_context(protected_service(bench))
                ours = stack.enter_context(
                    gate_side(bench, "ours", protected, our_authorizer(bench, "a"))
                )
                theirs = stack.enter_context(gate_side(bench, "go", protected, _go(bench, "b")))
                jwt = stack.enter_context(gate_side(bench, "jwt", protected, None))
                _unseen(bench, ours, theirs, 1 if quick else 3)
                _cached(bench, ours, theirs, jwt, rounds, seconds)
            _memory(bench, MANY // 10 if quick else MANY)
            (folder / "up").mkdir()
            with gate_up(folder / "up", plane, check="review") as up:
                ours_alone = at_one_gate(partial(calling, up, plane))
                measure("review", plane, ours_alone, 10 if quick else 50)


def _cached(bench: Bench, ours: Side, theirs: Side, jwt: Side, rounds: int, seconds: float) -> None:
    tokens = bench.tokens(CACHED)
    for side in (ours, theirs, jwt):
        side.fire(bench.load, tokens, seconds=0, once=True)
    costs: dict[int, list[float]] = {side.port: [] for side in (ours, theirs, jwt)}

    def rate(side: Side) -> float:
        before = side.cpu_seconds()
        figures = side.fire(bench.load, tokens, seconds=seconds)
        costs[side.port].append((side.cpu_seconds() - before) / figures["requests"] * 1e6)
        return float(figures["per_second"])

    compare(
        f"review | in Go, {CACHED} cached tokens", lambda: rate(ours), lambda: rate(theirs),
        rounds=rounds, unit="/s", bar=">= 0.9",
    )  # fmt: skip
    compare(
        f"jwt | review, {CACHED} cached tokens", lambda: rate(jwt), lambda: rate(ours),
        rounds=rounds, unit="/s", bar=">= 1.4",
    )  # fmt: skip
    for name, side in (("review", ours), ("in Go", theirs), ("jwt", jwt)):
        values = costs[side.port]
        figure(f"CPU time a request, {name}", spread(values, 0, "µs"))


def _unseen(bench: Bench, ours: Side, theirs: Side, rounds: int) -> None:
    ratios, worst = [], []
    for _ in range(rounds):
        server = bench.api_server_rate()
        figures = ours.fire(bench.load, bench.tokens(UNSEEN), seconds=0, once=True)
        other = theirs.fire(bench.load, bench.tokens(UNSEEN), seconds=0, once=True)
        ratios.append(figures["per_second"] / server)
        worst.append(figures["p99_us"] / 1000)
        figure(
            f"{UNSEEN:,} unseen tokens | the API server alone",
            f"{figures['per_second']:,.0f}, {server:,.0f} /s; {figures['errors']} shed",
            ratio=f"{ratios[-1]:.2f} (in Go: {other['per_second'] / server:.2f})",
            bar=">= 0.5",
        )
    figure("unseen tokens, 99th percentile", f"{max(worst):,.0f} ms", bar="bounded")


def _memory(bench: Bench, count: int) -> None:
    tokens = bench.tokens(count)
    sizes = {}
    with ExitStack() as stack:
        where = stack.enter_context(fake_api_server(bench))
        protected = stack.enter_context(protected_service(bench))
        for name, started in (
            ("ours", our_authorizer(bench, "c", *where)),
            ("go", _go(bench, "d", *where)),
        ):
            side = stack.enter_context(gate_side(bench, f"{name}-many", protected, started))
            assert side.authorizer is not None
            side.fire(bench.load, tokens, seconds=0, once=True)
            sizes[name] = resident_mib(side.authorizer)
    ratio = sizes["ours"] / sizes["go"]
    figure(
        f"memory with {count:,} cached tokens | in Go",
        f"{sizes['ours']:.0f}, {sizes['go']:.0f} MiB",
        ratio=f"{ratio:.2f}",
        bar="<= 2, <= 150 MB",
    )


Started = tuple[list[str], Path]

GATE = f"audience: {AUDIENCE}, engine: envoy, hosts: [{EKF}], check: review"


@contextmanager
def gate_side(
    bench: Bench,
    name: str,
    protected: Protected,
    started: Started | None,
    rules: Rules = RULES,
) -> Iterator[Side]:
    """A gate that asks the authorizer `started`; None: with `check: jwt`."""
    place = bench.folder / name
    place.mkdir()
    keys = json.dumps(bench.plane.admin.get("/openid/v1/jwks"))
    with ExitStack() as stack:
        process = None
        if started is not None:
            process = stack.enter_context(_process(*started))
        gate = stack.enter_context(running_gate(
            place, keys, protected=protected, rules=rules,
            check="jwt" if started is None else "review",
            authorizer_socket="" if started is None else str(started[1]),
            published=published({bench.identity.credential}),
        ))  # fmt: skip
        authority = place / "authority.crt"
        authority.write_text(gate.authority.pem)
        yield Side(
            port=gate.port, authority_file=authority, envoy=gate.envoy.pid,
            authorizer=None if process is None else process.pid,
        )  # fmt: skip


@contextmanager
def _process(command: list[str], socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        try:
            eventually("it listens", lambda: socket.exists() or child.poll() is not None)
            if child.poll() is not None:
                assert child.stderr is not None
                raise RuntimeError(child.stderr.read().decode())
            yield child
        finally:
            child.send_signal(signal.SIGKILL)


def our_authorizer(
    bench: Bench,
    name: str,
    server: str = "",
    authority: Path | None = None,
    *,
    python: str = sys.executable,
    more: str = "",
    section: str = "",
) -> Started:
    """The command of `daypass gate serve`, and its socket. `more`: of the gate; `section`: the
    whole section of its config, as another checkout writes it.
    """
    socket, config = bench.folder / f"{name}.sock", bench.folder / f"{name}.yaml"
    kubeconfig = bench.folder / f"{name}.kubeconfig"
    section = section or f"gates: {{default: {{{GATE}, cacheTtl: 1h, {more}}}}}"
    config.write_text(
        f"version: 1\ncluster: {{issuer: '{ISSUER}'}}\n"
        f"domains: {{ekf: {{host: {EKF}, front: envoy}}}}\n"
        f"policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}\n{section}\n"
    )
    user = {"token": bench.reviewer.token.reveal()}
    trusted = str(authority or bench.plane.ca_path)
    document = objects.kubeconfig(server or bench.plane.url, user, trusted)
    document["clusters"][0]["cluster"]["tls-server-name"] = NAME
    kubeconfig.touch(0o600)
    kubeconfig.write_text(json.dumps(document))
    command = [python, "-m", "daypass", "gate", "serve", "--config", str(config),
               "--kubeconfig", str(kubeconfig), "--listen", f"unix:{socket}", "--status",
               "127.0.0.1:0", "--without-watch"]  # fmt: skip
    return command, socket


def _go(bench: Bench, name: str, server: str = "", authority: Path | None = None) -> Started:
    socket = bench.folder / f"{name}.sock"
    command = [str(bench.load), "authorizer", "-socket", str(socket),
               "-server", server or bench.plane.url,
               "-ca", str(authority or bench.plane.ca_path), "-name", NAME,
               "-token-file", str(bench.token_file), "-audience", AUDIENCE]  # fmt: skip
    return command, socket


@contextmanager
def protected_service(bench: Bench) -> Iterator[Protected]:
    """A service that answers at once, which a gate guards."""
    folder, authority = bench.folder, Authority("bench stub")
    pair = authority.server("127.0.0.1")
    for name, text in (("stub.crt", pair.certificate_pem), ("stub.key", pair.key_pem),
                       ("stub-ca.crt", authority.pem), ("answer", "x" * 200)):  # fmt: skip
        (folder / name).write_text(text)
    with stub(bench.load, folder / "stub.crt", folder / "stub.key", folder / "answer") as port:
        yield Protected(
            address=Address(host="127.0.0.1", port=port),
            authority_file=str(folder / "stub-ca.crt"),
        )


@contextmanager
def fake_api_server(bench: Bench, *, models: int = 0) -> Iterator[tuple[str, Path]]:
    """An API server that believes every token, its URL and its authority. `models`: exist."""
    folder, pair = bench.folder, Authority("bench reviews")
    server = pair.server(NAME, "127.0.0.1")
    for name, text in (("r.crt", server.certificate_pem), ("r.key", server.key_pem),
                       ("r-ca.crt", pair.pem)):  # fmt: skip
        (folder / name).write_text(text)
    command = [str(bench.load), "reviews", "-certificate", str(folder / "r.crt"),
               "-key", str(folder / "r.key"), "-models", str(models)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield f"https://127.0.0.1:{int(child.stdout.readline())}", folder / "r-ca.crt"
        finally:
            child.kill()


def _delegator(identity: Identity) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": identity.service_account,
               "namespace": identity.namespace}  # fmt: skip
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:auth-delegator"}  # fmt: skip
    return {"metadata": {"name": "bench-delegator"}, "subjects": [subject], "roleRef": role}


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def _part(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()
