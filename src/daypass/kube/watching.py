"""Lists and watches at one API server, in an event loop: the client, and informers.

The client sends many requests at a time on few connections, over HTTP/2 if the API server speaks
it. By a proxy, without TLS, and at servers that speak only HTTP/1.1, each request has a connection
of its own.

An informer lists, watches from there until the API server ends the watch, and lists again, always.
Nothing is resumed: whatever a watch has missed, for whatever reason, the next list shows. So a list
is also the only sign of life (`AsyncCluster.list` says why it is one).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Backoff, Clock, random_fraction
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.objects import Object, uid_of
from daypass.kube.answers import Answer, Pages, Selection, clock_ahead_seconds
from daypass.kube.connection import (
    CONNECT_SECONDS,
    Authenticator,
    ConnectionConfig,
    explain_transport,
    is_stale,
)
from daypass.kube.errors import (
    BrokenResponseError,
    ClusterUnreachableError,
    ForbiddenError,
    NoHttp2Error,
    NotFoundError,
    TooLargeError,
)
from daypass.kube.resources import Resource, kinds_of_group

if TYPE_CHECKING:
    from daypass.kube.http2 import Http2Transport

CONNECTIONS_AT_MOST, WATCH_CONNECTIONS = 50, 47
"""Over HTTP/2. One is for lists, and each kind may have one more for a while."""
STREAMS = 90
"""kube-apiserver allows 100 streams on a connection (`--http2-max-streams-per-connection`)."""
HTTP1_CONNECTIONS_AT_MOST, HTTP1_WATCHES_AT_MOST = 500, 490
"""Where there is no HTTP/2: behind some proxies, and on one machine."""
LIMIT_OBJECTS = 200_000
"""Of one list."""
STEADY_SECONDS = 1.0
"""After a round that ends sooner, the informer waits."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, JITTER = 0.3, 15.0, 0.4
CHECK_EVERY_SECONDS = 1.0
SHORTEST_LIST_SECONDS = 1.0
"""A list has at least this long."""

_NOTHING: Mapping[str, Any] = {}  # always the same one: readers compare by identity

T = TypeVar("T")


class AsyncCluster:
    """A connection to one API server; all methods in one event loop.

    Every method raises the errors of `daypass.kube.errors`. `transport` replaces the network, for
    tests. There are no timeouts but for connecting: callers set them.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.connection = connection
        self.clock = clock
        self._clock_ahead_seconds = 0.0
        authenticator = Authenticator(connection, clock)
        self._transport = _Transport(connection, authenticator, transport)
        self._client = httpx2.AsyncClient(
            base_url=connection.server,
            auth=authenticator,
            headers=authenticator.headers,
            trust_env=False,
            transport=self._transport,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
        )

    @property
    def watches_at_most(self) -> int:
        """How many watches can run at a time, as far as known from the connections so far."""
        return self._transport.watches_at_most

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def server_unix(self) -> float:
        """Return the time by the API server's clock, as far as its last answer tells."""
        return self.clock.unix() - self._clock_ahead_seconds

    async def find_resource(self, group: str, plural: str) -> Resource | None:
        """Return a kind of objects in its preferred version; None if it is not installed.

        While an API server starts, it answers 503 in place of 404
        (k8s.io/apiserver/pkg/util/notfoundhandler).
        """
        what = f"discover {plural}.{group}"
        try:
            served = (await self._get(f"/apis/{group}", what)).document()
            for version in served["versions"]:
                name = str(version["groupVersion"])
                answer = (await self._get(f"/apis/{name}", what)).document()
                for resource in kinds_of_group(name, answer).values():
                    if resource.plural == plural:
                        return resource
        except NotFoundError:  # a group or a version that is being removed
            pass
        except (KeyError, TypeError, AttributeError):
            fact = f"cannot {what}: the response is not a list of kinds"
            raise BrokenResponseError(fact) from None
        return None

    async def list(
        self,
        selection: Selection,
        read: Callable[[Object], T],
        *,
        limit_objects: int = LIMIT_OBJECTS,
    ) -> tuple[list[T], str]:
        """Return what `read` makes of each object, and the resourceVersion from which to watch.

        It is a consistent read, as of when it began or later: without a resourceVersion, the API
        server asks etcd, and answers with an error if it cannot. In Kubernetes 1.30, it lists in
        etcd (k8s.io/apiserver v0.30.0, pkg/storage/cacher/cacher.go, shouldDelegateList). From 1.31
        on, it reads the current revision from etcd, and answers from its cache once that is as
        recent (v0.31.0, cacher.go, GetList; v0.37.2, delegator.go, GetList, and watch_cache.go,
        waitAndListConsistent). The pages after the first are of the same revision.
        """
        what, headers = f"list {selection}", selection.accept(is_list=True)
        pages, found = Pages(selection, self.clock), list[T]()
        while not pages.is_complete:
            try:
                answer = await self._get(selection.path, what, params=pages.params, headers=headers)
                found += map(read, pages.take(answer))
            except TooLargeError as error:
                pages.shrink(error)
            if len(found) > limit_objects:
                fact = f"cannot {what}: there are more than {limit_objects:,} objects"
                raise BrokenResponseError(fact)
        return found, str(pages.metadata["resourceVersion"])

    async def watch(
        self, selection: Selection, since: str, *, timeout_seconds: int
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield the changes of the selected objects from resourceVersion `since` on.

        Pairs of ADDED, MODIFIED or DELETED and the object, until the API server ends the watch
        after `timeout_seconds`. Raises ApiError, with code 410 if `since` is too old.
        """
        what = f"watch {selection}"
        params = {
            "watch": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(timeout_seconds),
            **selection.params,
        }
        # With initial events, Kubernetes 1.37 sends each burst as a gzip member of its own;
        # decoders of one member would stop after the first.
        headers = {"Accept-Encoding": "identity", **selection.accept(is_list=False)}
        began = self.clock.unix()
        try:
            async with self._client.stream(
                "GET", selection.path, params=params, headers=headers
            ) as response:
                self._compare_clocks(began, response)
                if response.status_code >= 300:
                    (await self._read(response, what)).document()
                answer = Answer(response, what, self.connection, self.clock)
                # Without a decoder, which each of thousands of watches would keep.
                async for chunk in response.aiter_raw():
                    for event in answer.events(chunk):
                        yield event
                for event in answer.events(b"\n"):
                    yield event
        except httpx2.RequestError as error:
            raise explain_transport(error, self.connection) from None

    async def _get(self, path: str, what: str, *, again: bool = True, **request: Any) -> Answer:
        began = self.clock.unix()
        try:
            async with self._client.stream("GET", path, **request) as response:
                self._compare_clocks(began, response)
                return await self._read(response, what)
        except httpx2.RequestError as error:
            if again and is_stale(error):
                return await self._get(path, what, again=False, **request)
            raise explain_transport(error, self.connection) from None

    def _compare_clocks(self, began_unix: float, response: httpx2.Response) -> None:
        ahead = clock_ahead_seconds(response, began_unix, self.clock.unix())
        if ahead is not None:
            self._clock_ahead_seconds = ahead

    async def _read(self, response: httpx2.Response, what: str) -> Answer:
        answer = Answer(response, what, self.connection, self.clock)
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
        return answer


class _Transport(httpx2.AsyncBaseTransport):
    """HTTP/2, or HTTP/1.1 as soon as the server wants it.

    Lists have a connection of their own, so that they never wait for watches to end.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        authenticator: Authenticator,
        other: httpx2.AsyncBaseTransport | None,
    ) -> None:
        self._http1 = other or authenticator.transport(
            httpx2.AsyncHTTPTransport, HTTP1_CONNECTIONS_AT_MOST
        )
        self._http2: tuple[Http2Transport, ...] = ()
        is_direct = other is None and config.proxy is None
        if is_direct and config.server.startswith("https:") and find_spec("h2"):
            # Not before: other commands do without it, and without the extra `gate`.
            from daypass.kube.http2 import Http2Transport

            tls = authenticator.context("h2", "http/1.1")
            self._http2 = (
                Http2Transport(tls, connections=1, streams=STREAMS),
                Http2Transport(tls, connections=WATCH_CONNECTIONS, streams=STREAMS),
            )

    @property
    def watches_at_most(self) -> int:
        """How many watches can run at a time."""
        if not self._http2:
            return HTTP1_WATCHES_AT_MOST
        return WATCH_CONNECTIONS * min(each.streams for each in self._http2)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        if self._http2:
            lists, watches = self._http2
            chosen = watches if "watch" in request.url.params else lists
            try:
                return await chosen.handle_async_request(request)
            except NoHttp2Error:
                await self._close_http2()
        return await self._http1.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http1.aclose()
        await self._close_http2()

    async def _close_http2(self) -> None:
        unused, self._http2 = self._http2, ()
        for transport in unused:
            await transport.aclose()


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
