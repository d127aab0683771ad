"""How soon a change is in force on Istio: a real API server, `gate watch`, istiod and Envoy.

Deletions and creations are measured with few credentials, with 20,000, and while another tenant
makes and deletes 50 a second, all in one run.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from bench.report import figure, spread
from support.churn import A_SECOND, churning
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import OF_DAYPASS, Identity, ensure_service_account, make_credential
from support.istio_gates import GUARDED, IstioEnv, running_istio_gate
from support.raw import Caller
from support.tokens import AUDIENCE
from support.watching import Watch, identity_namespace, install, published

CROWD = 20_000
PER_NAMESPACE = 2_000
THREADS = 16
ASK_EVERY_SECONDS = 0.002

Calling = Callable[[Identity], AbstractContextManager[Caller]]
"""Opens a connection through the gate, for a caller with a token of an identity."""


def run(*, quick: bool) -> None:
    """Measure rounds with few credentials, with a crowd, and with a busy tenant."""
    rounds, crowd = (10, 2_000) if quick else (60, CROWD)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        (folder / "gate").mkdir()
        with running_istio_gate(folder / "gate") as gate:
            plane, calling = gate.plane, partial(_calling, gate)
            install(plane, gate.config)
            with Watch(folder / "watch", plane, gate.config) as watch:
                watch.wait_leading()
                few = measure("few credentials", plane, calling, rounds)
                _new_namespaces(plane, calling, max(5, rounds // 6))
                fill(plane, crowd)
                eventually("they are published", lambda: len(published(plane)) >= crowd)
                time.sleep(10)  # until the gateway has them too
                what = f"{crowd:,} credentials"
                many = measure(what, plane, calling, rounds, median="<= 0.3 s", most="<= 0.5 s")
                figure(f"{crowd:,} against few, deletion", f"{many - few:+.3f} s", bar="<= 0.08 s")
                with churning(plane, identity_namespace(plane)):
                    what += f", {A_SECOND} a second made and deleted"
                    measure(what, plane, calling, rounds, most="<= 1.5 s", added="")


def measure(
    what: str, plane: ControlPlane, calling: Calling, rounds: int,
    *, median: str = "", most: str = "", added: str = "<= 0.5 s",
) -> float:  # fmt: skip
    """Report how soon deleted credentials are refused on an open connection, and new ones pass;
    return the median of the former.

    `median`, `most`: the bars of deletions. `added`: the bar of the median of creations.
    """
    took: dict[str, list[float]] = {"deletion to refusal": [], "creation to the first 200": []}
    removing, adding = took.values()
    namespace = identity_namespace(plane)
    _first_pass(calling, plane.make_identity(namespace, "first"))
    for number in range(rounds):
        name = f"bot-{number}"
        ensure_service_account(plane.admin, namespace, name, labels=OF_DAYPASS)
        began = time.perf_counter()
        identity = plane.make_identity(namespace, name, authorize=False)
        with calling(identity) as caller:
            adding.append(_until(caller, 200) - began)
            time.sleep(secrets.randbelow(500) / 1000)  # at any time of the watch's round
            began = time.perf_counter()
            plane.admin.delete(identity.secret_path)
            removing.append(_until(caller, 401) - began)
    for (name, seconds), bars in zip(took.items(), ((median, most), (added, "")), strict=True):
        seconds.sort()
        ninety_nine = seconds[min(rounds - 1, int(0.99 * rounds))]
        figure(f"{what}: {name}, median", f"{statistics.median(seconds):.3f} s", bar=bars[0])
        figure(f"{what}: {name}, 99th percentile", f"{ninety_nine:.3f} s", bar=bars[1])
    return statistics.median(removing)


def _new_namespaces(plane: ControlPlane, calling: Calling, rounds: int) -> None:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        _first_pass(calling, plane.make_identity(identity_namespace(plane), "first"))
        took.append(time.perf_counter() - began)
    figure("first credential of a new namespace", spread(took, 3, "s"), bar="<= 2 s")


def fill(plane: ControlPlane, count: int) -> None:
    """Make so many credentials, in namespaces of PER_NAMESPACE."""
    with ThreadPoolExecutor(THREADS) as pool:
        for made in range(0, count, PER_NAMESPACE):
            namespace = identity_namespace(plane)
            uid = ensure_service_account(plane.admin, namespace, "bot", labels=OF_DAYPASS)
            make = partial(make_credential, plane.admin, plane.ca_pem, namespace, "bot", uid)
            some = range(min(PER_NAMESPACE, count - made))
            list(pool.map(lambda _, make=make: make(), some))


@contextmanager
def _calling(gate: IstioEnv, identity: Identity) -> Iterator[Caller]:
    token = gate.plane.make_token(identity, audiences=[AUDIENCE])
    with gate.conversation() as conversation:
        yield Caller(conversation, GUARDED, token)


def _first_pass(calling: Calling, identity: Identity) -> None:
    with calling(identity) as caller:
        _until(caller, 200)


def _until(caller: Caller, code: int) -> float:
    """Return when the gate first answered with a code."""
    ends = time.perf_counter() + 60
    while caller.ask().code != code:
        if time.perf_counter() > ends:
            raise RuntimeError(f"no {code} within a minute")
        time.sleep(ASK_EVERY_SECONDS)  # the gate and what it waits for need the machine, too
    return time.perf_counter()
