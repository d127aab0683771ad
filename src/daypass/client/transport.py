"""One HTTP request on a connection of its own: name, proxy, TLS, request, response, one deadline.

Sockets and not http.client: a cold `daypass token` has to be as fast as `kubectl create token`,
and the import of http.client, which loads the email package, doubles its time.
"""

from __future__ import annotations

import os
import socket
import threading
import time

from daypass._core.clock import SYSTEM_CLOCK, random_fraction
from daypass._core.errors import UsageError
from daypass._core.net import HostPort, proxy_for
from daypass._core.record import Record
from daypass._core.tls import BadCertificateAuthorityError, client_context
from daypass.client.errors import CredentialsError
from daypass.client.http1 import (
    USER_AGENT,
    HttpRequest,
    MalformedResponseError,
    TruncatedResponseError,
    read_response,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext
    from typing import Any, TypeAlias

    from daypass._core.clock import Clock
    from daypass._core.secret import Secret
    from daypass.client.http1 import HttpResponse

    Addresses: TypeAlias = list[tuple[Any, Any, int, str, Any]]
    Send: TypeAlias = Callable[["Route", HttpRequest, "Deadline"], HttpResponse]
    """`send`, or another way to get a response; raises TransportError."""


RESOLVE, CONNECT, PROXY, TLS, ANSWER = "resolve", "connect", "proxy", "tls", "answer"
_READ_BYTES = 64 * 1024
EXCHANGE_SECONDS = 30.0
"""The deadline of a whole exchange: DNS, connection, TLS, response, and all retries."""


class Proxy(Record):
    """An http:// proxy. `login`: the value of Proxy-Authorization, or None."""

    address: HostPort
    login: Secret | None

    def connect_request(self, target: HostPort) -> HttpRequest:
        """Return the request for a tunnel to `target`."""
        headers = [("Host", str(target)), ("User-Agent", USER_AGENT)]
        if self.login is not None:
            headers.append(("Proxy-Authorization", self.login.reveal()))
        return HttpRequest(method="CONNECT", target=str(target), headers=tuple(headers))

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Return the proxy of a URL; raises UsageError, which contains no login."""
        scheme, _, rest = url.partition("://")
        userinfo, at, authority = rest.rstrip("/").rpartition("@")
        address = HostPort.parse(authority, default_port=80)
        if scheme.lower() != "http" or address is None:
            raise UsageError(
                "HTTPS_PROXY is not the URL of an http proxy",
                "it looks like http://proxy:3128; no other protocol is supported",
                reason="invalid-proxy",
            )
        return cls(address=address, login=_basic(userinfo) if at else None)


def _basic(userinfo: str) -> Secret:
    import binascii
    from urllib.parse import unquote_to_bytes

    from daypass._core.secret import Secret

    user, _, password = userinfo.partition(":")
    login = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return Secret("Basic " + binascii.b2a_base64(login, newline=False).decode("ascii"))


class Route(Record):
    """Where to connect, through which proxy, and the TLS context (None: plain, loopback only)."""

    target: HostPort
    proxy: Proxy | None = None
    context: SSLContext | None = None

    @property
    def first(self) -> HostPort:
        """The host that the connection is made to."""
        return self.target if self.proxy is None else self.proxy.address


def route_to(
    address: HostPort,
    certificate_authority: str | None = None,
    *,
    tls: bool,
) -> Route:
    """Return the route to a host. `tls=False`: plain http, without a proxy and without secrets,
    except over loopback.

    `certificate_authority` is PEM, or None for those of this machine. The environment may name
    a proxy. Raises CredentialsError for an invalid certificate authority, UsageError for a
    proxy that can't be used.
    """
    if not tls:
        return Route(target=address)
    try:
        context = client_context(certificate_authority)
    except BadCertificateAuthorityError as error:
        hint = "certificateAuthority in the credentials takes the text of such a file"
        raise CredentialsError(error.fact, hint, reason="invalid-certificate-authority") from None
    context.set_alpn_protocols(["http/1.1"])
    proxy = proxy_for(address, os.environ)
    return Route(
        target=address,
        proxy=None if proxy is None else Proxy.parse(proxy),
        context=context,
    )


class Deadline:
    """The moment at which an exchange has to be over, however many steps it takes."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock = clock
        self._ends = clock.monotonic() + seconds

    def seconds_left(self) -> float:
        """Return the seconds until then; 0 or less after it."""
        return self._ends - self.clock.monotonic()

    def remaining(self) -> float:
        """Return the seconds until then; raises TimeoutError after it."""
        left = self.seconds_left()
        if left <= 0:
            raise TimeoutError
        return left


class Timing(Record):
    """Everything about time that an exchange needs.

    `jitter` returns a random number from 0 up to 1. `start` runs a function on a daemon thread with
    this name; it raises RuntimeError if no thread can be started. `exchange_seconds` is the
    deadline of an exchange.
    """

    clock: Clock
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    start: Callable[[str, Callable[[], None]], None]
    exchange_seconds: float = EXCHANGE_SECONDS


def _start_daemon(name: str, work: Callable[[], None]) -> None:
    # A daemon: the interpreter does not wait for it. It ends at the deadline at the latest.
    threading.Thread(target=work, name=name, daemon=True).start()


SYSTEM_TIMING = Timing(
    clock=SYSTEM_CLOCK, sleep=time.sleep, jitter=random_fraction, start=_start_daemon
)


class ProxyResponseError(Exception):
    """The proxy refused a CONNECT, with this `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TransportError(Exception):
    """There was no response. `stage`: how far the attempt got; the cause is the error there."""

    def __init__(self, stage: str, route: Route) -> None:
        super().__init__(stage)
        self.stage = stage
        self.route = route


def send(
    route: Route, request: HttpRequest, deadline: Deadline, *, needs_body: bool = True
) -> HttpResponse:
    """Send a request on a new connection and return the response; raises TransportError.

    Every wait is limited by the deadline, so neither a silent server nor one that sends a byte at
    a time delays the caller for longer. `needs_body=False`: the body of a 2xx is not read.
    """
    stage, connection = RESOLVE, None
    try:
        addresses = resolve(route.first, deadline.remaining())
        stage = CONNECT
        connection = _connect(addresses, deadline)
        if route.proxy is not None:
            stage = PROXY
            _open_tunnel(connection, route.proxy.connect_request(route.target), deadline)
        if route.context is not None:
            stage = TLS
            connection.settimeout(deadline.remaining())
            connection = route.context.wrap_socket(
                connection,
                # As bytes: text is passed through the `idna` codec, which costs 4 ms.
                server_hostname=route.target.host.encode("ascii"),
            )
        stage = ANSWER
        return _request(connection, request, deadline, to_connect=not needs_body)[0]
    except (OSError, MalformedResponseError, TruncatedResponseError, ProxyResponseError) as error:
        raise TransportError(stage, route) from error
    finally:
        if connection is not None:
            connection.close()


def _connect(addresses: Addresses, deadline: Deadline) -> socket.socket:
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            # An address that drops packets must leave time for the ones after it.
            connection.settimeout(deadline.remaining() / (len(addresses) - position))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError:
            connection.close()
            if position + 1 == len(addresses):
                raise
        except BaseException:
            connection.close()
            raise
    raise socket.gaierror(socket.EAI_NONAME, "no address")


def _open_tunnel(connection: socket.socket, request: HttpRequest, deadline: Deadline) -> None:
    response, leftover = _request(connection, request, deadline, to_connect=True)
    if not 200 <= response.status < 300:
        raise ProxyResponseError(response.status)
    if leftover:
        raise MalformedResponseError("data follows the response to CONNECT")


def _request(
    connection: socket.socket,
    request: HttpRequest,
    deadline: Deadline,
    *,
    to_connect: bool = False,
) -> tuple[HttpResponse, bytes]:
    def receive() -> bytes:
        connection.settimeout(deadline.remaining())
        return connection.recv(_READ_BYTES)

    connection.settimeout(deadline.remaining())
    connection.sendall(request.encode())
    return read_response(receive, to_connect=to_connect)


def resolve(address: HostPort, timeout_seconds: float) -> Addresses:
    """Return the addresses of a host; raises OSError, and TimeoutError after `timeout_seconds`.

    `getaddrinfo` has no timeout and can't be interrupted. So a name is resolved on a daemon
    thread: a resolver that hangs delays neither the caller nor the end of the program.
    """
    outcome: list[Addresses | OSError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            # As bytes: text is passed through the `idna` codec, which costs 4 ms.
            host = address.host.encode("ascii")
            outcome.append(socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM))
        except OSError as error:
            outcome.append(error)
        done.set()

    if ":" in address.host or address.host.replace(".", "").isdigit():
        look_up()  # an IP address
    else:
        try:
            threading.Thread(target=look_up, name="daypass-resolve", daemon=True).start()
        except RuntimeError:  # the interpreter is exiting, or there are too many threads
            look_up()
    if not done.wait(timeout_seconds):
        raise TimeoutError
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]
