"""Which way a request takes to the door: the address to connect to, a proxy's tunnel, TLS."""

from __future__ import annotations

import os

from daypass._core.errors import UsageError
from daypass._core.tls import BadCertificateAuthorityError, client_context
from daypass.client.door_url import HostPort
from daypass.client.errors import CredentialsError
from daypass.client.http1 import HttpRequest
from daypass.client.token_request import USER_AGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

    from daypass._core.secret import Secret
    from daypass.client.door_url import DoorUrl

_PROXY_SCHEMES = ("https", "socks4", "socks4a", "socks5", "socks5h")


class Proxy:
    """An http:// proxy, and what it is told about who asks."""

    __slots__ = ("address", "login")

    def __init__(self, address: HostPort, login: Secret | None) -> None:
        self.address = address
        self.login = login

    def __repr__(self) -> str:
        return f"Proxy({self.address})"

    def connect_request(self, target: HostPort) -> HttpRequest:
        """The request for a tunnel to `target`."""
        headers = [("Host", str(target)), ("User-Agent", USER_AGENT)]
        if self.login is not None:
            headers.append(("Proxy-Authorization", self.login.reveal()))
        return HttpRequest(method="CONNECT", target=str(target), headers=tuple(headers))


class Route:
    """Where to connect, through which proxy, and the TLS to speak there (None: plain, loopback).

    `has_own_authority`: the credentials name whom to trust; else it is up to the machine.
    """

    __slots__ = ("context", "has_own_authority", "proxy", "target")

    def __init__(
        self,
        *,
        target: HostPort,
        proxy: Proxy | None = None,
        context: SSLContext | None = None,
        has_own_authority: bool = False,
    ) -> None:
        self.target = target
        self.proxy = proxy
        self.context = context
        self.has_own_authority = has_own_authority

    @property
    def first(self) -> HostPort:
        """Whom the connection is made to."""
        return self.target if self.proxy is None else self.proxy.address


def route_to(
    door: DoorUrl, certificate_authority: str | None, environ: Mapping[str, str] | None = None
) -> Route:
    """The way to a door. `environ` (os.environ) may name a proxy.

    Raises CredentialsError for an authority that is no certificate, UsageError for a proxy that
    can't be used.
    """
    return route_to_host(door.address, certificate_authority, environ, tls=door.tls)


def route_to_host(
    address: HostPort,
    certificate_authority: str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    tls: bool,
) -> Route:
    """The same for any host. `tls=False` is for loopback only, which is the caller's to see to."""
    if not tls:
        return Route(target=address)
    try:
        context = client_context(certificate_authority)
    except BadCertificateAuthorityError as error:
        raise CredentialsError(error.fact, error.hint) from None
    context.set_alpn_protocols(["http/1.1"])
    proxy = find_proxy(address, os.environ if environ is None else environ)
    return Route(
        target=address,
        proxy=proxy,
        context=context,
        has_own_authority=certificate_authority is not None,
    )


def find_proxy(target: HostPort, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that HTTPS_PROXY names, unless NO_PROXY excludes the target or it is loopback.

    Read as urllib.request reads them, whose import would cost more than the exchange: a variable
    in lower case counts more, and an empty one switches the proxy off.
    """
    url = environ.get("https_proxy", environ.get("HTTPS_PROXY", ""))
    excluded = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    if not url or target.is_loopback or is_excluded(target, excluded):
        return None
    return parse_proxy(url)


def is_excluded(target: HostPort, no_proxy: str) -> bool:
    """Whether NO_PROXY lists a host: by its name, its domain or its `host:port`, or all by `*`."""
    if no_proxy == "*":
        return True
    forms = (target.host, f"{target.host}:{target.port}", str(target))
    for entry in no_proxy.split(","):
        name = entry.strip().lstrip(".").lower()
        if name and any(form == name or form.endswith(f".{name}") for form in forms):
            return True
    return False


def parse_proxy(url: str) -> Proxy:
    """A proxy's URL, a bare `host:port` included; raises UsageError, which never quotes a login."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        scheme, rest = "http", url.strip()
    if scheme.lower() != "http":
        kind = scheme.lower() if scheme.lower() in _PROXY_SCHEMES else "something else than http"
        raise UsageError(
            f"HTTPS_PROXY names a proxy that speaks {kind}",
            "only http:// proxies are supported: they see a tunnel, not what goes through it",
        )
    userinfo, at, authority = rest.rstrip("/").rpartition("@")
    address = HostPort.parse(authority, default_port=80)
    if address is None:
        raise UsageError("HTTPS_PROXY names no host and port", "it looks like http://proxy:3128")
    return Proxy(address, _basic(userinfo) if at else None)


def _basic(userinfo: str) -> Secret:
    import binascii
    from urllib.parse import unquote_to_bytes

    from daypass._core.secret import Secret

    user, _, password = userinfo.partition(":")
    login = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return Secret("Basic " + binascii.b2a_base64(login, newline=False).decode("ascii"))
