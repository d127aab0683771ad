"""How long `daypass trace` reads a gigabyte of logs, and in how much memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import figure

IDENTITIES = 5_000
BAR_SECONDS = 60
_EXCHANGE_EACH = 6
"""Calls of a token, and so lines of the gate, for each line of the door."""
_OTHER_EVENTS = 2
"""Audit events about Secrets for each TokenRequest."""


def run(*, quick: bool) -> None:
    """Measure the path of a token, and of an identity. `quick`: 200 MB in place of 1 GB."""
    megabytes = 200 if quick else 1000
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        jti = _write(folder, megabytes * 1_000_000)
        files = [str(folder / name) for name in ("audit.log", "door.log", "gate.log")]
        size = sum(os.path.getsize(file) for file in files)
        for what, shown in ((jti, "JTI"), ("team-7/bot-7", "team-7/bot-7")):
            seconds, mebibytes = _measured([what, *files])
            name = f"daypass trace {shown}, {size / 1e9:.1f} GB"
            figure(name, f"{seconds:.1f} s", bar="" if quick else f"<= {BAR_SECONDS} s")
            figure("its memory", f"{mebibytes:.0f} MiB")


def _measured(words: list[str]) -> tuple[float, float]:
    """Return the seconds of a command, and the most memory that it had, in MiB."""
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "daypass", "trace", *words], env=environment,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def _write(folder: Path, most_bytes: int) -> str:
    """Write logs of the form that the parts write, by time; return the JTI of a token in them."""
    chance = random.Random(7)
    written, jti = 0, ""
    with (
        (folder / "audit.log").open("wb") as audit,
        (folder / "door.log").open("wb") as door,
        (folder / "gate.log").open("wb") as gate,
    ):
        outputs = {"audit": audit, "door": door, "gate": gate}
        at = 1_790_000_000.0
        while written < most_bytes:
            number = chance.randrange(IDENTITIES)
            token = str(uuid.UUID(int=chance.getrandbits(128)))
            jti = token if written < most_bytes / 2 else jti
            for name, line in _lines(chance, number, token, at):
                data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
                outputs[name].write(data)
                written += len(data)
            at += 0.2
    return jti


def _lines(
    chance: random.Random, number: int, jti: str, at: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the lines about a token."""
    namespace, name = f"team-{number % 50}", f"bot-{number}"
    user = f"system:serviceaccount:{namespace}:{name}"
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    client = f"203.0.{number // 250}.{number % 250}"
    audit = str(uuid.UUID(int=chance.getrandbits(128)))
    begun = _time(at)
    yield "door", {
        "audit_id": audit, "client": client, "code": 201, "duration_ms": 4, "method": "POST",
        "path": path, "request_id": str(uuid.UUID(int=chance.getrandbits(128))),
        "server_name": "ekf.example.com", "time": begun, "user_agent": "daypass/1.0 python/3.11",
    }  # fmt: skip
    secret = f"{name}-daypass-7q0zk3vr9b2mx5c8w1td"
    event: dict[str, Any] = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": audit,
        "stage": "ResponseComplete", "requestURI": path, "verb": "create",
        "user": {"username": user, "uid": audit, "groups": [
            "system:serviceaccounts", f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        ]},
        "sourceIPs": [client, "10.0.0.9"], "userAgent": "daypass/1.0 python/3.11",
        "objectRef": {"resource": "serviceaccounts", "namespace": namespace, "name": name,
                      "apiVersion": "v1", "subresource": "token"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": begun, "stageTimestamp": _time(at + 0.003),
        "annotations": {
            "authentication.k8s.io/legacy-token": user,
            "authentication.k8s.io/legacy-token-manual-secret": secret,
            "authentication.kubernetes.io/issued-credential-id": f"JTI={jti}",
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": f'RBAC: allowed by RoleBinding "{name}-daypass-token"',
        },
    }  # fmt: skip
    yield "audit", event
    for _ in range(_OTHER_EVENTS):
        other = {**event, "auditID": str(uuid.UUID(int=chance.getrandbits(128)))}
        other["objectRef"] = {"resource": "secrets", "namespace": namespace, "name": secret}
        yield "audit", {**other, "requestURI": f"/api/v1/namespaces/{namespace}/secrets"}
    for call in range(_EXCHANGE_EACH):
        yield "gate", {
            "client": client, "code": 200, "details": "via_upstream", "duration_ms": 12,
            "host": "ekf.example.com", "jti": jti, "method": "GET", "reason": None,
            "request_id": str(uuid.UUID(int=chance.getrandbits(128))),
            "time": _time(at + call), "user": user,
        }  # fmt: skip


def _time(at: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at % 1 * 1000):03}Z"
