"""How an authorizer follows what the watch has published: the ConfigMaps with the label PUBLISHED.

A shard that is missing, unreadable or out of date refuses every token of its range, and so do all
shards if the denials are. A closing time that is too far ahead is not believed: a clock was wrong.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import Object, name_of
from daypass.gate.publication import UnreadableShardError, read_published_denials, read_shard
from daypass.kube.answers import Selection
from daypass.kube.async_cluster import AsyncCluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import Informer, follow
from daypass.kube.resources import CONFIG_MAPS
from daypass.rules.denials import Denials
from daypass.rules.published import CLOSED_SHARD, CLUSTER_SHARDS, DENIALS, NAMES, Published, Shard

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
