"""List and watch: the objects of one resource, as they change, until the informer is stopped.

An interrupted watch is resumed where it broke. If the API server no longer knows that point, or the
watch breaks there again, the informer lists again, and the handler of the changes compares.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from daypass._core.clock import Clock, jitter
from daypass._core.errors import DaypassError
from daypass.kube.cluster import Cluster
from daypass.kube.errors import (
    ApiError,
    BrokenResponseError,
    ClusterUnreachableError,
    ForbiddenError,
    KubeconfigError,
)
from daypass.kube.resources import Object, Resource, uid_of

LISTED = "LISTED"
GONE, TOO_MANY_REQUESTS = 410, 429
WATCH_SECONDS = 15
"""A silent watch ends after this, and a new one begins: a sign of life from the API server."""
LASTING_SECONDS = 5.0
"""A failure is reported at once only after a silence this much longer than a watch."""
STEADY_SECONDS = 1.0
"""After a watch that ends sooner, the informer waits."""
BREAKS_AT_MOST = 2
"""At one point: the event there can't be read, and a list leaves it out."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 15.0

OnChange: TypeAlias = Callable[[str, list[Object]], None]
"""Called with LISTED and all objects, or with ADDED, MODIFIED or DELETED and one object."""


def is_transient(error: Exception) -> bool:
    """Return whether a request that failed with this error may succeed later."""
    if isinstance(error, ApiError):
        return error.status.code >= 500 or error.status.code in (GONE, TOO_MANY_REQUESTS)
    return isinstance(error, ClusterUnreachableError)


class ObjectStore:
    """The current objects of an informer, whose `on_change` is `update`."""

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


class Informer:
    """Lists and watches on a thread of its own, from `start` to `stop`.

    `namespace` None: all namespaces. `name`: one object, which is read by its name, since a Role
    may allow nothing else. `lock` is held during `on_change`; `changed` is set afterwards, and
    after a failure. `list_slots` is held while it lists.

    `heard_at`: the last sign of life (monotonic). `error`: the failure since then.
    `last_error`: the same in words, once the failure lasts.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespace: str | None,
        on_change: OnChange,
        clock: Clock,
        *,
        name: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        watch_seconds: int = WATCH_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        lock: AbstractContextManager[object] | None = None,
        changed: threading.Event | None = None,
        list_slots: threading.BoundedSemaphore | None = None,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.watch_seconds = watch_seconds
        self.heard_at: float | None = None
        self.error: Exception | None = None
        self.last_error = ""
        self._cluster = cluster
        self._on_change = on_change
        self._clock = clock
        self._name = name
        self._labels = labels or None
        self._fields = (f"metadata.name={name}" if name else fields) or None
        self._metadata_only = metadata_only
        self._longest_pause_seconds = longest_pause_seconds
        self._lock = lock or threading.Lock()
        self._changed = changed or threading.Event()
        self._list_slots: AbstractContextManager[object] = list_slots or nullcontext()
        self._resource_version: str | None = None
        self._breaks = 0
        self._failures = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_forbidden(self) -> bool:
        """Whether the last request was refused for a missing permission."""
        return isinstance(self.error, ForbiddenError)

    @property
    def is_tried(self) -> bool:
        """Whether the objects have been listed, or may not be."""
        return self.heard_at is not None or self.is_forbidden

    @property
    def is_running(self) -> bool:
        """Whether its thread is alive, even after `stop`."""
        return self._thread is not None and self._thread.is_alive()

    def silent_seconds(self) -> float | None:
        """Return the time since the last sign of life, or None if there was none."""
        return None if self.heard_at is None else self._clock.monotonic() - self.heard_at

    def sync(self) -> None:
        """List once, on this thread; the watch continues from there."""
        try:
            with self._list_slots:
                found, version = self._list()
        except (ApiError, ClusterUnreachableError, KubeconfigError) as error:
            self._failed(error)
            return
        with self._lock:
            if self._stopped.is_set():
                return
            self._on_change(LISTED, found)
            self._resource_version = version
            self._heard()
        self._changed.set()

    def start(self) -> None:
        """List and watch in the background."""
        where = "" if self.namespace is None else f" in {self.namespace}"
        self._thread = threading.Thread(
            target=self._run, name=f"daypass-{self.resource.plural}{where}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting for the current request; `on_change` is not called any more."""
        with self._lock:
            self._stopped.set()

    def join(self) -> None:
        """Wait for its end, after `stop`."""
        if self._thread is not None:
            self._thread.join()

    def _list(self) -> tuple[list[Object], str]:
        if not self._name:
            return self._cluster.snapshot(
                self.resource, self.namespace, labels=self._labels, fields=self._fields,
                metadata_only=self._metadata_only,
            )  # fmt: skip
        found = self._cluster.find(self.resource, self._name, self.namespace)
        if found is None:
            return [], "0"
        return [found], str(found["metadata"]["resourceVersion"])

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            began = self._clock.monotonic()
            try:
                if self._resource_version is None:
                    self.sync()
                if self._resource_version is not None:
                    self._watch(self._resource_version)
            except BrokenResponseError as error:
                self._broke()
                self._failed(error)
            except (ClusterUnreachableError, KubeconfigError) as error:
                self._failed(error)
            except ApiError as error:
                # 410 among others: from here on only a list shows the current objects.
                self._resource_version = None
                if error.status.code != GONE:
                    self._failed(error)
            except Exception as error:
                if self._stopped.is_set():  # the connections are closed already
                    return
                # Whatever it is: an informer that ended unnoticed would be worse.
                self._resource_version = None
                self._failed(DaypassError(f"unexpected {type(error).__name__}"))
            if self._clock.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
                continue
            self._stopped.wait(jitter(pause))
            pause = min(2 * pause, self._longest_pause_seconds)

    def _watch(self, resource_version: str) -> None:
        """Handle events until the API server ends the watch."""
        for event, found in self._cluster.watch(
            self.resource, self.namespace, resource_version, labels=self._labels,
            fields=self._fields, metadata_only=self._metadata_only,
            timeout_seconds=self.watch_seconds,
        ):  # fmt: skip
            with self._lock:
                if self._stopped.is_set():
                    return
                if event != "BOOKMARK":
                    self._on_change(event, [found])
                self._resource_version = str(found["metadata"]["resourceVersion"])
                self._breaks = 0
                self._heard()
            if event != "BOOKMARK":
                self._changed.set()
        self._breaks = 0
        self._heard()

    def _broke(self) -> None:
        """Resume the watch where it broke; list again if it broke there before."""
        self._breaks += 1
        if self._breaks >= BREAKS_AT_MOST:
            self._resource_version, self._breaks = None, 0

    def _heard(self) -> None:
        self.heard_at = self._clock.monotonic()
        self.error, self.last_error, self._failures = None, "", 0

    def _failed(self, error: Exception) -> None:
        self.error = error
        self._failures += 1
        if self.is_forbidden or self._lasts():
            self.last_error = str(error)
        self._changed.set()

    def _lasts(self) -> bool:
        """Whether this is more than one interrupted connection."""
        silent = self.silent_seconds()
        is_silent = silent is None or silent > self.watch_seconds + LASTING_SECONDS
        return is_silent or self._failures > 1
