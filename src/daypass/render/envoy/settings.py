"""The values that Envoy's config is made of: every file, address and limit is decided."""

from dataclasses import dataclass

from daypass.config import Address
from daypass.config.exposure import Exposure
from daypass.config.gate import Gate
from daypass.config.settings import Limits
from daypass.rules.decision import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and key as PEM files, and the names (SNI) it is shown for.

    Without `server_names` it is shown for every name that no other certificate has.
    """

    name: str
    certificate_file: str
    key_file: str
    server_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The API server, and the authority and name by which its certificate is verified."""

    address: Address
    authority_file: str
    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the door waits, in seconds: for a client first, then for the API server."""

    handshake_seconds: float = 5
    """From a new connection to the end of its TLS handshake."""
    request_headers_seconds: float = 5
    """From a request's first byte to the end of its headers."""
    request_seconds: float = 10
    """From a request's first byte to its last."""
    idle_seconds: float = 60
    """Without a request on an open connection, on either side of the door."""
    close_seconds: float = 1
    """For a client to read the last response and close a connection that the door closes."""
    connect_seconds: float = 3
    answer_seconds: float = 15
    """From a request's last byte to the last one of the API server's response."""
    read_seconds: float = 20
    """For a client to read the rest of a response (HTTP/2 clients set the pace)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Everything that the door's config depends on.

    - `trusted_hops`: how many proxies in front write X-Forwarded-For; the client is the address
      that the outermost of them saw.
    - `rate_limits`: None lifts them, for a benchmark.
    - `https_hosts`: the hosts whose TLS ends at an ingress or gateway; the door refuses what it
      received for them over plain http. None: no proxy is in front.
    - `probe`: where kubelet asks whether Envoy is alive and reaches the API server. None: there
      are no probes, and the API server's health is not checked.
    - `metrics`: where Prometheus scrapes. None: nothing is counted for it.
    """

    exposure: Exposure
    listen: Address
    certificates: tuple[Certificate, ...]
    upstream: Upstream
    trusted_hops: int
    rate_limits: Limits | None
    connections: int = 4096
    timeouts: Timeouts = Timeouts()
    https_hosts: tuple[str, ...] | None = None
    probe: Address | None = None
    metrics: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """The service that the gate guards."""

    address: Address
    authority_file: str = ""
    """PEM of the authorities that verify its certificate; empty for plain http."""
    is_http2: bool = False
    """Without TLS: HTTP/2 only. With TLS the two sides agree on a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Everything that the config of a gate on one machine depends on, except the API server's keys.

    `authorizer_socket`: where the authorizer listens, for `check: review`. `shards`: of the
    published set.
    """

    name: str
    gate: Gate
    listen: Address
    certificates: tuple[Certificate, ...]
    rules: Rules
    protected: Protected
    shards: int
    authorizer_socket: str = ""
    timeouts: Timeouts = Timeouts()
