"""What Envoy Gateway does with a stream that lasts longer than the gate's longest one, and what
lifts that bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import h2.errors
import pytest

from controllers.gateway_environment import APPS, HOST, INFRA, PUBLIC, GatewayEnv, config, gate
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.objects import Object
from support.clusters import apply
from support.deadline import eventually
from support.endless import EVENT, UPGRADE, Endless
from support.envoy_gateway import delete, endpoints, route, service
from support.h2c import Http2
from support.objects import make
from support.raw import connect, get

pytestmark = pytest.mark.timeout(1800)

BOUND_SECONDS = 10
"""The shortest that a config may have."""
MOST_SECONDS = 2 * BOUND_SECONDS
STREAMS, LIFTED = "streams.example.com", "lifted.example.com"
GATE = f"check: review, hosts: [{HOST}, {STREAMS}, {LIFTED}], maxStreamDuration: {BOUND_SECONDS}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a stream has ended, and after how long."""

    how: str
    seconds: float


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
            for host in (STREAMS, LIFTED):
                eventually("it is routed", lambda host=host: begins(env, host), seconds=60)  # type: ignore[misc]
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


def begins(env: GatewayEnv, host: str) -> bool:
    with connect(env.port, authority_pem=PUBLIC.pem, name=HOST) as connection:
        connection.sendall(get(env.bearer(), host=host, path="/events"))
        return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def raw(env: GatewayEnv, host: str, path: str, *lines: str) -> str:
    """All that a connection brings until its end."""
    with connect(env.port, authority_pem=PUBLIC.pem, name=HOST) as connection:
        connection.settimeout(MOST_SECONDS)
        connection.sendall(get(env.bearer(), *lines, host=host, path=path))
        received = b""
        while data := connection.recv(65536):
            received += data
            if b"\r\n\r\n" in data and path == "/silent":
                break
    return received.decode()


def over_http2(env: GatewayEnv) -> str:
    name, _, value = env.bearer().partition(": ")
    fields = [
        (":method", "GET"), (":scheme", "https"), (":authority", STREAMS), (":path", "/events"),
        (name.lower(), value),
    ]  # fmt: skip
    with Http2(env.port, authority_pem=PUBLIC.pem, name=HOST) as client:
        reply = client.request(fields)
        assert (reply.code, reply.body, client.closed) == (200, EVENT, False)
        assert client.request(fields[:-1]).code == 401  # the connection goes on
        return h2.errors.ErrorCodes(reply.reset or 0).name


def timed(probe: Callable[[], str]) -> Ended:
    began = SYSTEM_CLOCK.monotonic()
    try:
        how = probe()
    except TimeoutError:
        how = "it goes on"
    return Ended(how=how, seconds=SYSTEM_CLOCK.monotonic() - began)


def test_every_kind_of_stream_is_cut_at_the_bound_but_where_a_route_lifts_it(
    bounded: GatewayEnv,
) -> None:
    probes: dict[str, Callable[[], Ended]] = {
        "events": lambda: timed(lambda: raw(bounded, STREAMS, "/events")),
        "websocket": lambda: timed(lambda: raw(bounded, STREAMS, "/ws", *UPGRADE)),
        "silent": lambda: timed(lambda: raw(bounded, STREAMS, "/silent")),
        "http2": lambda: timed(lambda: over_http2(bounded)),
        "lifted": lambda: timed(lambda: raw(bounded, LIFTED, "/events")),
    }
    with ThreadPoolExecutor(len(probes)) as threads:
        found = dict(zip(probes, threads.map(lambda probe: probe(), probes.values()), strict=True))
    assert found.pop("lifted").how == "it goes on"
    for name, ended in found.items():
        assert BOUND_SECONDS <= ended.seconds < MOST_SECONDS, (name, ended)
    events = found["events"].how
    assert events.startswith("HTTP/1.1 200 ")
    assert EVENT.decode() in events
    assert not events.endswith("0\r\n\r\n")  # it does not look complete
    assert found["websocket"].how.startswith("HTTP/1.1 101 ")
    assert found["silent"].how.startswith("HTTP/1.1 504 ")
    assert found["http2"].how == "INTERNAL_ERROR"
