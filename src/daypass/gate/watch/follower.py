"""How an authorizer follows what the watch has published: the ConfigMaps with the label PUBLISHED.

A part that is missing, unreadable or out of date refuses every token of its range, and so do all
parts if the denials are. A closing time that is too far ahead is not believed: a clock was wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.labels import PUBLISHED
from daypass.kube.async_cluster import AsyncCluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import LISTED, Informer, run_all, whole
from daypass.kube.resources import CONFIG_MAPS, Object, name_of
from daypass.published.config_maps import (
    DENIALS,
    NAMES,
    UnreadablePartError,
    read_part,
    read_published_denials,
)
from daypass.published.credentials import CLOSED_PART, CLUSTER_PARTS, CredentialPart, CredentialSet
from daypass.published.denials import Denials
from daypass.published.snapshot import Published

FUTURE_SECONDS = 60.0
"""Two clocks may differ by so much."""


class PublishedFollower:
    """Calls `take` with all that is published, whenever it changes, while `run` runs.

    The first call comes once every ConfigMap has been read. `close_after_seconds`: how far ahead
    a closing time may be. Raises KubeconfigError.
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
        self._namespace = namespace
        self._take = take
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._found: dict[str, CredentialPart | Denials | str] | None = None
        self._taken: Published | None = None
        self._cluster = AsyncCluster(connection, clock=clock)
        self._informer = Informer(
            self._cluster, CONFIG_MAPS, namespace, self.update, read=whole, notify=self.check,
            valid_seconds=close_after_seconds, labels=f"{PUBLISHED}=true",
        )  # fmt: skip

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        if self._informer.last_error or self._found is None:
            return self._informer.last_error
        wrong = [(name, why) for name in NAMES if isinstance(why := self._known(name), str)]
        for name, why in wrong:
            more = f" ({len(wrong) - 1} others are not right either)" if len(wrong) > 1 else ""
            return f"ConfigMap {name} in {self._namespace} {why}{more}"
        return ""

    async def run(self) -> None:
        """Follow until it is cancelled."""
        await run_all(self._cluster, [self._informer])

    def update(self, event: str, objects: list[Object]) -> None:
        """Read all ConfigMaps, or a change of one."""
        found = {name_of(each): _read(each) for each in objects if name_of(each) in NAMES}
        if event == LISTED or self._found is None:
            self._found = found
        elif event == "DELETED":
            self._found = {name: self._found[name] for name in self._found.keys() - found}
        else:
            self._found |= found

    def check(self) -> None:
        """Pass on what applies now, if it is not what was passed on last."""
        if self._taken is None and len(self._found or ()) < len(NAMES):
            return
        known = [self._known(name) for name in NAMES]
        parts = [each if isinstance(each, CredentialPart) else CLOSED_PART for each in known[:-1]]
        denials = known[-1] if isinstance(known[-1], Denials) else Denials()
        published = Published(credentials=CredentialSet(parts=tuple(parts)), denials=denials)
        if published != self._taken:
            self._taken = published
            self._take(published)

    def _known(self, name: str) -> CredentialPart | Denials | str:
        """Return what applies of a ConfigMap now, or why nothing does."""
        found = (self._found or {}).get(name, f"is missing: does `{command('gate', 'watch')}` run?")
        latest = self._clock.unix() + self._close_after_seconds + FUTURE_SECONDS
        if not isinstance(found, str) and found.closes_unix > latest:
            return "closes too far in the future: is the clock right, here and there?"
        return found


def _read(document: Object) -> CredentialPart | Denials | str:
    """Return what a ConfigMap contains, or why it is of no use."""
    try:
        if name_of(document) == DENIALS:
            return read_published_denials(document)
        return read_part(document, CLUSTER_PARTS)[1]
    except UnreadablePartError as error:
        return f"is unreadable: {error}"
