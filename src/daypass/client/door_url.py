"""The URL of a door, and whose host and port it names."""

from __future__ import annotations

from daypass._core.net import is_loopback
from daypass.client.errors import CredentialsError

_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_PATH = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")
_EXAMPLE = "it looks like https://ekf.example.com/kubernetes"


class HostPort:
    """A host (lower case; an IPv6 address without its brackets) and a port."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """127.0.0.0/8, ::1, or localhost, which RFC 6761 reserves for them."""
        return is_loopback(self.host)

    @classmethod
    def parse(cls, text: str, *, default_port: int) -> HostPort | None:
        """`host`, `host:port`, `[::1]:port`; None for anything else."""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or not _is_ipv6(host) or (rest and rest[0] != ":"):
                return None
            colon, port = rest[:1], rest[1:]
        else:
            host, colon, port = text.partition(":")
            if not _is_host(host.lower()):
                return None
        if not colon:
            return cls(host.lower(), default_port)
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
            return None
        return cls(host.lower(), int(port))


class DoorUrl:
    """The address of a door: scheme, host and port, and the path under which it is published."""

    __slots__ = ("address", "path", "tls", "url")

    def __init__(self, *, tls: bool, address: HostPort, path: str, url: str) -> None:
        self.tls = tls
        self.address = address
        self.path = path
        self.url = url

    def __repr__(self) -> str:
        return f"Door({self.url!r})"

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        text = str(self.address)
        return text.removesuffix(":443") if self.tls else text.removesuffix(":80")

    @classmethod
    def parse(cls, text: str) -> DoorUrl:
        """The door's URL; raises CredentialsError, which never quotes a user or password."""
        scheme, separator, rest = text.partition("://")
        authority, slash, path = rest.partition("/")
        scheme, path = scheme.lower(), slash + path
        if "@" in authority:
            raise CredentialsError(
                "the door's URL holds a user name", "take out what stands before the @"
            )
        if not separator or scheme not in ("https", "http"):
            raise CredentialsError("the door's URL does not begin with https://", _EXAMPLE)
        if "?" in text or "#" in text:
            raise CredentialsError("the door's URL has a query or a fragment", _EXAMPLE)
        address = HostPort.parse(authority, default_port=443 if scheme == "https" else 80)
        if address is None:
            raise CredentialsError("the door's URL names no host and port", _EXAMPLE)
        if scheme == "http" and not address.is_loopback:
            raise CredentialsError(
                "the door's URL begins with http://, which would send the token in the clear",
                f"use https://{authority}{path}; plain http is for loopback addresses only",
            )
        path = _path(path, authority)
        url = f"{scheme}://{authority}{path}"
        return cls(tls=scheme == "https", address=address, path=path, url=url)


def _path(path: str, authority: str) -> str:
    path = path.rstrip("/")
    if not path:
        raise CredentialsError(
            "the door's URL has no path",
            f"doors are published below a prefix: try https://{authority}/kubernetes",
        )
    parts = path.split("/")[1:]
    if not _PATH.issuperset(path) or not all(p.strip(".") for p in parts):
        raise CredentialsError("the path of the door's URL is not a plain one", _EXAMPLE)
    if parts[-2:] == ["api", "v1"] or "/api/v1/" in path:
        raise CredentialsError(
            "the door's URL goes on behind the door", f"end it before /api/v1: {_EXAMPLE}"
        )
    return path


def _is_host(host: str) -> bool:
    if not 0 < len(host) <= 253 or not _HOST.issuperset(host):
        return False
    return all(
        0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-" for label in host.split(".")
    )


def _is_ipv6(text: str) -> bool:
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True
