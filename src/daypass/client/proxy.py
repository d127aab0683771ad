"""The HTTP proxy through which a door is reached."""

from __future__ import annotations

from daypass._core.errors import UsageError
from daypass._core.net import HostPort
from daypass._core.proxy import proxy_for
from daypass.client.http1 import USER_AGENT, HttpRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass._core.secret import Secret

_OTHER_SCHEMES = ("https", "socks4", "socks4a", "socks5", "socks5h")


class Proxy:
    """An http:// proxy. `login`: the value of Proxy-Authorization, or None."""

    __slots__ = ("address", "login")

    def __init__(self, address: HostPort, login: Secret | None) -> None:
        self.address = address
        self.login = login

    def connect_request(self, target: HostPort) -> HttpRequest:
        """Return the request for a tunnel to `target`."""
        headers = [("Host", str(target)), ("User-Agent", USER_AGENT)]
        if self.login is not None:
            headers.append(("Proxy-Authorization", self.login.reveal()))
        return HttpRequest(method="CONNECT", target=str(target), headers=tuple(headers))


def find_proxy(target: HostPort, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a host, or None for a direct connection.

    Raises UsageError for a proxy that can't be used.
    """
    url = proxy_for(target, environ)
    return None if url is None else parse_proxy(url)


def parse_proxy(url: str) -> Proxy:
    """Return the proxy of a URL; raises UsageError, which contains no login."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() != "http":
        kind = scheme.lower() if scheme.lower() in _OTHER_SCHEMES else "another protocol than http"
        raise UsageError(
            f"HTTPS_PROXY names a proxy that speaks {kind}",
            "only http:// proxies are supported: they see a tunnel, not its content",
            reason="unsupported-proxy",
        )
    userinfo, at, authority = rest.rstrip("/").rpartition("@")
    address = HostPort.parse(authority, default_port=80)
    if address is None:
        raise UsageError(
            "HTTPS_PROXY has no host and port",
            "it looks like http://proxy:3128",
            reason="invalid-proxy",
        )
    return Proxy(address, _basic(userinfo) if at else None)


def _basic(userinfo: str) -> Secret:
    import binascii
    from urllib.parse import unquote_to_bytes

    from daypass._core.secret import Secret

    user, _, password = userinfo.partition(":")
    login = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return Secret("Basic " + binascii.b2a_base64(login, newline=False).decode("ascii"))
