"""Lists and watches at one API server, in an event loop: many at a time, on few connections.

Over HTTP/2 if the API server speaks it. By a proxy, without TLS, and at servers that speak only
HTTP/1.1, each request has a connection of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass.kube.answers import (
    LIMIT_PAGE_BYTES,
    METADATA,
    Body,
    Events,
    Pages,
    parse_object,
    selection,
    sent_secrets,
)
from daypass.kube.connection import (
    Authenticator,
    ConnectionConfig,
    checked_proxy,
    explain_transport,
    is_stale,
)
from daypass.kube.errors import BrokenResponseError, NoHttp2Error, explain
from daypass.kube.resources import Object, Resource

if TYPE_CHECKING:
    from daypass.kube.http2 import Http2Transport

CONNECTIONS_AT_MOST = 50
HTTP1_CONNECTIONS_AT_MOST = 500
"""One for each watch: of the embedded API server of `daypass up`, and behind some proxies."""
WATCH_CONNECTIONS = CONNECTIONS_AT_MOST - 3
"""Over HTTP/2. One is for lists, and each kind may have one more for a while."""
STREAMS = 90
"""kube-apiserver allows 100 streams on a connection (`--http2-max-streams-per-connection`)."""
SPARE = 2
"""Connections over HTTP/1.1 that no watch takes."""
LIMIT_OBJECTS = 200_000
"""Of one list."""
CONNECT_SECONDS = 10.0
IS_WATCH = "daypass.is_watch"
"""Of a request, for its transport."""

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
        self._transport: _Transport | None = None
        authenticator = Authenticator(connection, clock)
        if transport is None:
            transport = self._transport = _Transport(connection, authenticator)
        self._client = httpx2.AsyncClient(
            base_url=connection.server,
            auth=authenticator.auth,
            headers=authenticator.headers,
            trust_env=False,
            transport=transport,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
        )

    @property
    def watches_at_most(self) -> int:
        """How many watches can run at a time, as far as known from the connections so far."""
        return (
            HTTP1_CONNECTIONS_AT_MOST
            if self._transport is None
            else self._transport.watches_at_most
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        read: Callable[[Object], T],
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
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
        what = f"list {resource.plural}" + (f" in {namespace}" if namespace else "")
        headers = {"Accept": METADATA.format("List")} if metadata_only else {}
        params = selection(labels, fields)
        found: list[T] = []
        pages = Pages()
        while True:
            page = {**params, **pages.params}
            try:
                answer, size = await self._get(resource.path(namespace), page, headers, what)
            except BrokenResponseError as error:
                pages.shrink(error)
                continue
            found += map(read, answer.get("items") or ())
            if len(found) > limit_objects:
                fact = f"cannot {what}: there are more than {limit_objects:,} objects"
                raise BrokenResponseError(fact)
            if not pages.has_next(answer, is_small=size < LIMIT_PAGE_BYTES // 4):
                return found, str(answer["metadata"]["resourceVersion"])

    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        since: str,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
        timeout_seconds: int,
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield the changes of the objects of a kind from resourceVersion `since` on.

        Pairs of ADDED, MODIFIED or DELETED and the object, until the API server ends the watch
        after `timeout_seconds`. Raises ApiError, with code 410 if `since` is too old.
        """
        what = f"watch {resource.plural}" + (f" in {namespace}" if namespace else "")
        params = {
            "watch": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(timeout_seconds),
            **selection(labels, fields),
        }
        # With initial events, Kubernetes 1.37 sends each burst as a gzip member of its own;
        # decoders of one member would stop after the first.
        headers = {"Accept-Encoding": "identity"}
        if metadata_only:
            headers["Accept"] = METADATA.format("")
        request = self._request(resource.path(namespace), params, headers, is_watch=True)
        with self._errors(request):
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code >= 300:
                    body = await self._body(response)
                    secrets = sent_secrets(request, self.connection)
                    raise explain(response.status_code, body, what, *secrets)
                events = Events(self.connection, request, what)
                async for chunk in response.aiter_bytes():
                    for event in events.add(chunk):
                        yield event
                for event in events.end():
                    yield event
            finally:
                await response.aclose()

    async def _get(
        self, path: str, params: Mapping[str, str], headers: Mapping[str, str], what: str,
        *, again: bool = True,
    ) -> tuple[Object, int]:  # fmt: skip
        """Return an object, and how many bytes it had."""
        request = self._request(path, params, headers, is_watch=False)
        with self._errors(request):
            try:
                response = await self._client.send(request, stream=True)
                try:
                    body = await self._body(response)
                finally:
                    await response.aclose()
            except httpx2.TransportError as error:
                if not (again and is_stale(error, "GET")):
                    raise
                return await self._get(path, params, headers, what, again=False)
        if response.status_code >= 300:
            secrets = sent_secrets(request, self.connection)
            raise explain(response.status_code, body, what, *secrets)
        return parse_object(body, request, self.connection), len(body)

    def _request(
        self, path: str, params: Mapping[str, str], headers: Mapping[str, str], *, is_watch: bool
    ) -> httpx2.Request:
        name = self.connection.tls_server_name
        extensions = {IS_WATCH: is_watch, **({"sni_hostname": name} if name else {})}
        return self._client.build_request(
            "GET", path, params=params, headers=headers, extensions=extensions
        )

    async def _body(self, response: httpx2.Response) -> bytes:
        body = Body(response.request.url.host, self.clock, LIMIT_PAGE_BYTES)
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                body.add(chunk)
        return body.content()

    @contextmanager
    def _errors(self, request: httpx2.Request) -> Iterator[None]:
        try:
            yield
        except httpx2.DecodingError:
            raise BrokenResponseError(f"{self.connection.server} sent invalid gzip") from None
        except httpx2.TransportError as error:
            secrets = sent_secrets(request, self.connection)
            raise explain_transport(error, self.connection.server, *secrets) from None


class _Transport(httpx2.AsyncBaseTransport):
    """HTTP/2, or HTTP/1.1 as soon as the server wants it.

    Lists have a connection of their own, so that they never wait for watches to end.
    """

    def __init__(self, config: ConnectionConfig, authenticator: Authenticator) -> None:
        limits = httpx2.Limits(
            max_connections=HTTP1_CONNECTIONS_AT_MOST, max_keepalive_connections=16
        )
        with checked_proxy(config):
            self._http1 = httpx2.AsyncHTTPTransport(
                verify=authenticator.tls, proxy=config.proxy, limits=limits, trust_env=False
            )
        self._http2: tuple[Http2Transport, Http2Transport] | None = None
        if config.proxy is None and config.server.startswith("https:") and find_spec("h2"):
            # Not before: other commands do without it, and without the extra `gate`.
            from daypass.kube.http2 import Http2Transport

            tls, name = authenticator.context("h2", "http/1.1"), config.tls_server_name
            self._http2 = (
                Http2Transport(tls, name, connections=1, streams=STREAMS),
                Http2Transport(tls, name, connections=WATCH_CONNECTIONS, streams=STREAMS),
            )

    @property
    def watches_at_most(self) -> int:
        """How many watches can run at a time."""
        if self._http2 is None:
            return HTTP1_CONNECTIONS_AT_MOST - SPARE
        return WATCH_CONNECTIONS * min(each.streams for each in self._http2)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        if self._http2 is not None:
            try:
                return await self._http2[request.extensions[IS_WATCH]].handle_async_request(request)
            except NoHttp2Error:
                await self._close_http2()
        return await self._http1.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http1.aclose()
        await self._close_http2()

    async def _close_http2(self) -> None:
        unused, self._http2 = self._http2 or (), None
        for transport in unused:
            await transport.aclose()
