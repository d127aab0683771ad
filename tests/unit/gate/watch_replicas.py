"""Replicas of a gate's watch, step by step, with a clock of the test's: what each has listed, what
they publish through an API server that can fail, and which tokens pass by that.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from daypass._core.kubernetes.objects import new_object
from daypass._core.threads import Poller
from daypass.config import IstioGate
from daypass.gate.publication import (
    UnreadableShardError,
    read_lacking,
    read_published_denials,
    read_shard,
)
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.cluster_publisher import ClusterPublisher, term_of
from daypass.gate.watch.controller import Controller, State, WatchEvent
from daypass.gate.watch.schedule import Observation, ObservedNamespace
from daypass.kube.lease import Lease
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines.istio import IstioEngine
from daypass.rules.published import (
    DENIALS,
    NAMES,
    Denial,
    Denials,
    Published,
    Shard,
    credential_of,
    shard_name,
)
from support.rendered import config_of
from support.timing import FakeClock
from support.tokens import Signer
from support.watching import FRONT, HOME
from unit.kube.objects_api import ObjectsApi

CLOSE_AFTER = 600.0
OTHER, OTHER_FRONT = "serving", "serving-system"
"""A second gate, and the namespace of its gateway."""
GATES = ("default", OTHER)
CONFIG = config_of(f"""\
version: 1
domains: {{a: {{host: a.example.com, front: istio, tls: outside, gateway: a/a}}}}
gates:
  default: {{audience: a, hosts: [a.example.com]}}
  {OTHER}: {{audience: b, hosts: [b.example.com], gatewayNamespace: {OTHER_FRONT},
    gatewayLabels: {{istio: {OTHER}}}}}
watch: {{closeAfter: {CLOSE_AFTER:.0f}s}}
""")
CONFIG_MAPS = f"/api/v1/namespaces/{HOME}/configmaps/"
FILTERS, OTHER_FILTERS = (
    f"/apis/networking.istio.io/v1alpha3/namespaces/{namespace}/envoyfilters/"
    for namespace in (FRONT, OTHER_FRONT)
)
ACCOUNTS = ("acc00000-0000-4000-8000-000000000001", "acc00000-0000-4000-8000-000000000002")
KEYS = Signer("one").jwks
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/watch"


def filter_path(gate: str, name: str) -> str:
    """The path of an EnvoyFilter."""
    return f"{FILTERS}{name}" if gate == "default" else f"{OTHER_FILTERS}{name}.{gate}"


class PlainEngine(IstioEngine):
    """EnvoyFilters that a test can read, in place of Envoy's own config."""

    def published_object(self, name: str, published: Published) -> dict[str, Any]:
        if name == DENIALS:
            denials = published.denials
            return self._filter(name, keys=sorted(denials.keys), closes=denials.closes_unix)
        shard = published.shards[NAMES.index(name)]
        return self._filter(name, pairs=sorted(shard.credentials), closes=shard.closes_unix)

    def _filter(self, name: str, **spec: object) -> dict[str, Any]:
        version, namespace = "networking.istio.io/v1alpha3", self.gate.gateway_namespace
        return new_object(version, "EnvoyFilter", self.named(name), namespace, spec=spec)


class FewShards(ClusterPublisher):
    """A publisher of few shards, so that a step takes little time."""

    shards = 4


class ReplicaClock:
    """The cluster's time, with a wall clock that is `ahead` of it."""

    def __init__(self, true: FakeClock) -> None:
        self.ahead = 0.0
        self._true = true

    def unix(self) -> float:
        return self._true.unix() + self.ahead

    def monotonic(self) -> float:
        return self._true.monotonic()


class ObservedCluster:
    """What exists, and since when the last listing or event that showed a credential."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.namespaces: dict[str, set[str]] = {"red": set(), "blue": set()}
        self.labelled = set(self.namespaces)
        self.forbidden: set[str] = set()
        self.denials: tuple[Denial, ...] = ()
        self.seen_at: defaultdict[str, float] = defaultdict(float)

    @property
    def admitted(self) -> set[str]:
        """The credentials that a watch that works publishes."""
        found = self.labelled - self.forbidden
        return {each for name in found for each in self.namespaces[name]}

    def see(self, namespace: str) -> ObservedNamespace:
        now = self.clock.monotonic()
        credentials = frozenset(self.namespaces[namespace])
        self.seen_at.update(dict.fromkeys(credentials, now))
        return ObservedNamespace(credentials=credentials, listed_at=now)


class SteppedObserver:
    """Lists and gets events when the test says so."""

    last_error = ""

    def __init__(self, cluster: ObservedCluster) -> None:
        self.changed = threading.Event()
        self.left_out: dict[str, int] = {}
        self._cluster = cluster
        self._found: dict[str, ObservedNamespace] = {}
        self._denials: tuple[Denial, ...] = ()
        self._labelled: set[str] = set()
        self._listed_at: float | None = None
        self._progress_at: float | None = None

    def list_cluster(self) -> None:
        """List what concerns all namespaces."""
        self._progress_at = self._listed_at = self._cluster.clock.monotonic()
        self._denials = self._cluster.denials
        self._labelled = set(self._cluster.labelled)
        self._found = {name: it for name, it in self._found.items() if name in self._labelled}

    def list_namespace(self, name: str) -> None:
        """List a namespace, if it is known and may be listed."""
        if name in self._labelled - self._cluster.forbidden:
            self._found[name] = self._cluster.see(name)
            self._progress_at = self._cluster.clock.monotonic()

    def list_all(self) -> None:
        self.list_cluster()
        for name in sorted(self._labelled):
            self.list_namespace(name)

    def get_events(self, name: str) -> None:
        """Get what has changed in a namespace since it was listed."""
        if name in self._found and name not in self._cluster.forbidden:
            found = self._cluster.see(name)
            listed_at = self._found[name].listed_at
            self._found[name] = replace(found, listed_at=listed_at)

    def observation(self) -> Observation:
        refused = {name: "forbidden" for name in self._labelled & self._cluster.forbidden}
        return Observation(
            namespaces=dict(self._found), denials=self._denials, listed_at=self._listed_at,
            progress_at=self._progress_at, unwatched=refused, left_out=self.left_out,
            is_complete=self._listed_at is not None
            and self._labelled <= self._found.keys() | refused.keys(),
        )  # fmt: skip


class Replica:
    """A watch. `events`: what it has logged, with their fields."""

    def __init__(self, env: WatchEnv, name: str) -> None:
        engines = [
            PlainEngine(name=each, gate=gate, config=CONFIG, facts=ClusterFacts())
            for each, gate in CONFIG.cluster_gates.items()
            if isinstance(gate, IstioGate)
        ]
        self.clock = ReplicaClock(env.clock)
        self.events: list[tuple[WatchEvent, dict[str, Any]]] = []
        self.observer = SteppedObserver(env.cluster)
        self.cluster = cluster = env.api.cluster(self.clock)
        self.lease = Lease(cluster, namespace=HOME, name="watch", me=name)
        self.publisher = FewShards(cluster, engines, self.lease)
        self.keys = SigningKeys(issuer="issuer", key_set=KEYS)
        self.publisher.keys = Poller(lambda: self.keys, 3600)
        self.controller = Controller(
            self.observer,  # type: ignore[arg-type]
            self.publisher,
            self.clock,
            lambda event, **fields: self.events.append((event, fields)),
            CLOSE_AFTER,
        )

    @property
    def state(self) -> State:
        return self.controller.state

    def turn(self) -> None:
        """Renew or try to get the lease, and do what is to be done."""
        assert self.publisher.keys is not None
        self.publisher.keys.fetch()
        self.lease.attempt()
        self.controller.step()

    def work(self) -> None:
        """See everything, and do so."""
        self.observer.list_all()
        self.turn()

    def logged(self, event: WatchEvent) -> list[dict[str, Any]]:
        return [fields for each, fields in self.events if each is event]

    def problem(self, kind: str) -> str:
        """The first of a kind of problems that was logged."""
        return str(
            next(each["why"] for each in self.logged(WatchEvent.PROBLEM) if each["kind"] == kind)
        )


class WatchEnv:
    """A cluster, its API server with what is published at two gateways, and replicas."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = ObjectsApi()
        self.cluster = ObservedCluster(self.clock)
        self._count = 0

    def replica(self, name: str) -> Replica:
        return Replica(self, name)

    def leader(self, name: str = "one") -> Replica:
        """A replica that has published everything."""
        replica = self.replica(name)
        replica.work()
        self.clock.advance(1)
        replica.work()
        return replica

    def create(self, namespace: str = "red") -> str:
        """Create a credential and return its UID; its shard differs from those before and after."""
        self._count += 1
        uid = f"{self._count * 0x40 % 0x100:02x}{self._count:06x}-0000-4000-8000-000000000000"
        self.cluster.namespaces[namespace].add(credential_of(uid, ACCOUNTS[0]))
        return uid

    def create_for_other(self, uid: str) -> None:
        """Let a credential be of another ServiceAccount from now on."""
        first, second = ACCOUNTS
        for found in self.cluster.namespaces.values():
            if credential_of(uid, first) in found:
                found ^= {credential_of(uid, first), credential_of(uid, second)}

    def delete(self, uid: str) -> None:
        for found in self.cluster.namespaces.values():
            found.difference_update([each for each in found if each.startswith(uid)])

    def shards(self) -> dict[int, Shard]:
        """What is in the ConfigMaps."""
        found: dict[int, Shard] = {}
        for number in range(FewShards.shards):
            if each := self.api.objects.get(f"{CONFIG_MAPS}{shard_name(number)}"):
                with suppress(UnreadableShardError):
                    found |= [read_shard(each, FewShards.shards)]
        return found

    def published(self) -> Published:
        shards = self.shards()
        found = tuple(shards.get(number, Shard()) for number in range(4))
        return Published(shards=found, denials=Denials())

    def uids(self) -> set[str]:
        """The UIDs of the credentials that are published."""
        return {uid for shard in self.published().shards for uid in shard.uids}

    def filtered(self, gate: str = "default") -> Iterator[Shard]:
        """What is in the EnvoyFilters of a gate."""
        for number in range(FewShards.shards):
            found = self.api.objects.get(filter_path(gate, shard_name(number)))
            if found is not None:
                pairs = frozenset(found["spec"]["pairs"])
                yield Shard(credentials=pairs, closes_unix=found["spec"]["closes"])

    def passing(self) -> set[str]:
        """The UIDs of `passing_credentials`."""
        return {each.partition("/")[0] for each in self.passing_credentials()}

    def passing_credentials(self) -> set[str]:
        """The credentials that some Envoy or an authorizer accepts now."""
        now = self.clock.unix()
        shards = [
            *self.shards().values(),
            *(it for each in GATES for it in self.filtered(each)),
        ]
        return {it for shard in shards if now < shard.closes_unix for it in shard.credentials}

    def passing_at(self, gate: str) -> set[str]:
        """The UIDs of the credentials that the Envoys of a gate accept now."""
        now, shards = self.clock.unix(), self.filtered(gate)
        return {uid for shard in shards if now < shard.closes_unix for uid in shard.uids}

    def lacking(self) -> set[str]:
        """The gates that ConfigMaps name, which do not have what is published."""
        found = [it for path, it in self.api.objects.items() if path.startswith(CONFIG_MAPS)]
        return set(filter(None, map(read_lacking, found)))

    def denied(self) -> set[str]:
        return set(read_published_denials(self.api.objects[f"{CONFIG_MAPS}{DENIALS}"]).keys)

    def terms(self) -> set[int]:
        paths = (CONFIG_MAPS, FILTERS, OTHER_FILTERS)
        return {term_of(it) for path, it in self.api.objects.items() if path.startswith(paths)}

    def written(self) -> list[str]:
        """The names of the objects written since the last call."""
        names = [name for name in self.api.written if name != "watch"]
        self.api.written.clear()
        return names
