"""The authorizer as a service in one event loop: its listener, certificate, health and metrics."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from cryptography import x509
from prometheus_client.core import Metric

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.files import fingerprint
from daypass._core.net import bracketed
from daypass._core.server import Routes, health_routes
from daypass._core.tls import server_context
from daypass.gate.authorizer.api_server import ApiServerClient
from daypass.gate.authorizer.audit_log import AuditLog
from daypass.gate.authorizer.authorizer import Authorizer
from daypass.gate.authorizer.followers import ModelFollower
from daypass.gate.authorizer.http_server import STALLED_SECONDS, HttpConnection, HttpTransport
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.metrics import counter, exposition, gate_families, gauge
from daypass.gate.signing_keys import TokenVerifier
from daypass.kube.connection import ConnectionConfig
from daypass.rules.published import Published

BACKLOG = 1024
TICK_SECONDS = 0.05
HANDSHAKE_SECONDS = 10.0
LEAST_READY_SECONDS = 30.0
CERTIFICATE_EVERY_SECONDS = 5.0


class ListenError(DaypassError):
    """The authorizer can't listen at its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen: a host and a port (0: any free one), or the path of a Unix socket.

    `certificate`: None for plain HTTP.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    certificate: ReloadingCertificate | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{bracketed(self.host or '*')}:{self.port}"


class CertificateFilesError(DaypassError):
    """A certificate and its key that cannot be used."""


class ReloadingCertificate:
    """A TLS context for a server, from PEM files: the certificate chain, and its key. `reload`
    loads them again if they have changed. `expires_unix`: when the one in use expires.

    Raises CertificateFilesError if they can't be used at the beginning; later on the old pair stays
    in use, and `last_error` has the error.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._files = certificate, key
        self._seen = self._fingerprints()
        self.last_error = ""
        try:
            self.context = server_context(certificate, key)
            self.expires_unix = self._expires_unix()
        except (OSError, ValueError) as error:
            raise CertificateFilesError(
                f"{certificate} and {key} cannot be used: {_words(error)}",
                "both are PEM files: a certificate, and its key without a password",
            ) from None

    def reload(self) -> None:
        """Load a new pair."""
        seen = self._fingerprints()
        if seen == self._seen:
            return
        try:
            # Try another context first: a pair that does not match would break the one in use.
            server_context(*self._files)
            self.context.load_cert_chain(*self._files, password="")
            self.expires_unix = self._expires_unix()
        except (OSError, ValueError) as error:
            self.last_error = f"the new certificate is not used: {_words(error)}"
            return
        self._seen, self.last_error = seen, ""

    def _expires_unix(self) -> float:
        chain = x509.load_pem_x509_certificates(Path(self._files[0]).read_bytes())
        return chain[0].not_valid_after_utc.timestamp()

    def _fingerprints(self) -> list[str]:
        return list(map(fingerprint, self._files))


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "they do not belong together"
    return getattr(error, "strerror", None) or "they do not belong together"


class Service:
    """Serves inside `serving`, in one event loop.

    `write` gets audit events, one line each. `checks_credentials`: a token passes only if its
    credential is published; not ready until the first call of `authorizer.take_published`.
    `verifier`: for gates whose proxy has not verified the tokens. `close_after_seconds`: how long
    it counts which models existed. Raises KubeconfigError.
    """

    def __init__(
        self,
        gates: Sequence[ServedGate],
        connection: ConnectionConfig,
        clock: Clock,
        write: Callable[[str], None],
        *,
        checks_credentials: bool,
        verifier: TokenVerifier | None,
        close_after_seconds: float,
    ) -> None:
        self._clock = clock
        self._verifier = verifier
        remembered = max(gate.cache_ttl_seconds for gate in gates)
        self._ready_seconds = max(LEAST_READY_SECONDS, remembered)
        self._audit = AuditLog(write, clock)
        self._client = ApiServerClient(connection, clock)
        for gate in gates:
            published = Published.closed(1) if checks_credentials else None
            gate.rules = replace(gate.rules, published=published)
        self.authorizer = Authorizer(
            gates,
            self._client.review_token,
            self._client.review_access,
            clock,
            audit=self._audit,
            verifier=verifier,
        )
        self._models = ModelFollower(
            connection,
            frozenset(chain(*(gate.destinations.resources for gate in gates))),
            self.authorizer.take_models,
            clock,
            valid_seconds=close_after_seconds,
        )
        self.http = HttpTransport(self.authorizer)
        self._server: asyncio.Server | None = None
        self._background: list[asyncio.Task[None]] = []
        self._ticked_at = 0.0
        self.certificate: ReloadingCertificate | None = None

    @asynccontextmanager
    async def serving(self, listen: Listen) -> AsyncIterator[int]:
        """Serve inside the block, at this port; 0 for a Unix socket.

        Raises ListenError.
        """
        try:
            await self.authorizer.probe()
            self._server = await self._listen(listen)
            if self._verifier is not None:
                self._verifier.start()
            self._ticked_at = self._clock.monotonic()
            works = [
                _every(TICK_SECONDS, self._tick),
                _every(STALLED_SECONDS, self.http.close_stalled),
                self._models.run(),
            ]
            if self.certificate is not None:
                works.append(_every(CERTIFICATE_EVERY_SECONDS, self.certificate.reload))
            self._background = [asyncio.create_task(each) for each in works]
            yield 0 if listen.path else int(self._server.sockets[0].getsockname()[1])
        finally:
            for task in self._background:
                task.cancel()
            if self._verifier is not None:
                self._verifier.stop()
            if self._server is not None:
                self._server.close()
            self.http.close()  # so that no request begins a review any more
            await self.authorizer.stop()
            self._client.close()
            await asyncio.gather(*self._background, return_exceptions=True)

    async def _listen(self, listen: Listen) -> asyncio.Server:
        self.certificate = listen.certificate
        context = None if self.certificate is None else self.certificate.context
        loop = asyncio.get_running_loop()
        create = (
            partial(loop.create_unix_server, path=listen.path)
            if listen.path
            else partial(loop.create_server, host=listen.host, port=listen.port)
        )
        try:
            return await create(
                partial(HttpConnection, self.http),
                ssl=context,
                backlog=BACKLOG,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
            )
        except OSError as error:
            raise ListenError(
                f"it cannot listen at {listen}: {error.strerror or error}",
                "the path of a socket has at most 107 bytes: TMPDIR may name a shorter folder"
                if listen.path
                else "",
            ) from None

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        own = "" if self.certificate is None else self.certificate.last_error
        keys = "" if self._verifier is None else self._verifier.last_error
        reviews = (self.authorizer.tokens.last_error, self.authorizer.accesses.last_error)
        lines = (*reviews, self._models.last_error, keys, own)
        return "\n".join(filter(None, lines))

    def is_alive(self) -> bool:
        """Whether it works, or has not started yet; otherwise only a restart helps."""
        return self._server is None or not any(task.done() for task in self._background)

    def why_not_ready(self) -> str:
        """Why it should get no requests, or ""."""
        if self.http.is_draining:
            return "it is shutting down"
        authorizer = self.authorizer
        if authorizer.published is not None and authorizer.published_at is None:
            return "what the watch publishes has not been read yet"
        if not self._models.are_listed:
            return self._models.last_error or "the models have not been listed yet"
        if self._verifier is not None and not self._verifier.are_known:
            return self._verifier.last_error
        heard = authorizer.tokens.heard_at
        if heard is None or self._clock.monotonic() - heard > self._ready_seconds:
            return authorizer.tokens.last_error or "the API server has not answered yet"
        return ""

    @property
    def routes(self) -> Routes:
        """`/healthz`, `/readyz` and `/metrics`, for a StatusServer on another thread."""
        return health_routes(
            metrics=lambda: exposition(self),
            why_not_ready=self.why_not_ready,
            why_not_alive=self._why_not_alive,
        )

    def collect(self) -> Iterator[Metric]:
        """Return all metrics for Prometheus."""
        authorizer, now = self.authorizer, self._clock.monotonic()
        queues = (authorizer.tokens.queue, authorizer.accesses.queue)
        in_flight = sum(each.in_flight for each in queues)
        waiting = sum(each.waiting for each in queues)
        rejected = sum(each.rejected for each in queues)
        yield from gate_families({gate.name: gate.metrics for gate in authorizer.gates})
        yield gauge("cache_entries", "Cached decisions.", len(authorizer.cache))
        yield gauge("reviews_in_flight", "Reviews of both kinds in flight.", in_flight)
        yield gauge("reviews_waiting", "Reviews of both kinds that wait.", waiting)
        yield counter("requests_rejected", "Requests rejected without a review.", rejected)
        yield gauge("connections", "Open connections.", len(self.http.connections))
        if (published := authorizer.published) is not None:
            count, denials = published.count, len(published.denials)
            yield gauge("credentials", "Credentials in the published set.", count)
            yield gauge("denials", "Denials by hand that are published.", denials)
            closed = len(authorizer.closed)
            yield gauge("closed_shards", "Shards of the set whose tokens are refused.", closed)
        if authorizer.tokens.heard_at is not None:
            age = now - authorizer.tokens.heard_at
            yield gauge("api_server_age_seconds", "Time since the API server answered.", age)
        if self.certificate is not None:
            name, text = "certificate_expiration_timestamp_seconds", "When its certificate expires."
            yield gauge(name, text, self.certificate.expires_unix)

    def _why_not_alive(self) -> str:
        age = 0.0 if self._server is None else self._clock.monotonic() - self._ticked_at
        is_stalled = age > STALLED_SECONDS
        return "" if self.is_alive() and not is_stalled else "its event loop is stuck"

    def _tick(self) -> None:
        self._ticked_at = self._clock.monotonic()
        self.authorizer.tick()
        if self.authorizer.needs_probe():
            self.authorizer.probe()

    async def drain(self, seconds: float) -> None:
        """Report not ready and serve for a while; each response closes its connection."""
        self.http.is_draining = True
        await asyncio.sleep(seconds)


async def _every(seconds: float, work: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        work()
