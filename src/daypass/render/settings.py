"""The settings of door and gate that a config decides, for Envoy in a pod and on one machine."""

from daypass.config import Address, Config
from daypass.config.exposure import Exposure
from daypass.render.envoy.settings import Certificate, DoorSettings, RateLimits, Upstream
from daypass.render.fronts import AnyFront

DOOR_CONFIG_FOLDER = "/etc/daypass/config"
DOOR_PAIR_FOLDER = "/etc/daypass/tls"
AUTHORITY_FOLDER = "/etc/daypass/authority"
RUN_FOLDER = "/run/daypass"
"""The only writable folder of the pod; it has the socket of Envoy's admin interface."""

HTTPS_PORT = 8443
PROBE_PORT = 8081
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a pod's own


def exposure_of(config: Config, hosts: tuple[str, ...]) -> Exposure:
    """Return what a config publishes of the API server under these hosts."""
    return Exposure(
        prefix=config.prefix, hosts=hosts, body_limit_bytes=config.limits.request_body_bytes
    )


def rate_limits(config: Config) -> RateLimits:
    """Return the rate limits of one Envoy."""
    return RateLimits(
        per_source_per_second=config.limits.per_source_per_second,
        requests_per_second=config.limits.requests_per_second,
    )


def pod_door_settings(config: Config, fronts: list[AnyFront]) -> DoorSettings:
    """Return the settings of a door in a pod, with every file at its place there."""
    return DoorSettings(
        exposure=exposure_of(config, tuple(front.domain.host for front in fronts)),
        listen=Address(host=_ALL_ADDRESSES, port=HTTPS_PORT),
        # For every name: some ingresses send none, or another one.
        certificates=(
            Certificate(
                name="door",
                certificate_file=f"{DOOR_PAIR_FOLDER}/tls.crt",
                key_file=f"{DOOR_PAIR_FOLDER}/tls.key",
            ),
        ),
        upstream=Upstream(
            address=Address(host=config.cluster.server_host, port=config.cluster.server_port),
            authority_file=f"{AUTHORITY_FOLDER}/ca.crt",
            server_name=config.cluster.server_name,
        ),
        trusted_hops=config.door.trusted_hops,
        rate_limits=rate_limits(config),
        https_hosts=tuple(front.domain.host for front in fronts if front.domain.ends_tls),
        probe=Address(host=_ALL_ADDRESSES, port=PROBE_PORT),
    )
