"""Envoy Gateway cuts a stream that lasts longer than the gate's longest one, and what lifts that
bound. tests/wire/test_gate_streams.py has how each kind of stream ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controllers.gateway_environment import APPS, HOST, INFRA, PUBLIC, GatewayEnv, config, gate
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.objects import Object
from daypass._core.threads import in_parallel
from support.clusters import apply
from support.deadline import eventually
from support.endless import EVENT, Endless
from support.envoy_gateway import delete, endpoints, route, service
from support.objects import make
from support.raw import connect, get

pytestmark = pytest.mark.timeout(1800)

BOUND_SECONDS = 10
"""The shortest that a config may have."""
STREAMS, LIFTED = "streams.example.com", "lifted.example.com"
GATE = f"check: review, hosts: [{HOST}, {STREAMS}, {LIFTED}], maxStreamDuration: {BOUND_SECONDS}s"


@pytest.fixture(scope="module")
def bounded(env: GatewayEnv) -> Iterator[GatewayEnv]:
    """The gate with a longest stream, and services whose responses never end."""
    with (
        Endless() as endless,
        env.authorizer(GATE),
        env.changed(gate("ClientTrafficPolicy", config(GATE))),
    ):
        objects = [
            service("endless", APPS, 80),
            endpoints("endless", APPS, endless.port),
            *(
                route(host.partition(".")[0], APPS, gateway=f"{INFRA}/public", host=host,
                      service="endless")
                for host in (STREAMS, LIFTED)
            ),
            lifting(),
        ]  # fmt: skip
        apply(env.plane, *objects)
        try:
            yield env
        finally:
            for each in objects:
                delete(env.plane, each)


def lifting() -> Object:
    """Somebody's policy for one route."""
    reference = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "lifted"}
    spec = {"targetRefs": [reference], "timeout": {"http": {"maxStreamDuration": "0s"}}}
    return make(
        "gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", "lifting", APPS, spec=spec
    )


def lasts(env: GatewayEnv, host: str) -> float:
    """The seconds of a stream that its service does not end; 2 * BOUND_SECONDS if nobody does."""

    def streamed() -> float | None:
        with connect(env.port, authority_pem=PUBLIC.pem, name=HOST) as connection:
            began = SYSTEM_CLOCK.monotonic()
            connection.sendall(get(env.bearer(), host=host, path="/events"))
            received = connection.recv(65536)
            if not received.startswith(b"HTTP/1.1 200 "):
                return None
            connection.settimeout(2 * BOUND_SECONDS)
            try:
                while data := connection.recv(65536):
                    received += data
            except TimeoutError:
                return 2 * BOUND_SECONDS
            assert EVENT in received
            assert not received.endswith(b"0\r\n\r\n")  # it does not look complete
            return SYSTEM_CLOCK.monotonic() - began

    return eventually("it is routed", streamed, seconds=120)


def test_a_stream_is_cut_at_the_bound_but_where_a_route_lifts_it(bounded: GatewayEnv) -> None:
    cut, lifted = in_parallel(lambda host: lasts(bounded, host), (STREAMS, LIFTED))
    assert BOUND_SECONDS <= cut < 2 * BOUND_SECONDS
    assert lifted >= 2 * BOUND_SECONDS
