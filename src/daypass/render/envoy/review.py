"""`check: review` and `both` on Envoy: the authorizer is asked, and decides.

With `review` it alone decides, and one route leads on. With `both` the native check comes first, so
that the authorizer is asked only about what that lets through. What the authorizer does not answer
is refused with 503; its refusals are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from daypass.render.envoy.crowd import many_connections
from daypass.render.envoy.replies import code_filter, reply
from daypass.render.envoy.settings import GateSettings
from daypass.render.envoy.typed import Json, duration, extension, typed
from daypass.spec.reasons import MESSAGES, Reason

AUTHORIZER = "authorizer"
FILTER = "envoy.filters.http.ext_authz"
UNAVAILABLE = 429
"""What the authorizer says over HTTP in place of 503, which Envoy would take for a failure of the
authorizer's own, dropping its words and Retry-After; a mapper makes a 503 of it again.
"""
TIMEOUT_SECONDS = 2.0
"""The authorizer answers within half a second, also where it does not know."""
CLIENT_HEADER = "x-envoy-external-address"
"""Who the client is, as Envoy knows it; what a client itself says under this name is replaced."""


def authorizer_filter(settings: GateSettings) -> Json:
    """The filter that asks the authorizer of this machine."""
    return asking_filter((settings.user_header, settings.groups_header))


def asking_filter(
    set_headers: tuple[str, ...],
    *,
    name: str = FILTER,
    cluster: str = AUTHORIZER,
    uri: str = f"http://{AUTHORIZER}",
) -> Json:
    """A filter that asks. Of the request it sends the method, the host, the path, the
    Authorization header and where it comes from; no body. `set_headers`: what the authorizer says
    about who calls.
    """
    told = ["content-type", "www-authenticate", "retry-after"]
    return extension(
        name,
        "extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        http_service={
            "server_uri": {"uri": uri, "cluster": cluster, "timeout": duration(TIMEOUT_SECONDS)},
            "authorization_response": {
                "allowed_upstream_headers": _exactly(set_headers),
                "allowed_client_headers": _exactly(told),
            },
        },
        allowed_headers=_exactly(["authorization", CLIENT_HEADER]),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
    )


def without_authorizer() -> Json:
    """`typed_per_filter_config` of a route that refuses by itself."""
    message = "extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    return {FILTER: typed(message, disabled=True)}


def authorizer_replies(where: str = "true") -> list[Json]:
    """Mappers of local replies: what the authorizer said, and what is said in its place.

    `where`: in CEL, which requests the authorizer is asked about; others have authorizers, too.
    """
    said = {
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        }
    }
    denied, failed = _details("ext_authz_denied", where), _details("ext_authz_error", where)
    return [
        {**said, "filter": _both(denied, code_filter("EQ", UNAVAILABLE)), "status_code": 503},
        {**said, "filter": denied},
        {**reply(503, "ServiceUnavailable", MESSAGES[Reason.UNKNOWN]), "filter": failed},
    ]


def authorizer_cluster(settings: GateSettings) -> Json:
    """The authorizer, at its Unix socket."""
    where = {"pipe": {"path": settings.authorizer_socket}}
    return {
        "name": AUTHORIZER,
        "type": "STATIC",
        "connect_timeout": duration(settings.timeouts.connect_seconds),
        **many_connections(settings.timeouts),
        "load_assignment": {
            "cluster_name": AUTHORIZER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
    }


def _exactly(names: Iterable[str]) -> Json:
    return {"patterns": [{"exact": name} for name in names]}


def _both(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _details(details: str, where: str) -> Json:
    asked = extension(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"response.code_details == '{details}' && {where}",
    )
    return {"extension_filter": asked}
