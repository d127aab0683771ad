"""What the door's config is made from: plain values, with every file and address decided."""

from dataclasses import dataclass

from daypass.spec.exposure import Exposure


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen or connect; `port` 0 lets the kernel choose."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and key as PEM files, and the names (SNI) it is shown for.

    No `server_names`: it is shown to whoever asks for a name that no other certificate has.
    """

    name: str
    certificate_file: str
    key_file: str
    server_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The API server, and how it is known: by this authority, under this name."""

    address: Address
    authority_file: str
    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Requests a second, each source first and then all together; for one Envoy."""

    per_source_per_second: int
    requests_per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """All that the door's config depends on.

    `trusted_hops`: how many proxies in front write X-Forwarded-For; the client is the address that
    the outermost of them saw. `rate_limits` None lifts them, for a bench.
    """

    exposure: Exposure
    listen: Address
    certificates: tuple[Certificate, ...]
    upstream: Upstream
    trusted_hops: int
    rate_limits: RateLimits | None
    connections: int = 4096
