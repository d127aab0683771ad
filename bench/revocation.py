"""How soon a change is in force on Istio: a real API server, `gate watch`, istiod and Envoy.

Deletions and creations are measured with few credentials, with 20,000, and while another tenant
makes 50 Secrets a second, all in one run.
"""

from __future__ import annotations

import base64
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.report import figure
from daypass.kube.resources import TOKEN_TYPE
from daypass.published.config_maps import part_name
from daypass.published.credentials import CLUSTER_PARTS
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import OF_DAYPASS, Identity, ensure_service_account, unique
from support.istio_gates import GUARDED, IstioGate, running_istio_gate
from support.raw import Conversation
from support.tokens import AUDIENCE
from support.watching import HOME, identity_namespace, install, watching

CROWD = 20_000
PER_NAMESPACE = 2_000
A_SECOND = 50
THREADS = 16


def run(*, quick: bool) -> None:
    """Measure rounds with few credentials, with a crowd, and with a busy tenant."""
    rounds, crowd = (10, 2_000) if quick else (60, CROWD)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        (folder / "gate").mkdir()
        with running_istio_gate(folder / "gate") as gate:
            install(gate.plane, gate.config)
            with watching(folder / "watch", gate.plane, gate.config) as watch:
                watch.wait_leading()
                few = _rounds(gate, rounds)
                _report("few credentials", few)
                _new_namespaces(gate, max(5, rounds // 6))
                fill(gate.plane, crowd)
                eventually(
                    "all are published", lambda: _published(gate.plane) >= crowd, seconds=300
                )
                time.sleep(10)  # until the gateway has them too
                many = _rounds(gate, rounds)
                _report(f"{crowd:,} credentials", many, median="<= 0.3", most="<= 0.5")
                slower = statistics.median(many.removed) - statistics.median(few.removed)
                figure(f"{crowd:,} against few, deletion", f"{slower:+.3f} s", bar="<= 0.08 s")
                with busy(gate.plane, A_SECOND):
                    pressed = _rounds(gate, rounds)
                _report(f"{crowd:,}, and {A_SECOND} new Secrets a second", pressed, most="<= 1.5")


class Rounds:
    """Seconds from a deletion to the first refusal, and from a creation to the first 200."""

    def __init__(self) -> None:
        self.removed: list[float] = []
        self.added: list[float] = []


def _rounds(gate: IstioGate, rounds: int) -> Rounds:
    """Create and delete identities in one namespace, each with a connection of its own."""
    found = Rounds()
    namespace = identity_namespace(gate.plane)
    _first_pass(gate, gate.plane.make_identity(namespace, "first"))
    for number in range(rounds):
        name = f"bot-{number}"
        ensure_service_account(gate.plane.admin, namespace, name, labels=OF_DAYPASS)
        created = time.perf_counter()
        identity = gate.plane.make_identity(namespace, name, authorize=False)
        with gate.conversation() as conversation:
            request = _request(gate, identity)
            found.added.append(_until(conversation, request, 200) - created)
            time.sleep(secrets.randbelow(500) / 1000)  # at any time of the watch's round
            began = time.perf_counter()
            gate.plane.admin.delete(identity.secret_path)
            found.removed.append(_until(conversation, request, 401) - began)
    return found


def _new_namespaces(gate: IstioGate, rounds: int) -> None:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        namespace = identity_namespace(gate.plane)
        _first_pass(gate, gate.plane.make_identity(namespace, "first"))
        took.append(time.perf_counter() - began)
    figure("first credential of a new namespace", _spread(took), bar="<= 2 s")


def _report(what: str, found: Rounds, *, median: str = "", most: str = "") -> None:
    for name, took, bars in (
        ("deletion to refusal", found.removed, (median, most)),
        ("creation to the first 200", found.added, ("<= 0.5", "")),
    ):
        took.sort()
        ninety_nine = took[min(len(took) - 1, int(0.99 * len(took)))]
        for name_of, seconds, bar in (
            ("median", statistics.median(took), bars[0]),
            ("99th percentile", ninety_nine, bars[1]),
        ):
            figure(f"{what}: {name}, {name_of}", f"{seconds:.3f} s", bar=bar and f"{bar} s")


def fill(plane: ControlPlane, count: int) -> None:
    """Make so many credentials, in namespaces of PER_NAMESPACE.

    They hold no good token: making that many would take minutes.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(0, count, PER_NAMESPACE):
            namespace = identity_namespace(plane)
            uid = ensure_service_account(plane.admin, namespace, "bot", labels=OF_DAYPASS)
            made = (_make(plane, namespace, uid) for _ in range(min(PER_NAMESPACE, count)))
            list(pool.map(lambda each: plane.admin.create(*each), made))


def _make(plane: ControlPlane, namespace: str, account_uid: str) -> tuple[str, dict[str, object]]:
    """Return where to create a token Secret, and one in which no controller changes anything."""
    annotations = {
        "kubernetes.io/service-account.name": "bot",
        "kubernetes.io/service-account.uid": account_uid,
    }
    metadata = {
        "name": unique("bot-daypass", 20), "labels": OF_DAYPASS, "annotations": annotations,
    }  # fmt: skip
    content = {"token": "none", "namespace": namespace, "ca.crt": plane.ca_pem}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in content.items()}
    document: dict[str, object] = {"metadata": metadata, "type": TOKEN_TYPE, "data": data}
    return f"/api/v1/namespaces/{namespace}/secrets", document


def _published(plane: ControlPlane) -> int:
    collection = f"/api/v1/namespaces/{HOME}/configmaps"
    parts = (plane.admin.get(f"{collection}/{part_name(n)}") for n in range(CLUSTER_PARTS))
    return sum(len(part["data"]["entries"].split()) for part in parts)


@contextmanager
def busy(plane: ControlPlane, a_second: int) -> Iterator[None]:
    """Another tenant makes and deletes Secrets, a thousand at most at a time, for minutes."""
    namespace = identity_namespace(plane)
    uid = ensure_service_account(plane.admin, namespace, "bot", labels=OF_DAYPASS)
    ended = threading.Event()

    def work() -> None:
        made: list[str] = []
        begun = time.perf_counter()
        for number in range(a_second * 300):
            if ended.wait(max(0.0, begun + number / a_second - time.perf_counter())):
                return
            collection, document = _make(plane, namespace, uid)
            plane.admin.create(collection, document)
            made.append(f"{collection}/{document['metadata']['name']}")  # type: ignore[index]
            if len(made) > 500:
                plane.admin.delete(made.pop(0))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _request(gate: IstioGate, identity: Identity) -> bytes:
    token = gate.plane.make_token(identity, audiences=[AUDIENCE])
    lines = ["GET / HTTP/1.1", f"Host: {GUARDED}", f"Authorization: Bearer {token.reveal()}"]
    return "\r\n".join([*lines, "", ""]).encode()


def _first_pass(gate: IstioGate, identity: Identity) -> None:
    with gate.conversation() as conversation:
        _until(conversation, _request(gate, identity), 200)


def _until(conversation: Conversation, request: bytes, code: int) -> float:
    ends = time.perf_counter() + 60
    while True:
        conversation.send(request)
        if conversation.answer().code == code:
            return time.perf_counter()
        if time.perf_counter() > ends:
            raise RuntimeError(f"no {code} within a minute")


def _spread(took: list[float]) -> str:
    return f"{statistics.median(took):.3f} s ({min(took):.3f}-{max(took):.3f})"
