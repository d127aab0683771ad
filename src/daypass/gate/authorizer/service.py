"""The authorizer's own certificate, followed when it is renewed.

The authorizer as a service in one event loop: listener, reviews, health.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.tls import server_context
from daypass.config import Config, Gate
from daypass.config.exposure import bracketed
from daypass.gate.authorizer.authorizer import Authorizer
from daypass.gate.authorizer.decision_cache import AuthzResponses
from daypass.gate.authorizer.http_server import STALLED_SECONDS, HttpTransport
from daypass.gate.authorizer.metrics import AuditLog, Metrics, counter, gauge
from daypass.gate.authorizer.review_workers import ReviewWorkers
from daypass.gate.authorizer.token_reviews import ApiServerReviews
from daypass.gate.decision import Rules
from daypass.kube.connection import ConnectionConfig
from daypass.render.envoy.filters import RevocationSnapshot


class CertificateFilesError(DaypassError):
    """A certificate and its key that cannot be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """PEM files: the chain, and its key."""

    certificate: str
    key: str


class ReloadingCertificate:
    """A context for a server. `look` loads the files anew where they have changed.

    Raises CertificateFilesError for files that cannot be shown to begin with; later on the old pair
    stays in use, and `trouble` says why.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._seen = self._signature()
        self.trouble = ""
        try:
            self.context = server_context(files.certificate, files.key)
        except (OSError, ValueError) as error:
            raise CertificateFilesError(
                f"{files.certificate} and {files.key} cannot be shown: {_words(error)}",
                "both are PEM files: a certificate, and its key without a password",
            ) from None

    def look(self) -> None:
        """Take what is new."""
        seen = self._signature()
        if seen == self._seen:
            return
        try:
            # Into another context first: half a pair would otherwise stay in the one that is used.
            server_context(self._files.certificate, self._files.key)
            self.context.load_cert_chain(self._files.certificate, self._files.key, password="")
        except (OSError, ValueError) as error:
            self.trouble = f"the new certificate is not taken: {_words(error)}"
            return
        self._seen, self.trouble = seen, ""

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stamp(path) for path in (self._files.certificate, self._files.key))


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "they are no pair"
    return getattr(error, "strerror", None) or "they are no pair"


BACKLOG = 1024
HANDSHAKE_SECONDS = 10.0
LEAST_READY_SECONDS = 30.0
CERTIFICATE_EVERY_SECONDS = 5.0


class ListenError(DaypassError):
    """Where the authorizer should listen, it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen: a host and a port (0: any free one), or a Unix socket.

    `files`: the certificate to show; None for a socket that nobody else reaches.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    files: CertificateFiles | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{bracketed(self.host or '*')}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """What the authorizer needs to know of a gate."""

    rules: Rules
    audience: str
    user_header: str
    groups_header: str
    forward_token: bool
    remember_seconds: float

    @classmethod
    def of(
        cls, config: Config, gate: Gate, *, issuer: str, longest_lifetime_seconds: int
    ) -> ReviewSettings:
        """Those of a config. `issuer`: the `iss` of the cluster's short-lived tokens."""
        return cls(
            rules=Rules(
                hosts=frozenset(gate.hosts),
                issuer=issuer,
                audience=gate.audience,
                longest_lifetime_seconds=longest_lifetime_seconds,
                require_bound=gate.require_bound,
            ),
            audience=gate.audience,
            user_header=gate.headers.user,
            groups_header=gate.headers.groups,
            forward_token=gate.forward_token,
            remember_seconds=float(gate.remember_seconds),
        )


class Service:
    """`start`, then serve until `stop`; all of it in one event loop.

    `write`: takes audit events, a line each. `needs_list`: it is not ready before `take_revoked`
    was called. Raises KubeconfigError.
    """

    def __init__(
        self,
        settings: ReviewSettings,
        access: ConnectionConfig,
        clock: Clock,
        write: Callable[[str], None],
        *,
        needs_list: bool,
    ) -> None:
        self._clock = clock
        self._needs_list = needs_list
        self._ready_seconds = max(LEAST_READY_SECONDS, settings.remember_seconds)
        self.metrics = Metrics()
        self._audit = AuditLog(write, clock)
        answers = AuthzResponses(
            audience=settings.audience,
            user_header=settings.user_header,
            groups_header=settings.groups_header,
            forward_token=settings.forward_token,
        )
        self.authorizer = Authorizer(
            settings.rules,
            answers,
            clock,
            remember_seconds=settings.remember_seconds,
            metrics=self.metrics,
            audit=self._audit,
        )
        self.authorizer.is_closed = needs_list  # until there is one
        self._api_server = ApiServerReviews(access, settings.audience, clock)
        self.reviewing = ReviewWorkers(self.authorizer, self._api_server.ask, self._audit, clock)
        self.transport = HttpTransport(self.authorizer, self.reviewing.pump)
        self._server: asyncio.Server | None = None
        self._certificate: ReloadingCertificate | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._is_draining = False

    async def start(self, listen: Listen) -> int:
        """Listen; the port, or 0 for a Unix socket. Raises ListenError, CertificateFilesError."""
        await self.reviewing.start()
        if listen.files is not None:
            self._certificate = ReloadingCertificate(listen.files)
        context = None if self._certificate is None else self._certificate.context
        loop = asyncio.get_running_loop()
        try:
            if listen.path:
                self._server = await loop.create_unix_server(
                    self.transport.factory,
                    listen.path,
                    ssl=context,
                    backlog=BACKLOG,
                    ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
                )
            else:
                self._server = await loop.create_server(
                    self.transport.factory,
                    listen.host,
                    listen.port,
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
        self._chores = [
            asyncio.create_task(_every(STALLED_SECONDS, self.transport.close_stalled)),
            asyncio.create_task(_every(CERTIFICATE_EVERY_SECONDS, self._look_at_certificate)),
        ]
        address = self._server.sockets[0].getsockname()
        return 0 if listen.path else int(address[1])

    @property
    def trouble(self) -> str:
        """What does not work right now, in words."""
        own = "" if self._certificate is None else self._certificate.trouble
        return "\n".join(line for line in (self.reviewing.trouble, own) if line)

    def take_revoked(self, revoked: RevocationSnapshot) -> None:
        """Refuse from now on what is on this list; in the event loop's own thread."""
        self.authorizer.take_revoked(revoked)

    def is_alive(self) -> bool:
        """Whether it does its work, or has not yet begun; otherwise only a new start helps."""
        return self._server is None or self.reviewing.is_alive

    def not_ready(self) -> str:
        """Why no request should be sent here, or ""."""
        if self._is_draining:
            return "it is ending"
        if self._needs_list and self.metrics.revoked_at is None:
            return "what is revoked is not known yet"
        heard = self.reviewing.heard_at
        if heard is None or self._clock.monotonic() - heard > self._ready_seconds:
            return self.reviewing.trouble or "the API server has not answered yet"
        return ""

    def metric_lines(self) -> Iterator[str]:
        """All metrics, a line each."""
        flights, memory = self.authorizer.flights, self.authorizer.memory
        yield from self.metrics.lines()
        yield from gauge("cache_entries", "Tokens that are remembered.", len(memory))
        yield from gauge("cache_bytes", "About how much memory they take.", memory.size_bytes)
        yield from gauge("reviews_in_flight", "TokenReviews on their way.", flights.asked)
        yield from gauge("reviews_waiting", "Tokens that wait for their review.", flights.waiting)
        yield from counter("shed_total", "Requests that were turned away.", flights.turned_away)
        yield from gauge("connections", "Open connections.", len(self.transport.connections))
        yield from gauge("denied_entries", "Names on the list of the revoked.", self.metrics.denied)
        yield from gauge("closed", "Whether every token is refused.", self.authorizer.is_closed)
        yield from counter(
            "events_suppressed_total", "Audit events beyond the limit.", self._audit.suppressed
        )
        if self.metrics.revoked_at is not None:
            age = self._clock.monotonic() - self.metrics.revoked_at
            yield from gauge("denied_age_seconds", "Since the list was last told.", age)
        if self.reviewing.heard_at is not None:
            age = self._clock.monotonic() - self.reviewing.heard_at
            yield from gauge("api_server_age_seconds", "Since the API server answered.", age)

    async def drain(self, seconds: float) -> None:
        """Say that it is not ready, and go on for a while; every answer ends its connection."""
        self._is_draining = True
        self.transport.drain()
        await asyncio.sleep(seconds)

    async def stop(self) -> None:
        """End it."""
        for chore in self._chores:
            chore.cancel()
        if self._server is not None:
            self._server.close()
        await self.reviewing.stop()
        self.transport.close()
        self._api_server.close()

    def _look_at_certificate(self) -> None:
        if self._certificate is not None:
            self._certificate.look()


async def _every(seconds: float, work: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        work()
