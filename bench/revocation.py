"""How soon a change is in force on Istio: a real API server, `gate watch`, istiod and two Envoys.

Deletions and creations are measured at one gate with few credentials, with 20,000, and while
another tenant makes and deletes 50 a second, and then at two gates of one watch, all in one run.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.churn import A_SECOND, churning
from bench.report import figure, spread
from daypass._core.kubernetes.objects import Object
from daypass.config import Config, Gate
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines import engines_of
from serving.model_serving import DOMAIN, EKF, ROUTING, SERVING, ServingEnv, running_serving
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import OF_DAYPASS, Identity, ensure_service_account, make_credential
from support.istio_gateway import Gateway
from support.objects import make
from support.raw import Caller, Conversation
from support.rendered import config_of
from support.tokens import AUDIENCE
from support.watching import Watch, identity_namespace, install, published

CROWD = 20_000
PER_NAMESPACE = 2_000
THREADS = 16
ASK_EVERY_SECONDS = 0.002

ONE = f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
  ekf: {{host: {EKF}, front: istio, tls: outside, gateway: istio-system/public}}
policy: {{audiences: [{AUDIENCE}, {DOMAIN}]}}
gatePods: {{image: 'registry.example.com/daypass:1'}}
gates:
  default: {{audience: {AUDIENCE}, hosts: [{EKF}]}}
"""
TWO = f"""{ONE}\
  serving:
    audience: {DOMAIN}
    hosts: [{DOMAIN}]
    gatewayNamespace: {SERVING.namespace}
    gatewayLabels: {dict(SERVING.labels)}
"""

Calling = Callable[[Identity], AbstractContextManager[Sequence[Caller]]]
"""Opens a connection through each gate, for a caller with tokens of an identity."""


def run(*, quick: bool) -> None:
    """Measure rounds with few credentials, with a crowd, with a busy tenant, and at two gates."""
    rounds, crowd = (10, 2_000) if quick else (60, CROWD)
    one, two = config_of(ONE), config_of(TWO)
    bars = {"median": "<= 0.3 s", "most": "<= 0.5 s"}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        (folder / "gate").mkdir()
        with running_serving(folder / "gate") as env:
            plane = env.plane
            env.apply(_route_to_models())
            with _gated(env, folder / "one", one) as calling:
                few = measure("few credentials", plane, calling, rounds)
                _new_namespaces(plane, calling, max(5, rounds // 6))
                fill(plane, crowd)
                eventually("they are published", lambda: len(published(plane)) >= crowd)
                time.sleep(10)  # until the gateway has them too
                what = f"{crowd:,} credentials"
                many = measure(what, plane, calling, rounds, **bars)
                figure(f"{crowd:,} against few, deletion", f"{many - few:+.3f} s", bar="<= 0.08 s")
                with churning(plane, identity_namespace(plane)):
                    busy = f"{what}, {A_SECOND} a second made and deleted"
                    measure(busy, plane, calling, rounds, most="<= 1.5 s", added="")
            with _gated(env, folder / "two", two) as calling:
                time.sleep(10)
                both = measure(f"two gates, {what}", plane, calling, rounds, **bars)
                figure("two gates against one, deletion", f"{both - many:+.3f} s")


def at_one_gate(calling: Callable[[Identity], AbstractContextManager[Caller]]) -> Calling:
    """Return what opens the connection of one gate."""

    @contextmanager
    def callers(identity: Identity) -> Iterator[Sequence[Caller]]:
        with calling(identity) as caller:
            yield [caller]

    return callers


@contextmanager
def _gated(env: ServingEnv, folder: Path, config: Config) -> Iterator[Calling]:
    """The gates of a config in force, with a watch."""
    engines = engines_of(config, ClusterFacts())
    install(env.plane, config)
    env.apply(*(each for engine in engines for each in engine.objects()))
    with Watch(folder, env.plane, config) as watch:
        watch.wait_leading()
        places = [(host, gateway) for _, host, gateway in _places(env, config)]
        eventually(
            "the gates are in force",
            lambda: all(env.send(host=host, gateway=at).code == 401 for host, at in places),
        )
        yield partial(_calling, env, config)


def _route_to_models() -> Object:
    """A VirtualService of the second gateway, to the service behind the first one."""
    route = [{"destination": {"host": "echo.team.svc.cluster.local"}}]
    spec = {"gateways": [ROUTING.gateway], "hosts": [DOMAIN], "http": [{"route": route}]}
    return make("networking.istio.io/v1", "VirtualService", "bench", SERVING.namespace, spec=spec)


def measure(
    what: str, plane: ControlPlane, calling: Calling, rounds: int,
    *, median: str = "", most: str = "", added: str = "<= 0.5 s",
) -> float:  # fmt: skip
    """Report how soon deleted credentials are refused on open connections, and new ones pass, at
    every gate; return the median of the former.

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
        with calling(identity) as callers:
            adding.append(_until_all(callers, 200) - began)
            time.sleep(secrets.randbelow(500) / 1000)  # at any time of the watch's round
            began = time.perf_counter()
            plane.admin.delete(identity.secret_path)
            removing.append(_until_all(callers, 401) - began)
    for (name, seconds), bar in zip(took.items(), (median, added), strict=True):
        figure(f"{what}: {name}, median", f"{statistics.median(seconds):.3f} s", bar=bar)
    ninety_nine = sorted(removing)[min(rounds - 1, int(0.99 * rounds))]
    figure(f"{what}: deletion to refusal, 99th percentile", f"{ninety_nine:.3f} s", bar=most)
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


def _places(env: ServingEnv, config: Config) -> Iterator[tuple[Gate, str, Gateway]]:
    """Yield each gate with its host and its gateway."""
    gateways = {EKF: env.ingress, DOMAIN: env.serving}
    for gate in config.cluster_gates.values():
        (host,) = gate.hosts
        yield gate, host, gateways[host]


@contextmanager
def _calling(env: ServingEnv, config: Config, identity: Identity) -> Iterator[Sequence[Caller]]:
    callers = []
    with ExitStack() as stack:
        for gate, host, gateway in _places(env, config):
            opened = stack.enter_context(gateway.connect(name=host, authority_pem=env.public.pem))
            token = env.plane.make_token(identity, audiences=[gate.audience])
            callers.append(Caller(Conversation(opened), host, token))
        yield callers


def _first_pass(calling: Calling, identity: Identity) -> None:
    with calling(identity) as callers:
        _until_all(callers, 200)


def _until_all(callers: Sequence[Caller], code: int) -> float:
    """Return when the last gate first answered with a code."""
    if len(callers) == 1:
        return _until(callers[0], code)
    with ThreadPoolExecutor(len(callers)) as threads:
        return max(threads.map(partial(_until, code=code), callers))


def _until(caller: Caller, code: int) -> float:
    """Return when the gate first answered with a code."""
    ends = time.perf_counter() + 60
    while (answer := caller.ask()).code != code:
        if time.perf_counter() > ends:
            raise RuntimeError(f"no {code} within a minute, but {answer}")
        time.sleep(ASK_EVERY_SECONDS)  # the gate and what it waits for need the machine, too
    return time.perf_counter()
