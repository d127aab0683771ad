"""How an authorizer follows what the watch has published: the ConfigMaps with the label PUBLISHED.

A part that is missing, unreadable or out of date refuses every token of its range, and so do all
parts if the denials are. A closing time that is too far ahead is not believed: a clock was wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.labels import PUBLISHED
from daypass.kube.async_cluster import AsyncCluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import LISTED, Informer, whole
from daypass.kube.resources import CONFIG_MAPS, Object, name_of
from daypass.published.config_maps import (
    DENIALS,
    NAMES,
    UnreadablePartError,
    read_part,
    read_published_denials,
)
from daypass.published.credentials import (
    CLOSED_PART,
    CLUSTER_PARTS,
    CredentialPart,
    CredentialSet,
)
from daypass.published.denials import Denials
from daypass.published.snapshot import Published

CHECK_EVERY_SECONDS = 1.0
FUTURE_SECONDS = 60.0
"""Two clocks may differ by so much."""


class PublishedFollower:
    """Calls `take` with all that is published, whenever it changes, while `run` runs.

    The first call comes once every ConfigMap has been read. `close_after_seconds`: how far ahead
    a closing time may be.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        namespace: str,
        take: Callable[[Published], None],
        clock: Clock,
        *,
        close_after_seconds: float,
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._take = take
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._found: dict[str, Object] = {}
        self._parts: dict[str, CredentialPart] = {}
        self._denials: dict[str, Denials] = {}
        self._unreadable: dict[str, str] = {}
        self._taken: Published | None = None
        self._informer: Informer[Object] | None = None

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        informer = self._informer
        if informer is not None and (informer.last_error or informer.listed_at is None):
            return informer.last_error
        if missing := [name for name in NAMES if name not in self._found]:
            return (
                f"of the published ConfigMaps in {self._namespace}, {len(missing)} are missing, "
                f"such as {missing[0]}: does `{command('gate', 'watch')}` run?"
            )
        wrong = dict(self._unreadable)
        known: dict[str, CredentialPart | Denials] = {**self._parts, **self._denials}
        for name, part in known.items():
            if not self._is_believed(part):
                wrong[name] = "closes too far in the future: is the clock right, here and there?"
        for name, why in wrong.items():
            more = f" ({len(wrong) - 1} others are not right either)" if len(wrong) > 1 else ""
            return f"ConfigMap {name} in {self._namespace} {why}{more}"
        return ""

    async def run(self) -> None:
        """Follow until it is cancelled."""
        cluster = AsyncCluster(self._connection, clock=self._clock)
        self._informer = Informer(
            cluster, CONFIG_MAPS, self._namespace, self.update,
            read=whole, valid_seconds=self._close_after_seconds, labels=f"{PUBLISHED}=true",
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._informer.run())
                group.create_task(self._check_always())
        finally:
            await cluster.close()

    async def _check_always(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_SECONDS)
            self.check()

    def update(self, event: str, objects: list[Object]) -> None:
        """Take all ConfigMaps, or a change of one."""
        if event == LISTED:
            for name in self._found.keys() - set(map(name_of, objects)):
                self._forget(name)
        for each in objects:
            if event == "DELETED":
                self._forget(name_of(each))
            elif name_of(each) in NAMES:
                self._read(name_of(each), each)
        self.check()

    def check(self) -> None:
        """Pass on what applies now, if it is not what was passed on last."""
        if self._taken is None and not self._parts.keys() | self._denials.keys() >= set(NAMES):
            return
        parts = (self._parts.get(name, CLOSED_PART) for name in NAMES[:-1])
        denials = self._denials.get(DENIALS, Denials())
        published = Published(
            credentials=CredentialSet(
                parts=tuple(p if self._is_believed(p) else CLOSED_PART for p in parts)
            ),
            denials=denials if self._is_believed(denials) else Denials(),
        )
        if published != self._taken:
            self._taken = published
            self._take(published)

    def _is_believed(self, part: CredentialPart | Denials) -> bool:
        latest = self._clock.unix() + self._close_after_seconds + FUTURE_SECONDS
        return part.closes_unix <= latest

    def _read(self, name: str, document: Object) -> None:
        if name in self._found and self._found[name].get("data") == document.get("data"):
            return
        self._forget(name)
        self._found[name] = document
        try:
            if name == DENIALS:
                self._denials[name] = read_published_denials(document)
            else:
                self._parts[name] = read_part(document, CLUSTER_PARTS)[1]
        except UnreadablePartError as error:
            self._unreadable[name] = f"is unreadable: {error}"

    def _forget(self, name: str) -> None:
        for known in (self._found, self._parts, self._denials, self._unreadable):
            known.pop(name, None)
