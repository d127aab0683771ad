"""A cluster that an earlier checkout runs is upgraded by this one's `daypass apply`, under traffic.

    python -m bench.upgrade OTHER [--this PATH] [--check jwt|review]

OTHER and PATH are checkouts with their `.venv`. With OTHER as both, it measures what a rollout of
one version costs: until another watch leads, nobody publishes what is revoked. A real API
server, istiod and an Envoy that drains as Istio's does; this program is kubelet and its clients:
one that opens a connection for each request, one that keeps its connection busy, and one whose kept
connection has a request every five seconds. Identities are revoked all the time.

It prints for how long good requests were refused, how long after a revocation the last request of
that identity passed, and until when a token passed that is bound to another identity's Secret. It
exits with 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from daypass._core.clock import SYSTEM_CLOCK  # noqa: E402
from daypass._core.files import write_private  # noqa: E402
from daypass._core.secret import Secret  # noqa: E402
from daypass.local.echo import Echo  # noqa: E402
from daypass.local.envoy import find_envoy  # noqa: E402
from support import raw  # noqa: E402
from support.authority import Authority  # noqa: E402
from support.clusters import admin_cluster  # noqa: E402
from support.controlplane import ControlPlane  # noqa: E402
from support.deadline import eventually  # noqa: E402
from support.identities import Identity  # noqa: E402
from support.istio_gates import GUARDED, route, served, service  # noqa: E402
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway  # noqa: E402
from support.kubelet import Kubelet  # noqa: E402
from support.objects import tls_secret  # noqa: E402
from support.tokens import AUDIENCE  # noqa: E402
from support.watching import identity_namespace  # noqa: E402

DRAIN_SECONDS = 45
"""Istio's `drainDuration`; Envoy's own default is 600."""
PULL_SECONDS = 10.0
"""How long an image takes to arrive."""
REFUSED_AT_MOST, REVOKED_AT_MOST = 30.0, 8.0
"""Seconds: a good request, and after a revocation until the last request passes. With OTHER as both
it is 3 to 4 on two busy cores: the watch's Lease goes to another Pod."""
REVOKED_EVERY = 1.5
SHOWN = ("time", "event", "state", "term", "credentials", "written")
PAUSES = {"new connections": 0.25, "a busy connection": 0.05, "a slow connection": 5.0}
"""Between two requests, by the client."""


def config_text(check: str, version: str) -> str:
    return f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{door: {{host: door.example.com, front: istio, tls: {{secret: public}}}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h, mode: audit}}
gate: {{audience: {AUDIENCE}, hosts: [{GUARDED}], check: {check}}}
gatePods: {{image: 'registry.example.com/daypass:{version}'}}
"""


@dataclass(slots=True, kw_only=True)
class Client:
    """Sends requests with one token. `seen`: when each was answered, and its code."""

    kind: str
    gateway: Gateway
    authority: Authority
    token: Secret
    seen: list[tuple[float, int]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.seen[-1][1] if self.seen else 0

    def passed_until(self) -> float:
        """When a request passed last, or 0."""
        return max((at for at, code in self.seen if code == 200), default=0.0)

    def refused_for(self) -> float:
        """The longest time from a refusal to the next request that passed, or to the end."""
        longest, since = 0.0, None
        for at, code in self.seen:
            if code == 200:
                since = None
            else:
                since = at if since is None else since
                longest = max(longest, at - since)
        return longest

    def flow(self, stop: threading.Event) -> None:
        request = raw.get(raw.bearer(self.token), host=GUARDED)
        with closing(raw.Reconnecting(self._connect)) as caller:
            while not stop.wait(PAUSES[self.kind]):
                code = caller.ask(request).code
                self.seen.append((SYSTEM_CLOCK.monotonic(), code))
                if self.kind == "new connections":
                    caller.close()

    def _connect(self) -> ssl.SSLSocket:
        return self.gateway.connect(name=GUARDED, authority_pem=self.authority.pem)


@dataclass(slots=True, kw_only=True)
class Bench:
    plane: ControlPlane
    gateway: Gateway
    authority: Authority
    stack: ExitStack

    def clients(self, token: Secret) -> list[Client]:
        """One of each kind, which send from now on."""
        made = [
            Client(kind=kind, gateway=self.gateway, authority=self.authority, token=token)
            for kind in PAUSES
        ]
        for each in made:
            stop = threading.Event()
            thread = threading.Thread(target=each.flow, args=[stop], daemon=True)
            thread.start()
            self.stack.callback(thread.join)
            self.stack.callback(stop.set)
        return made

    def become(self, clients: list[Client], code: int) -> None:
        eventually(f"all get {code}", lambda: all(c.last == code for c in clients), seconds=60)
        for each in clients:
            each.seen.clear()

    def token(self, identity: Identity, other: Identity | None = None) -> Secret:
        """A short-lived one. `other`: bound to that one's Secret."""
        return self.plane.make_token(identity.bound_to(other or identity), audiences=[AUDIENCE])


@contextmanager
def running(folder: Path) -> Iterator[Bench]:
    envoy = folder / "envoy-as-istio"
    command = f'exec {find_envoy()} --drain-time-s {DRAIN_SECONDS} "$@"'
    write_private(str(envoy), f"#!/bin/sh\n{command}\n".encode())
    envoy.chmod(0o700)
    os.environ["DAYPASS_ENVOY"] = str(envoy)
    (folder / "gateway").mkdir()
    public = Authority()
    with (
        ControlPlane.start(folder / "plane") as plane,
        admin_cluster(plane) as cluster,
        Echo() as echo,
    ):
        prepare(plane)
        for each in (
            tls_secret("public", NAMESPACE, public.server(GUARDED)),
            served(GUARDED),
            route(GUARDED, "echo"),
            service("echo", echo.address.port),
        ):
            cluster.apply(each)
        with running_gateway(folder / "gateway", plane) as gateway, ExitStack() as stack:
            yield Bench(plane=plane, gateway=gateway, authority=public, stack=stack)


def main() -> None:
    """Upgrade, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="the earlier checkout")
    parser.add_argument("--this", type=Path, default=ROOT, help="in place of this checkout")
    parser.add_argument("--check", choices=("jwt", "review"), default="jwt")
    args = parser.parse_args()
    this, other = (str(it.resolve() / ".venv/bin/python") for it in (args.this, args.other))
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with running(folder) as bench, admin_cluster(bench.plane) as cluster:
            kubelet = Kubelet(
                folder=folder, plane=bench.plane, cluster=cluster, pull_seconds=PULL_SECONDS
            )
            bench.stack.callback(kubelet.stop)
            sys.executable = other  # what it starts
            kubelet.apply(config_text(args.check, "1"))
            broken = upgrade(bench, kubelet, args.check, this)
    print("\n".join(broken) or "every promise holds")
    sys.exit(1 if broken else 0)


def upgrade(bench: Bench, kubelet: Kubelet, check: str, this: str) -> list[str]:
    """Upgrade to this checkout, and return the promises that are broken."""
    plane, began = bench.plane, SYSTEM_CLOCK.monotonic()
    namespace = identity_namespace(plane)
    ann, ben, gone = (plane.make_identity(namespace, name) for name in ("ann", "ben", "gone"))
    good, bad = bench.clients(bench.token(ben)), bench.clients(bench.token(gone))
    crossed = bench.clients(bench.token(ann, ben))
    bench.become([*good, *bad, *crossed], 200)
    plane.admin.delete(gone.secret_path)
    plane.admin.delete(ann.secret_path)
    bench.become(bad, 401)
    bench.become(crossed, 200)  # what the earlier one lets pass
    revoked: list[tuple[str, float, list[Client]]] = []
    pending: list[tuple[Identity, list[Client]]] = []
    numbers = count()

    def add() -> None:
        identity = plane.make_identity(namespace, f"late-{next(numbers)}")
        pending.append((identity, bench.clients(bench.token(identity))))

    for _ in range(8):
        add()
    for _, clients in pending:
        bench.become(clients, 200)
    sys.executable = this
    began, next_at = SYSTEM_CLOCK.monotonic(), 0.0
    print(f"began at {SYSTEM_CLOCK.unix() % 60:.1f} s of a minute")
    applying = kubelet.start_apply(config_text(check, "2"))
    ended: float | None = None
    while ended is None or SYSTEM_CLOCK.monotonic() < ended + 15:
        now = SYSTEM_CLOCK.monotonic()
        if kubelet.has_applied(applying) and ended is None:
            ended = now
            assert applying.exit_code() == 0, applying.tail(40)
        if now >= next_at and pending[0][1][0].last == 200:
            identity, clients = pending.pop(0)
            plane.admin.delete(identity.secret_path)
            revoked.append((identity.service_account, SYSTEM_CLOCK.monotonic(), clients))
            next_at = now + REVOKED_EVERY
            add()
    events = kubelet.watch.events("started", "state", "published") if kubelet.watch else []
    bench.stack.close()
    print(applying.tail(12))
    for each in events[:12]:
        print("  ", {name: each[name] for name in each if name in SHOWN})
    print(f"check: {check}; apply took {ended - began:.1f} s")
    return report(began, ended, good, bad, crossed, revoked)


def report(
    began: float,
    ended: float,
    good: list[Client],
    bad: list[Client],
    crossed: list[Client],
    revoked: list[tuple[str, float, list[Client]]],
) -> list[str]:
    broken = []
    for each in good:
        refused = each.refused_for()
        count_ = sum(code != 200 for _, code in each.seen)
        print(f"good, {each.kind}: {count_} of {len(each.seen)} refused, for {refused:.1f} s")
        if refused > REFUSED_AT_MOST:
            broken.append(f"good requests were refused for {refused:.1f} s on {each.kind}")
    for each in bad:
        if each.passed_until():
            broken.append(f"what was revoked before passes on {each.kind}")
    late = {
        kind: [
            each.passed_until() - at
            for _, at, them in revoked
            for each in them
            if each.kind == kind
        ]
        for kind in PAUSES
    }
    for kind, seconds in late.items():
        longest = max(0.0, *seconds)
        print(f"revoked, {kind}: {len(seconds)} identities, the last passed {longest:.2f} s after")
        print("  ", ", ".join(
            f"{at - began:.0f}: {max(0.0, late):.1f}"
            for (_, at, _), late in zip(revoked, seconds, strict=True)
        ))  # fmt: skip
        if longest > REVOKED_AT_MOST:
            broken.append(f"what was revoked passes for {longest:.1f} s on {kind}")
    for each in crossed:
        until = each.passed_until()
        when = f"until {until - began:.1f} s, {ended - until:.1f} s before the end of apply"
        print(f"bound to another's Secret, {each.kind}: passed {when}")
        if until > ended:
            broken.append(f"a token bound to another's Secret passes after apply on {each.kind}")
    return broken


if __name__ == "__main__":
    main()
