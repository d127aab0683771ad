"""What a front took over plain http is refused at the door, whatever the front thinks of it.

Fronts write X-Forwarded-Proto by what a request came over. Some would serve plain http as well, and
those that would rather redirect it are told not to: a client that is redirected goes on sending its
token in the clear, first each time, and nobody notices. This way it gets a 403 that says so.

How Kubernetes learns whether a door lives, and whether its way to the API server is open.

Both are answered on a port of their own, which no Service leads to and the NetworkPolicy closes to
all but the node. **Alive** is an Envoy that answers. **Ready** is one that reaches the API server:
Envoy asks it for `/readyz` every few seconds over the same verified TLS as all requests, and any
answer below 500 will do, since a cluster may refuse that to the anonymous.

So a rollout with a wrong authority, name or network policy stops at its first pod while the old
ones serve on, and a node without a way to the API server gets no requests. When the API server
itself is down, all doors fail the probe, but Kubernetes cannot take them out of the Service without
it: they go on answering 503 by themselves. Where only the doors are cut off, the front answers.

Envoy's config for the door in a pod: as on one machine, with what a cluster adds to it.

API Priority and Fairness: what comes through the door has seats of its own at the API server.

The door forwards its callers as they are, so the API server cannot tell the door's requests from
others of the same kind. The rule is therefore by what is asked: `serviceaccounts/token`, by
ServiceAccounts and by nobody. Nodes, which ask for the tokens of all pods, and ServiceAccounts of
kube-system are in other groups or matched before (`system-nodes` at 500,
`kube-system-service-accounts` at 900); other ServiceAccounts that ask for tokens share these seats,
each in queues of its own. A request with a token that is not valid ends before this, at
authentication: only the door's rates bound it.
"""

from daypass.config import Config
from daypass.config.exposure import Exposure, bracketed
from daypass.render.envoy.bootstrap import static_files, to_json
from daypass.render.envoy.protobuf_any import Json, extension
from daypass.render.envoy.replies import code_filter, status_format
from daypass.render.envoy.routes import UPSTREAM
from daypass.render.envoy.settings import (
    Certificate,
    DoorSettings,
    RateLimits,
    SocketAddress,
    Upstream,
)
from daypass.render.objects import Object, new_object
from daypass.render.published_domain import PublishedDomain

_FRONT_SCHEME = "x-daypass-front-scheme"
_PLAIN_HTTP: Json = {
    "name": _FRONT_SCHEME,
    "string_match": {"exact": "http", "ignore_case": True},
}
_SEEN_IN_THE_CLEAR = (
    "this came to the front over plain http, and a token in it was seen in the clear: "
    "use https, and replace the token"
)


def refuse_plain_http(manager: Json, hosts: list[str]) -> None:
    """Change a connection manager so that it refuses plain http for these hosts.

    They are those whose TLS ends at the front. Where it ends before, the front's word says nothing:
    such hosts keep their routes as they are.
    """
    door, *others = manager["route_config"]["virtual_hosts"]
    named: dict[str, list[str]] = {"https": [], "outside": []}
    for name in door["domains"]:
        named["https" if name in hosts else "outside"].append(name)
    refusal = {
        "name": "refuse-plain-http",
        "match": {"prefix": "/", "headers": [_PLAIN_HTTP]},
        "direct_response": {"status": 403},
    }
    split = [
        {**door, "domains": named["https"], "routes": [refusal, *door["routes"]]},
        {**door, "domains": named["outside"], "name": "outside"},
    ]
    manager["route_config"]["virtual_hosts"] = [*(v for v in split if v["domains"]), *others]
    manager["local_reply_config"]["mappers"].insert(0, _SEEN)
    (early,) = manager["early_header_mutation_extensions"]
    early["typed_config"]["mutations"] += [{"remove": _FRONT_SCHEME}, {"append": _KEPT}]


_KEPT: Json = {
    # Envoy writes X-Forwarded-Proto anew before it looks for a route. This one does not travel on:
    # it is not on the list of headers that do.
    "header": {"key": _FRONT_SCHEME, "value": "%REQ(X-FORWARDED-PROTO)%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
_SEEN: Json = {
    "filter": {
        "and_filter": {
            "filters": [code_filter("EQ", 403), {"header_filter": {"header": _PLAIN_HTTP}}]
        }
    },
    "body_format_override": status_format(403, "Forbidden", _SEEN_IN_THE_CLEAR),
}

PROBE_PORT = 8081
ALIVE, READY = "/alive", "/ready"


def api_server_check(upstream: Upstream) -> Json:
    """Envoy's active health check of the API server."""
    return {
        "timeout": "3s",
        "interval": "5s",
        # Also where nobody comes: the default is once a minute.
        "no_traffic_interval": "5s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {
            "path": "/readyz",
            "host": bracketed(upstream.server_name),
            "expected_statuses": [{"start": 200, "end": 500}],
        },
    }


def probe_listener(address: str) -> Json:
    """The listener for kubelet: two paths that Envoy itself answers with 200 or 503."""
    return {
        "name": "probe",
        "address": {"socket_address": {"address": address, "port_value": PROBE_PORT}},
        "per_connection_buffer_limit_bytes": 16 * 1024,
        "filter_chains": [
            {
                "filters": [
                    extension(
                        "envoy.filters.network.http_connection_manager",
                        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        stat_prefix="probe",
                        server_name="daypass",
                        route_config={"name": "probe"},
                        request_timeout="5s",
                        common_http_protocol_options={"idle_timeout": "10s"},
                        http_filters=[
                            _answer(ALIVE),
                            _answer(
                                READY, cluster_min_healthy_percentages={UPSTREAM: {"value": 1}}
                            ),
                            extension(
                                "envoy.filters.http.router",
                                "extensions.filters.http.router.v3.Router",
                            ),
                        ],
                    )
                ]
            }
        ],
    }


def _answer(path: str, **conditions: Json) -> Json:
    return extension(
        f"daypass.probe{path.replace('/', '.')}",
        "extensions.filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": path}}],
        **conditions,
    )


DOOR_CONFIG_FOLDER = "/etc/daypass/config"
DOOR_PAIR_FOLDER = "/etc/daypass/tls"
AUTHORITY_FOLDER = "/etc/daypass/authority"
RUN_FOLDER = "/run/daypass"
"""The one place that can be written to; it holds the socket of Envoy's admin interface."""

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a pod's own
HTTPS_PORT = 8443
BOOTSTRAP = "envoy.json"


def door_settings(config: Config, domains: list[PublishedDomain]) -> DoorSettings:
    """The door for these domains, with every file at its place in the pod."""
    return DoorSettings(
        exposure=Exposure(
            prefix=config.prefix,
            hosts=tuple(domain.domain.host for domain in domains),
            body_limit_bytes=config.limits.request_body_bytes,
        ),
        listen=SocketAddress(host=ALL_ADDRESSES, port=HTTPS_PORT),
        # Shown for any name: not every front says which one it is looking for.
        certificates=(
            Certificate(
                name="door",
                certificate_file=f"{DOOR_PAIR_FOLDER}/tls.crt",
                key_file=f"{DOOR_PAIR_FOLDER}/tls.key",
            ),
        ),
        upstream=Upstream(
            address=SocketAddress(host=config.cluster.server_host, port=config.cluster.server_port),
            authority_file=f"{AUTHORITY_FOLDER}/ca.crt",
            server_name=config.cluster.server_name,
        ),
        trusted_hops=config.door.trusted_hops,
        rate_limits=RateLimits(
            per_source_per_second=config.limits.per_source_per_second,
            requests_per_second=config.limits.requests_per_second,
        ),
    )


def door_files(config: Config, domains: list[PublishedDomain]) -> dict[str, str]:
    """The ConfigMap's files by name.

    Fixed but for certificates, which Envoy follows: a new config is a new pod, which takes over
    only once it reaches the API server.
    """
    settings = door_settings(config, domains)
    files = static_files(settings, DOOR_CONFIG_FOLDER, admin_socket=f"{RUN_FOLDER}/admin.sock")
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


NAME = "daypass-token-requests"
PRECEDENCE = 1000
"""After Kubernetes' own system rules, which end at 900, and before `service-accounts`, at 9000."""
SHARES = 10
"""Of the server's 255 or so: 24 of 600 seats, enough for thousands of tokens a second."""

_API = "flowcontrol.apiserver.k8s.io/v1"


def flow_control() -> list[Object]:
    """The level, and the rule that leads to it."""
    return [_level(), _schema()]


def _level() -> Object:
    queuing = {"queues": 64, "handSize": 6, "queueLengthLimit": 50}
    limited = {
        "nominalConcurrencyShares": SHARES,
        # Idle seats are lent to others, and none are borrowed: these are all there ever are.
        "lendablePercent": 50,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return new_object(
        _API, "PriorityLevelConfiguration", NAME, spec={"type": "Limited", "limited": limited}
    )


def _schema() -> Object:
    rule = {
        "subjects": [
            {"kind": "Group", "group": {"name": name}}
            for name in ("system:serviceaccounts", "system:unauthenticated")
        ],
        "resourceRules": [
            {
                "verbs": ["create", "get"],
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "namespaces": ["*"],
            }
        ],
    }
    spec = {
        "priorityLevelConfiguration": {"name": NAME},
        "matchingPrecedence": PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule],
    }
    return new_object(_API, "FlowSchema", NAME, spec=spec)
