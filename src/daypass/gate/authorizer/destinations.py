"""A gate that the authorizer answers for, and what the host and the path of a request mean at it,
remembered for the next request; and which models exist, by which they are read.

A gate with `audiences` or `authorize` looks at the path: only at its first segments, as many as the
longest pattern has. So what is remembered is bounded, and is the same for every path that has them:
a pattern is a prefix of whole segments. What every proxy might read differently is refused before.

Of models, only metadata is listed and watched, in all namespaces. A kind that is not installed has
no models; it is looked for again, since an administrator may install it later. What is older than
`watch.closeAfter` does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

import httpx2

from daypass._core.clock import Clock
from daypass._core.kubernetes.objects import Object, name_of
from daypass.config import Gate
from daypass.gate.authorizer.responses import AuthzResponses
from daypass.gate.metrics import GateMetrics
from daypass.kube.answers import Selection
from daypass.kube.async_cluster import AsyncCluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import Informer, follow
from daypass.rules.decision import Rules
from daypass.rules.models import Access, may_mean_models, needed_accesses
from daypass.rules.patterns import is_plain_path

LIMIT_DESTINATIONS = 10_000
LIMIT_KEY_BYTES = 800
"""A host name has at most 253 bytes, two names in a path 316; Envoy takes anything after a colon
for a port."""

Key: TypeAlias = tuple[bytes, bytes]
"""A host, and the first segments of a path, or "" where no path matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a host and a path mean.

    `audiences`: of the tokens that open it. `may_mean_models`: if they exist. `accesses`: what is
    needed, see `needed_accesses`; None if it needs no model.
    """

    audiences: frozenset[str]
    may_mean_models: bool
    accesses: tuple[Access, ...] | None


class Destinations:
    """The destinations of a gate. `remembered`: those of requests that passed `check_claims`.

    `resources`: the kinds of its models, as PLURAL.GROUP. `models_until`: until when what is known
    of them counts (monotonic).
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._reads_paths = rules.reads_paths
        places = [*rules.authorize, *chain.from_iterable(rules.audiences.values())]
        paths = [place.path for place in places if place.path is not None]
        self._depth = max((len(path.parts) for path in paths), default=0)
        self.remembered: dict[Key, Destination] = {}
        self.resources = frozenset(each.resource for each in rules.authorize)
        self.models_until = -math.inf
        self._models = Models()

    def take_models(self, models: Models) -> None:
        """Read hosts and paths by these models from now on."""
        if models.names is not self._models.names:
            self.remembered.clear()
        self._models = models
        self.models_until = models.are_known_until(self.resources)

    def look_up(self, host: bytes, path: bytes, *, model_header: bool) -> Destination | None:
        """Return the destination of a request, if it is remembered and all read the path alike."""
        if self._reads_paths and (model_header or not is_plain_path(path.decode("latin-1"))):
            return None
        return self.remembered.get(self._key(host, path) if self._depth else (host, b""))

    def find(self, host: bytes, path: bytes) -> Destination:
        """Return the destination of a request that passed `check_claims`, and remember it."""
        key = self._key(host, path)
        destination = self.remembered.get(key)
        if destination is None:
            destination = self._read(host.decode("latin-1"), key[1].decode("latin-1") or "/")
            if sum(map(len, key)) <= LIMIT_KEY_BYTES:
                if len(self.remembered) >= LIMIT_DESTINATIONS:  # one name, with thousands of ports
                    self.remembered.clear()
                self.remembered[key] = destination
        return destination

    def _key(self, host: bytes, path: bytes) -> Key:
        if not self._depth:
            return host, b""
        segments = path.partition(b"?")[0].split(b"/", self._depth + 1)
        return host, b"/".join(segments[: self._depth + 1])

    def _read(self, host: str, path: str) -> Destination:
        place = self._rules.authorize, host, path
        needed = needed_accesses(*place, self._models.names_in)
        audiences = (self._rules.audience, *self._rules.audiences)
        return Destination(
            audiences=frozenset(each for each in audiences if self._rules.opens(each, host, path)),
            may_mean_models=may_mean_models(*place),
            accesses=None if needed is None else tuple(needed),
        )


class ServedGate:
    """One gate. `is_verified`: its proxy has verified the tokens, so the authorizer does not."""

    def __init__(self, name: str, gate: Gate, rules: Rules, *, is_verified: bool) -> None:
        self.name = name
        self.rules = rules
        self.is_verified = is_verified
        self.cache_ttl_seconds = gate.cache_ttl_seconds
        self.responses = AuthzResponses(gate)
        self.metrics = GateMetrics()
        self.destinations = Destinations(rules)


_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models that exist. `names`: by kind, as PLURAL.GROUP, and namespace; the same mapping
    while none changes. `valid_until`: until when what is known of a kind counts, on the monotonic
    clock.
    """

    names: Mapping[tuple[str, str], Set[str]] = field(default_factory=dict)
    valid_until: Mapping[str, float] = field(default_factory=dict)

    def names_in(self, resource: str, namespace: str) -> Set[str]:
        """Return the names of the models of a kind in a namespace."""
        return self.names.get((resource, namespace), _NONE)

    def are_known_until(self, resources: Collection[str]) -> float:
        """Return until when what is known of all these kinds counts."""
        return min((self.valid_until.get(each, -math.inf) for each in resources), default=math.inf)


class ModelFollower:
    """Calls `take` with the models of some kinds that exist, whenever they or what is known of them
    change, while `run` runs.

    `resources`: the kinds, as PLURAL.GROUP. `valid_seconds`: how long a list counts. `transport`
    replaces the network, for tests. Raises KubeconfigError.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        resources: Collection[str],
        take: Callable[[Models], None],
        clock: Clock,
        *,
        valid_seconds: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._take = take
        self._valid_seconds = valid_seconds
        self._cluster: AsyncCluster | None = None
        self._informers: dict[str, Informer[tuple[str, str]]] = {}
        if resources:  # otherwise it needs no connection
            self._cluster = cluster = AsyncCluster(connection, clock=clock, transport=transport)
            self._informers = {each: self._informer(cluster, each) for each in sorted(resources)}
        self._taken = Models()

    def _informer(self, cluster: AsyncCluster, resource: str) -> Informer[tuple[str, str]]:
        plural, _, group = resource.partition(".")

        async def find() -> Selection | None:
            served = await cluster.find_resource(group, plural)
            return None if served is None else Selection(resource=served, metadata_only=True)

        return Informer(cluster, find, _key, valid_seconds=self._valid_seconds, notify=self.check)

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        errors = [each.last_error for each in self._informers.values()]
        return "\n".join(dict.fromkeys(filter(None, errors)))

    @property
    def are_listed(self) -> bool:
        """Whether each kind has been listed."""
        return all(each.listing is not None for each in self._informers.values())

    def counts(self) -> Iterator[tuple[str, int, float]]:
        """Return of each kind that has been listed how many models exist, and when its last list
        began (monotonic).
        """
        for resource, informer in self._informers.items():
            if (listing := informer.listing) is not None:
                yield resource, len(listing.objects), listing.began_at

    async def run(self) -> None:
        """Follow until it is cancelled."""
        await follow(self._cluster, self._informers.values(), self.check)

    def check(self) -> None:
        """Pass on what is known now, if it is not what was passed on last."""
        names: dict[tuple[str, str], set[str]] = {}
        for resource, informer in self._informers.items():
            for namespace, name in informer.objects.values():
                names.setdefault((resource, namespace), set()).add(name)
        valid_until = {name: self._valid_until(each) for name, each in self._informers.items()}
        before = self._taken
        same = before.names if before.names == names else names  # readers compare by identity
        self._taken = Models(names=same, valid_until=valid_until)
        if self._taken != before:
            self._take(self._taken)

    def _valid_until(self, informer: Informer[tuple[str, str]]) -> float:
        # Who may not list them any more does not know about the next one either.
        if informer.listing is None or informer.is_forbidden:
            return -math.inf
        return informer.listing.began_at + self._valid_seconds


def _key(document: Object) -> tuple[str, str]:
    """Return namespace and name. An object that is being deleted exists: its routes are there until
    it is gone.
    """
    return str(document["metadata"].get("namespace", "")), name_of(document)
