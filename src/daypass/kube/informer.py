"""List and watch: the objects of one resource, as they change.

An informer lists, watches from there until the API server ends the watch, and lists again, always.
Nothing is resumed: whatever a watch has missed, for whatever reason, the next list shows. So a list
is also the only sign of life (`AsyncCluster.list` says why it is one).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, Generic, TypeAlias, TypeVar

from daypass._core.clock import jitter, random_fraction
from daypass._core.errors import DaypassError
from daypass.kube.async_cluster import LIMIT_OBJECTS, AsyncCluster
from daypass.kube.errors import (
    ApiError,
    BrokenResponseError,
    ClusterUnreachableError,
    ForbiddenError,
)
from daypass.kube.resources import Object, Resource, uid_of

LISTED = "LISTED"
GONE, TOO_MANY_REQUESTS = 410, 429
STEADY_SECONDS = 1.0
"""After a round that ends sooner, the informer waits."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 15.0
SHORTEST_LIST_SECONDS = 1.0
"""A list has at least this long."""

T = TypeVar("T")
OnChange: TypeAlias = Callable[[str, list[T]], None]
"""Called with LISTED and all objects, or with ADDED, MODIFIED or DELETED and one object."""


def is_transient(error: Exception) -> bool:
    """Return whether a request that failed with this error may succeed later."""
    if isinstance(error, ApiError):
        return error.status.code >= 500 or error.status.code in (GONE, TOO_MANY_REQUESTS)
    return isinstance(error, ClusterUnreachableError)


def whole(document: Object) -> Object:
    """Return the object itself: `read` of an informer that needs all of it."""
    return document


class ObjectStore:
    """The current objects of an informer, whose `on_change` is `update`, by UID."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}

    def objects(self) -> list[Object]:
        """Return the objects; none before the first list."""
        return list(self._objects.values())

    def update(self, event: str, objects: list[Object]) -> None:
        """Apply a change."""
        if event == LISTED:
            self._objects = {uid_of(each): each for each in objects}
        elif event == "DELETED":
            self._objects.pop(uid_of(objects[0]), None)
        else:
            self._objects[uid_of(objects[0])] = objects[0]


class Informer(Generic[T]):
    """Lists and watches in an event loop, while `run` runs.

    - `namespace` None: all namespaces. `labels`, `fields`: selectors.
    - `read`: makes of an object what is kept of it.
    - `on_change`: gets what was read. `notify`: is called after it, and after each failure.
    - `valid_seconds`: how long a list is of use. It is repeated at least three times in that time.
    - `slots`: is held while it lists. `limit_objects`: a longer list is a failure.

    `listed_at`: when the last complete list began (monotonic). `error`: the failure since then.
    `last_error`: the same in words, once the failure lasts.
    """

    def __init__(
        self,
        cluster: AsyncCluster,
        resource: Resource,
        namespace: str | None,
        on_change: OnChange[T],
        *,
        read: Callable[[Object], T],
        valid_seconds: float,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        notify: Callable[[], object] = lambda: None,
        slots: AbstractAsyncContextManager[object] | None = None,
        limit_objects: int = LIMIT_OBJECTS,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.listed_at: float | None = None
        self.error: Exception | None = None
        self.last_error = ""
        self._cluster = cluster
        self._on_change = on_change
        self._read = read
        self._valid_seconds = valid_seconds
        self._selection: dict[str, Any] = {
            "labels": labels or None, "fields": fields or None, "metadata_only": metadata_only,
        }  # fmt: skip
        self._notify = notify
        self._slots: AbstractAsyncContextManager[object] = slots or nullcontext()
        self._limit_objects = limit_objects
        self._failures = 0

    @property
    def is_forbidden(self) -> bool:
        """Whether the last request was refused for a missing permission."""
        return isinstance(self.error, ForbiddenError)

    @property
    def is_tried(self) -> bool:
        """Whether the objects have been listed, or may not be."""
        return self.listed_at is not None or self.is_forbidden

    async def run(self) -> None:
        """List and watch, until cancelled. Failures are reported, and tried again."""
        clock, pause = self._cluster.clock, FIRST_PAUSE_SECONDS
        longest_pause = min(LONGEST_PAUSE_SECONDS, max(self._valid_seconds / 10, pause))
        while True:
            began = clock.monotonic()
            version = await self.sync()
            if version is not None:
                await self._watch(version)
                if clock.monotonic() - began >= STEADY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                    continue
            await asyncio.sleep(jitter(pause))
            pause = min(2 * pause, longest_pause)

    async def sync(self) -> str | None:
        """List once; return the version from which to watch, or None after a failure."""
        try:
            async with self._slots:
                began = self._cluster.clock.monotonic()
                seconds = max(self._valid_seconds / 10, SHORTEST_LIST_SECONDS)
                async with asyncio.timeout(seconds):
                    found, version = await self._cluster.list(
                        self.resource, self.namespace, self._read,
                        limit_objects=self._limit_objects, **self._selection,
                    )  # fmt: skip
            self._on_change(LISTED, found)
        except Exception as error:
            self._failed(error)
            return None
        self.listed_at = began
        self.error, self.last_error, self._failures = None, "", 0
        self._notify()
        return version

    async def _watch(self, version: str) -> None:
        """Handle events until the API server ends the watch, or it breaks."""
        seconds = max(1, int(self._valid_seconds * (1 + random_fraction()) / 6))
        events = self._cluster.watch(
            self.resource, self.namespace, version, timeout_seconds=seconds, **self._selection
        )
        try:
            # The API server may not end it: its time is over anyway.
            async with (
                asyncio.timeout(seconds + max(self._valid_seconds / 20, 1)), aclosing(events),
            ):  # fmt: skip
                async for event, found in events:
                    if event != "BOOKMARK":
                        self._on_change(event, [self._read(found)])
                        self._notify()
        except (TimeoutError, BrokenResponseError):
            pass  # the list that follows shows whether the API server can be reached
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            server = self._cluster.connection.server
            error = ClusterUnreachableError(f"the API server {server} did not respond in time")
        elif not isinstance(error, DaypassError):
            # Whatever it is: an informer that ended unnoticed would be worse.
            error = DaypassError(f"unexpected {type(error).__name__}")
        self.error = error
        self._failures += 1
        # Once is an interrupted connection, unless there was never another.
        if self.is_forbidden or self._failures > 1 or self.listed_at is None:
            self.last_error = str(error)
        self._notify()


async def run_all(cluster: AsyncCluster, informers: Iterable[Informer[Any]]) -> None:
    """Run the informers of a cluster until cancelled, and close its connections."""
    try:
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
    finally:
        await cluster.close()


class LoopThread:
    """Runs a coroutine in an event loop on a thread of its own, from `start` to `stop`.

    `error`: why it ended, if `stop` did not end it.
    """

    def __init__(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.error: BaseException | None = None
        self._main = main
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Run it in the background."""
        self._thread.start()
        self._is_ready.wait()

    def stop(self) -> None:
        """Cancel it, and wait for its end. A second call does nothing."""
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._task = self._loop.create_task(self._main())
            self._is_ready.set()
            try:
                self._loop.run_until_complete(self._task)
            except asyncio.CancelledError:
                pass
            except Exception as error:
                self.error = error
