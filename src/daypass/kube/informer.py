"""List and watch: the objects of one resource, as they change.

An informer lists, watches from there until the API server ends the watch, and lists again, always.
Nothing is resumed: whatever a watch has missed, for whatever reason, the next list shows. So a list
is also the only sign of life (`AsyncCluster.list` says why it is one).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from daypass._core.clock import Backoff, random_fraction
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.objects import Object, uid_of
from daypass.kube.answers import Selection
from daypass.kube.async_cluster import LIMIT_OBJECTS, AsyncCluster
from daypass.kube.errors import BrokenResponseError, ClusterUnreachableError, ForbiddenError

STEADY_SECONDS = 1.0
"""After a round that ends sooner, the informer waits."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, JITTER = 0.3, 15.0, 0.4
CHECK_EVERY_SECONDS = 1.0
SHORTEST_LIST_SECONDS = 1.0
"""A list has at least this long."""

T = TypeVar("T")
_NOTHING: Mapping[str, Any] = {}  # always the same one: readers compare by identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """What exists. It is replaced as a whole, so that other threads never see a mixture.

    `began_at`: when the last complete list began (monotonic). `objects`: by UID, as of then or
    later, since events change them. While nothing changes, it is the same mapping.
    """

    objects: Mapping[str, T]
    began_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What has failed since the last complete list. `lasts`: an administrator should know."""

    error: DaypassError
    lasts: bool


class Informer(Generic[T]):
    """Lists and watches in an event loop, while `run` runs.

    - `selection`: what to list, or finds that out before each list; None then means that there are
      no such objects, and it looks again a while later.
    - `read`: makes of an object what is kept of it; None: nothing is.
    - `valid_seconds`: how long a list is of use. It is repeated at least three times in that time.
    - `notify`: is called after the first list, and when objects or `failure` have changed.
    - `slots`: is held while it lists. `limit_objects`: a longer list is a failure.

    `listing`: None until the first list is complete. `failure`: None after a complete list. Both
    are read from any thread. A failure leaves the listing as it is: its age shows what it is worth.
    """

    def __init__(
        self,
        cluster: AsyncCluster,
        selection: Selection | Callable[[], Awaitable[Selection | None]],
        read: Callable[[Object], T | None],
        *,
        valid_seconds: float,
        notify: Callable[[], object] = lambda: None,
        slots: AbstractAsyncContextManager[object] | None = None,
        limit_objects: int = LIMIT_OBJECTS,
    ) -> None:
        self.listing: Listing[T] | None = None
        self.failure: Failure | None = None
        self._cluster = cluster
        self._selection = selection
        self._read = read
        self._valid_seconds = valid_seconds
        self._notify = notify
        self._slots: AbstractAsyncContextManager[object] = slots or nullcontext()
        self._limit_objects = limit_objects

    @property
    def objects(self) -> Mapping[str, T]:
        """What exists, by UID; empty until the first list."""
        return _NOTHING if self.listing is None else self.listing.objects

    @property
    def is_forbidden(self) -> bool:
        """Whether the last request was refused for a missing permission."""
        return self.failure is not None and isinstance(self.failure.error, ForbiddenError)

    @property
    def last_error(self) -> str:
        """Why it has failed, once that lasts; otherwise ""."""
        failure = self.failure
        return str(failure.error) if failure is not None and failure.lasts else ""

    async def run(self) -> None:
        """List and watch, until cancelled. Failures are reported, and tried again."""
        clock, failures = self._cluster.clock, 0
        longest = min(LONGEST_PAUSE_SECONDS, max(self._valid_seconds / 10, FIRST_PAUSE_SECONDS))
        backoff = Backoff(first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=longest, jitter=JITTER)
        while True:
            began = clock.monotonic()
            watched = await self.sync()
            if watched is not None:
                await self._watch(*watched)
                if clock.monotonic() - began >= STEADY_SECONDS:
                    failures = 0
                    continue
            failures += 1
            await asyncio.sleep(backoff.seconds(failures, random_fraction()))

    async def sync(self) -> tuple[Selection, str] | None:
        """List once. Return what to watch, and from which version; None after a failure, or if
        there are no such objects.
        """
        try:
            async with self._slots:
                # Before the request: what happens while it is on its way may not be in the list.
                began = self._cluster.clock.monotonic()
                seconds = max(self._valid_seconds / 10, SHORTEST_LIST_SECONDS)
                async with asyncio.timeout(seconds):
                    found, watched = await self._list()
        except Exception as error:
            self._failed(error)
            return None
        before, objects = self.listing, {uid: each for uid, each in found if each is not None}
        is_same = before is not None and before.objects == objects
        # Keeps the old mapping if it is equal: readers compare by identity.
        kept = before.objects if before is not None and is_same else objects
        self.listing = Listing(objects=kept, began_at=began)
        failed, self.failure = self.failure, None
        if failed is not None or not is_same:
            self._notify()
        return watched

    async def _list(self) -> tuple[list[tuple[str, T | None]], tuple[Selection, str] | None]:
        chosen = (
            self._selection if isinstance(self._selection, Selection) else await self._selection()
        )
        if chosen is None:
            return [], None
        found, version = await self._cluster.list(
            chosen, self._read_with_uid, limit_objects=self._limit_objects
        )
        return found, (chosen, version)

    async def _watch(self, selection: Selection, version: str) -> None:
        """Handle events until the API server ends the watch, or it breaks."""
        seconds = max(1, int(self._valid_seconds * (1 + random_fraction()) / 6))
        longest = seconds + max(self._valid_seconds / 20, 1)  # if the API server does not end it
        events = self._cluster.watch(selection, version, timeout_seconds=seconds)
        try:
            async with asyncio.timeout(longest), aclosing(events):
                async for event, document in events:
                    if event != "BOOKMARK":
                        self._take(event, document)
        except (TimeoutError, BrokenResponseError):
            pass  # the list that follows shows whether the API server can be reached
        except Exception as error:
            self._failed(error)

    def _take(self, event: str, document: Object) -> None:
        """Apply an event. It never changes `began_at`: an event says nothing of other objects, and
        an API server that is cut off from etcd still sends events.
        """
        assert self.listing is not None  # noqa: S101 - a watch begins at a list
        uid, found = self._read_with_uid(document)
        if event == "DELETED":
            found = None
        if found == self.listing.objects.get(uid):
            return
        objects = {**self.listing.objects}  # a copy: other threads iterate over the old one
        if found is None:
            del objects[uid]
        else:
            objects[uid] = found
        self.listing = replace(self.listing, objects=objects)
        self._notify()

    def _read_with_uid(self, document: Object) -> tuple[str, T | None]:
        return uid_of(document), self._read(document)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            server = self._cluster.connection.server
            error = ClusterUnreachableError(f"the API server {server} did not respond in time")
        elif not isinstance(error, DaypassError):
            # Whatever it is: an informer that ended unnoticed would be worse.
            error = DaypassError(f"unexpected {type(error).__name__}")
        before, shown = self.failure, self.last_error
        # Once is an interrupted connection, unless there was never another.
        is_first = before is None and self.listing is not None
        self.failure = Failure(error=error, lasts=isinstance(error, ForbiddenError) or not is_first)
        if before is None or shown != self.last_error:
            self._notify()


async def follow(
    cluster: AsyncCluster | None, informers: Iterable[Informer[Any]], check: Callable[[], object]
) -> None:
    """Run informers until this is cancelled, then close their cluster. Call `check` each second:
    what is known grows old, and lists that find the same notify nobody.
    """

    async def check_always() -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_SECONDS)
            check()

    try:
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            group.create_task(check_always())
    finally:
        if cluster is not None:
            await cluster.close()
