"""What the authorizer follows in a cluster: what the watch has published, in the ConfigMaps with
the label PUBLISHED, and which models exist.

A shard that is missing, unreadable or out of date refuses every token of its range, and so do all
shards if the denials are. A closing time that is too far ahead is not believed: a clock was wrong.

Of models, only metadata is listed and watched, in all namespaces. A kind that is not installed has
no models; it is looked for again, since an administrator may install it later. What is older than
`watch.closeAfter` does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field

import httpx2

from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import Object, name_of
from daypass.gate.publication import UnreadableShardError, read_published_denials, read_shard
from daypass.kube.answers import Selection
from daypass.kube.connection import ConnectionConfig
from daypass.kube.resources import CONFIG_MAPS
from daypass.kube.watching import AsyncCluster, Informer, follow
from daypass.rules.published import (
    CLOSED_SHARD,
    CLUSTER_SHARDS,
    DENIALS,
    NAMES,
    Denials,
    Published,
    Shard,
)

FUTURE_SECONDS = 60.0
"""Two clocks may differ by so much."""


class PublishedFollower:
    """Calls `take` with all that is published, whenever it changes, while `run` runs.

    The first call comes once every ConfigMap has been read. `close_after_seconds`: how far ahead
    a closing time may be. `transport` replaces the network, for tests. Raises KubeconfigError.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        namespace: str,
        take: Callable[[Published], None],
        clock: Clock,
        *,
        close_after_seconds: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._namespace = namespace
        self._take = take
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._taken: Published | None = None
        self._cluster = AsyncCluster(connection, clock=clock, transport=transport)
        published = Selection(resource=CONFIG_MAPS, namespace=namespace, labels=f"{PUBLISHED}=true")
        self._informer = Informer(
            self._cluster, published, _read, valid_seconds=close_after_seconds, notify=self.check
        )

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        if self._informer.last_error or self._informer.listing is None:
            return self._informer.last_error
        known = zip(NAMES, self._known(), strict=True)
        wrong = [(name, why) for name, why in known if isinstance(why, str)]
        for name, why in wrong:
            more = f" ({len(wrong) - 1} others are not right either)" if len(wrong) > 1 else ""
            return f"ConfigMap {name} in {self._namespace} {why}{more}"
        return ""

    async def run(self) -> None:
        """Follow until it is cancelled."""
        await follow(self._cluster, [self._informer], self.check)

    def check(self) -> None:
        """Pass on what applies now, if it is not what was passed on last."""
        if self._taken is None and len(self._informer.objects) < len(NAMES):
            return
        *shards, denials = self._known()
        published = Published(
            shards=tuple(each if isinstance(each, Shard) else CLOSED_SHARD for each in shards),
            denials=denials if isinstance(denials, Denials) else Denials(),
        )
        if published != self._taken:
            self._taken = published
            self._take(published)

    def _known(self) -> list[Shard | Denials | str]:
        """Return what applies of each ConfigMap now, or why nothing does."""
        found = dict(self._informer.objects.values())
        latest = self._clock.unix() + self._close_after_seconds + FUTURE_SECONDS
        known: list[Shard | Denials | str] = []
        for name in NAMES:
            content = found.get(name, f"is missing: does `{command('gate', 'watch')}` run?")
            if not isinstance(content, str) and content.closes_unix > latest:
                content = "closes too far in the future: is the clock right, here and there?"
            known.append(content)
        return known


def _read(document: Object) -> tuple[str, Shard | Denials | str] | None:
    """Return a ConfigMap's name, and its content or why it is of no use."""
    name = name_of(document)
    if name not in NAMES:
        return None
    try:
        if name == DENIALS:
            return name, read_published_denials(document)
        return name, read_shard(document, CLUSTER_SHARDS)[1]
    except UnreadableShardError as error:
        return name, f"is unreadable: {error}"


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
