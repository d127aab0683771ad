"""Envoy's config for the door in a pod: as on one machine, with what a cluster adds to it."""

from daypass.render.door.plain_http import refuse_plain_http
from daypass.render.door.probes import api_server_check, probe_listener
from daypass.render.envoy.bootstrap import static_files, to_json
from daypass.render.envoy.settings import (
    Address,
    Certificate,
    DoorSettings,
    RateLimits,
    Upstream,
)
from daypass.render.envoy.typed import Json
from daypass.render.published import Published
from daypass.spec import Config
from daypass.spec.exposure import Exposure

CONFIG_FOLDER = "/etc/daypass/config"
PAIR_FOLDER = "/etc/daypass/tls"
AUTHORITY_FOLDER = "/etc/daypass/authority"
RUN_FOLDER = "/run/daypass"
"""The one place that can be written to; it holds the socket of Envoy's admin interface."""

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a pod's own
HTTPS_PORT = 8443
BOOTSTRAP = "envoy.json"


def door_settings(config: Config, domains: list[Published]) -> DoorSettings:
    """The door for these domains, with every file at its place in the pod."""
    return DoorSettings(
        exposure=Exposure(
            prefix=config.prefix,
            hosts=tuple(domain.domain.host for domain in domains),
            body_limit_bytes=config.limits.request_body_bytes,
        ),
        listen=Address(host=ALL_ADDRESSES, port=HTTPS_PORT),
        # Shown for any name: not every front says which one it is looking for.
        certificates=(
            Certificate(
                name="door",
                certificate_file=f"{PAIR_FOLDER}/tls.crt",
                key_file=f"{PAIR_FOLDER}/tls.key",
            ),
        ),
        upstream=Upstream(
            address=Address(host=config.cluster.server_host, port=config.cluster.server_port),
            authority_file=f"{AUTHORITY_FOLDER}/ca.crt",
            server_name=config.cluster.server_name,
        ),
        trusted_hops=config.door.trusted_hops,
        rate_limits=RateLimits(
            per_source_per_second=config.limits.per_source_per_second,
            requests_per_second=config.limits.requests_per_second,
        ),
    )


def door_files(config: Config, domains: list[Published]) -> dict[str, str]:
    """The ConfigMap's files by name.

    Fixed but for certificates, which Envoy follows: a new config is a new pod, which takes over
    only once it reaches the API server.
    """
    settings = door_settings(config, domains)
    files = static_files(settings, CONFIG_FOLDER, admin_socket=f"{RUN_FOLDER}/admin.sock")
    resources = files[BOOTSTRAP]["static_resources"]
    (listener,), (cluster,) = resources["listeners"], resources["clusters"]
    https_hosts = [domain.domain.host for domain in domains if domain.ends_tls]
    refuse_plain_http(_connection_manager(listener), https_hosts)
    cluster["health_checks"] = [api_server_check(settings.upstream)]
    if cluster["type"] == "LOGICAL_DNS":
        # Which takes its address for healthy until it was asked. Of several, the checks leave out
        # those that do not answer.
        cluster["type"] = "STRICT_DNS"
    resources["listeners"].append(probe_listener(ALL_ADDRESSES))
    return {name: to_json(content) for name, content in sorted(files.items())}


def _connection_manager(listener: Json) -> Json:
    (chain,) = listener["filter_chains"]
    manager: Json = chain["filters"][-1]["typed_config"]
    return manager
