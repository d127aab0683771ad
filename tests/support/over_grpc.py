"""The gate's Envoy, made to ask its authorizer over gRPC; and a client of gRPC's own."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from daypass.gateway.review.grpc_transport import METHOD
from daypass.render.envoy.review import AUTHORIZER, FILTER
from daypass.render.envoy.typed import typed
from daypass.render.envoy.upstream import certificate_names, verified_tls


def over_grpc(files: dict[str, Any]) -> None:
    """At the same socket. What it would do with answers over HTTP is taken away."""
    (gate,) = (each for each in files["listeners.json"]["resources"] if each["name"] == "gate")
    manager = gate["filter_chains"][0]["filters"][0]["typed_config"]
    manager["local_reply_config"] = {}
    (asking,) = (each for each in manager["http_filters"] if each["name"] == FILTER)
    config = asking["typed_config"]
    del config["http_service"], config["allowed_headers"]
    config["grpc_service"] = {"envoy_grpc": {"cluster_name": AUTHORIZER}, "timeout": "2s"}
    routes = files["routes-gate.json"]["resources"][0]["virtual_hosts"][0]["routes"]
    for route in routes:
        route.pop("request_headers_to_remove", None)
    message = "extensions.upstreams.http.v3.HttpProtocolOptions"
    _cluster(files)["typed_extension_protocol_options"] = {
        f"envoy.{message}": typed(message, explicit_http_config={"http2_protocol_options": {}})
    }


def over_tls(files: dict[str, Any], *, port: int, authority_pem: str, name: str) -> None:
    """At a port of loopback, where somebody of this authority and name has to be."""
    over_grpc(files)
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    cluster = _cluster(files)
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = where
    authority = {"trusted_ca": {"inline_string": authority_pem}}
    trust = {"validation_context": {**authority, **certificate_names(name)}}
    cluster["transport_socket"] = verified_tls(name, trust)


def no_question(channel: grpc.Channel) -> grpc.StatusCode:
    """What comes of a message that is no question; INVALID_ARGUMENT where somebody read it."""
    ask: Any = channel.unary_unary(METHOD)
    with channel, pytest.raises(grpc.RpcError) as caught:
        ask(b"", timeout=20)
    assert isinstance(caught.value, grpc.Call)
    return caught.value.code()


def _cluster(files: dict[str, Any]) -> dict[str, Any]:
    clusters = files["clusters.json"]["resources"]
    (cluster,) = (each for each in clusters if each["name"] == AUTHORIZER)
    found: dict[str, Any] = cluster
    return found
