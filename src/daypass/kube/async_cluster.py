"""Lists and watches at one API server, in an event loop: many at a time, on few connections.

Over HTTP/2 if the API server speaks it. By a proxy, without TLS, and at servers that speak only
HTTP/1.1, each request has a connection of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.kubernetes.objects import Object
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
