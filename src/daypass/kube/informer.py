"""The objects of a kind as they are in the cluster right now, by a list and a watch.

The objects of one kind, in one place, as they come and go: a list, then watches, for ever.

A watch that breaks is taken up where it broke. Where the API server has forgotten that point, or
the watch breaks there again, all is listed anew and whoever takes the list compares. A thread each,
which sleeps in a read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from daypass._core.clock import Clock, jitter
from daypass._core.errors import DaypassError
from daypass.kube.cluster import Cluster
from daypass.kube.errors import (
    ApiError,
    BrokenAnswerError,
    ClusterUnreachableError,
    ForbiddenError,
    KubeconfigError,
)
from daypass.kube.resources import Object, Resource, uid_of

GONE = 410
MIRROR_FIRST_PAUSE_SECONDS, MIRROR_LONGEST_PAUSE_SECONDS = 0.5, 30.0


class ObjectMirror:
    """Filled and kept current by whoever iterates over `follow`, read by anybody."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._objects: dict[str, Object] = {}

    def objects(self) -> list[Object]:
        """Those that are there now; none before the first turn of `follow`."""
        return list(self._objects.values())

    def follow(self) -> Iterator[None]:
        """One turn for each change, for ever; the first once all is there.

        What breaks is tried again, and after it all is listed anew. Raises ApiError for what will
        not heal, such as a right that is missing (ForbiddenError).
        """
        pause = MIRROR_FIRST_PAUSE_SECONDS
        while True:
            try:
                found, since = self._cluster.snapshot(
                    self._resource, self._namespace, labels=self._labels, fields=self._fields,
                    metadata_only=self._metadata_only,
                )  # fmt: skip
                self._objects = {uid_of(each): each for each in found}
                yield
                pause = MIRROR_FIRST_PAUSE_SECONDS
                yield from self._watch(since)
            except (ApiError, ClusterUnreachableError) as error:
                if isinstance(error, ApiError) and error.status.code == GONE:
                    continue
                if isinstance(error, ApiError) and error.status.code < 500:
                    raise
                self._cluster.sleep(pause)
                pause = min(2 * pause, MIRROR_LONGEST_PAUSE_SECONDS)

    def _watch(self, since: str) -> Iterator[None]:
        while True:
            for kind, document in self._cluster.watch(
                self._resource, self._namespace, since, labels=self._labels, fields=self._fields,
                metadata_only=self._metadata_only,
            ):  # fmt: skip
                since = document["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    self._objects.pop(uid_of(document), None)
                else:
                    self._objects[uid_of(document)] = document
                yield


WATCH_SECONDS = 15
"""A watch that is silent ends and begins anew after this: a sign of life from the API server."""
LASTING_SECONDS = 5.0
"""A failure is reported at once only where nothing was heard for so long after a watch's end."""
STEADY_SECONDS = 1.0
"""A watch that ends sooner is not begun again at once."""
BREAKS_AT_MOST = 2
"""At one point: what follows there cannot be read, and a list leaves it out."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSpec:
    """What a feed follows, and what to do with it; both callables are called under the lock.

    `namespace` None: everywhere. `fields`: a field selector. `listed` gets all that there is,
    `happened` ADDED, MODIFIED or DELETED and the object.
    """

    resource: Resource
    namespace: str | None = None
    fields: str = ""
    metadata_only: bool = True
    watch_seconds: int = WATCH_SECONDS
    listed: Callable[[list[Object]], None]
    happened: Callable[[str, Object], None]

    @property
    def shown(self) -> str:
        """In words: `secrets in team`."""
        where = "" if self.namespace is None else f" in {self.namespace}"
        return f"{self.resource.plural}{where}"


class Informer:
    """Follows on a thread of its own from `start` to `stop`.

    `lock`: held while somebody is told; `changed`: set afterwards. `listing`: held while it lists.
    `trouble`: why nothing is heard, once a second try has failed or nothing was heard for long.
    """

    def __init__(
        self,
        cluster: Cluster,
        followed: WatchSpec,
        clock: Clock,
        *,
        lock: AbstractContextManager[object],
        changed: threading.Event,
        listing: threading.BoundedSemaphore,
    ) -> None:
        self.followed = followed
        self.heard_at: float | None = None
        self.trouble = ""
        self.is_forbidden = False
        self._cluster = cluster
        self._clock = clock
        self._lock = lock
        self._changed = changed
        self._listing = listing
        self._since: str | None = None
        self._breaks = 0
        self._failures = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_tried(self) -> bool:
        """Whether it has been listed, or may not be."""
        return self.heard_at is not None or self.is_forbidden

    @property
    def is_running(self) -> bool:
        """Whether its thread is alive, also after `stop`."""
        return self._thread is not None and self._thread.is_alive()

    def silent_seconds(self) -> float | None:
        """How long it has heard nothing; None where it never did."""
        return None if self.heard_at is None else self._clock.monotonic() - self.heard_at

    def look(self) -> None:
        """Take all that there is, and remember the version to go on from."""
        followed = self.followed
        try:
            with self._listing:
                found, since = self._cluster.snapshot(
                    followed.resource, followed.namespace, fields=followed.fields or None,
                    metadata_only=followed.metadata_only,
                )  # fmt: skip
        except (ApiError, ClusterUnreachableError, KubeconfigError) as error:
            self._failed(error)
            return
        with self._lock:
            if self._ended.is_set():
                return
            followed.listed(found)
            self._since = since
            self._heard()
        self._changed.set()

    def start(self) -> None:
        """Follow, beside."""
        self._thread = threading.Thread(
            target=self._follow, name=f"daypass-{self.followed.shown}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it; a watch that is under way is not waited for, and tells nobody anything more."""
        with self._lock:
            self._ended.set()

    def join(self) -> None:
        """Wait for its end, after `stop`."""
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._ended.is_set():
            began = self._clock.monotonic()
            try:
                if self._since is None:
                    self.look()
                if self._since is not None:
                    self._watch(self._since)
            except BrokenAnswerError as error:
                self._broke()
                self._failed(error)
            except (ClusterUnreachableError, KubeconfigError) as error:
                self._failed(error)
            except ApiError as error:
                # Also 410: from here on only a list says what there is.
                self._since = None
                if error.status.code != GONE:
                    self._failed(error)
            except Exception as error:
                if self._ended.is_set():  # the connections are closed already
                    return
                # Whatever it is, one that goes on is better than one that is silently gone.
                self._since = None
                self._failed(DaypassError(f"an unexpected {type(error).__name__}"))
            if self._clock.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
                continue
            self._ended.wait(jitter(pause))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _watch(self, since: str) -> None:
        """Take what happens until the API server ends this watch."""
        followed = self.followed
        for what, found in self._cluster.watch(
            followed.resource, followed.namespace, since, fields=followed.fields or None,
            metadata_only=followed.metadata_only, timeout_seconds=followed.watch_seconds,
        ):  # fmt: skip
            with self._lock:
                if self._ended.is_set():
                    return
                if what != "BOOKMARK":
                    followed.happened(what, found)
                self._since = str(found["metadata"]["resourceVersion"])
                self._breaks = 0
                self._heard()
            if what != "BOOKMARK":
                self._changed.set()
        self._breaks = 0
        self._heard()

    def _broke(self) -> None:
        """Go on where it broke; list anew where it has broken before."""
        self._breaks += 1
        if self._breaks >= BREAKS_AT_MOST:
            self._since, self._breaks = None, 0

    def _heard(self) -> None:
        self.heard_at = self._clock.monotonic()
        self.trouble, self.is_forbidden, self._failures = "", False, 0

    def _failed(self, error: Exception) -> None:
        was_tried = self.is_tried
        self.is_forbidden = isinstance(error, ForbiddenError)
        self._failures += 1
        if self.is_forbidden or self._lasts():
            self.trouble = str(error)
        if not was_tried:
            self._changed.set()

    def _lasts(self) -> bool:
        """Whether this is more than a connection that was cut and is made again at once."""
        silent = self.silent_seconds()
        is_silent = silent is None or silent > self.followed.watch_seconds + LASTING_SECONDS
        return is_silent or self._failures > 1
