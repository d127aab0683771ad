"""The proxy that the environment names for a host: one meaning for the client and the commands.

It is what curl and Go (golang.org/x/net/http/httpproxy, which kubectl uses) agree on, address
ranges in NO_PROXY included. Where they differ:

- A variable in lower case takes precedence (curl). An empty one counts as unset (both).
- Loopback is always reached directly (Go).
- In NO_PROXY, `example.com` and `.example.com` are the same: the domain and everything below it
  (curl); `*.example.com` (Go) is a third way to write it. `*` may be one of several entries, and an
  entry may end in a port (Go).
"""

from __future__ import annotations

from daypass._core.net import is_address, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass._core.net import HostPort


def proxy_for(target: HostPort, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for HTTPS to a host, or None for a direct connection."""
    url, no_proxy = (proxy_variable(environ, each) for each in ("https_proxy", "no_proxy"))
    if not url or is_loopback(target.host) or is_excluded(target, no_proxy):
        return None
    return url if "://" in url else f"http://{url}"


def is_excluded(target: HostPort, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists a host.

    Entries are separated by commas or spaces: `*`, a domain, an address, or an address range such
    as 10.0.0.0/8.
    """
    return any(_matches(entry, target) for entry in no_proxy.lower().replace(",", " ").split())


def proxy_variable(environ: Mapping[str, str], name: str) -> str:
    """Return the value of a variable, named in lower case, or of its twin in upper case."""
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _matches(entry: str, target: HostPort) -> bool:
    name, port = _split_port(entry)
    if port and port != str(target.port):
        return False
    host = target.host.rstrip(".")
    if entry == "*":
        return True
    if is_address(host):
        return _is_in(host, name)
    domain = name.removeprefix("*.").strip(".")
    return bool(domain) and f".{host}".endswith(f".{domain}")


def _split_port(entry: str) -> tuple[str, str]:
    """Return host and port, which may be empty, of `host:port` or `[::1]:port`."""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = entry.partition(":")
    return (entry, "") if ":" in port else (name, port)  # an IPv6 address has no port


def _is_in(host: str, entry: str) -> bool:
    from ipaddress import ip_address, ip_network  # only for addresses: a name needs no import

    address = ip_address(host)
    try:
        return (getattr(address, "ipv4_mapped", None) or address) in ip_network(entry, strict=False)
    except ValueError:
        return False
