"""Which models exist: the objects of some kinds, listed and watched at the API server.

Only metadata is read, of all namespaces. A kind that is not installed has no models; it is looked
for again, since an administrator may install it later. What is older than `watch.closeAfter` does
not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field

import httpx2

from daypass._core.clock import Clock
from daypass._core.kubernetes.objects import Object, name_of
from daypass.kube.answers import Selection
from daypass.kube.async_cluster import AsyncCluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import Informer, follow

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
        self._clock = clock
        self._valid_seconds = valid_seconds
        self._cluster: AsyncCluster | None = None
        self._informers: dict[str, Informer[tuple[str, str]]] = {}
        if resources:  # otherwise it needs no connection
            self._cluster = cluster = AsyncCluster(connection, clock=clock, transport=transport)
            self._informers = {each: self._informer(cluster, each) for each in sorted(resources)}
        self._taken = Models()
        self._names = self._taken.names
        self._read = [each.objects for each in self._informers.values()]

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
        objects = [each.objects for each in self._informers.values()]
        if any(new is not old for new, old in zip(objects, self._read, strict=True)):
            self._read, self._names = objects, self._read_names()
        valid_until = {name: self._valid_until(each) for name, each in self._informers.items()}
        models = Models(names=self._names, valid_until=valid_until)
        if models.names is not self._taken.names or models.valid_until != self._taken.valid_until:
            self._taken = models
            self._take(models)

    def _read_names(self) -> Mapping[tuple[str, str], Set[str]]:
        names: dict[tuple[str, str], set[str]] = {}
        for resource, informer in self._informers.items():
            for namespace, name in informer.objects.values():
                names.setdefault((resource, namespace), set()).add(name)
        return names

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
