"""The front `istio` on a real istiod: its gateway, the rendered door, a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR, DOOR_TRUST
from support.authority import Authority
from support.clusters import apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import CHECK, PUBLISHED, post
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway, service_at
from support.objects import secret, tls_secret
from support.raw import Answer
from support.rendered import RenderedDoor, config_of, running_pod, token_request

pytestmark = pytest.mark.timeout(1800)

HOST = "serving.example.com"
CONFIG = config_of(f"""\
version: 1
domains:
  serving: {{host: {HOST}, front: istio, tls: {{secret: serving-tls}}}}
limits: {{requestsPerSecond: 10000, perSourcePerSecond: 10000}}
""")
PUBLIC = Authority()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with the rendered objects, and what a gateway needs."""
    with ControlPlane.start(tmp_path_factory.mktemp("istio-plane")) as running:
        prepare(running)
        pair = PUBLIC.server(HOST)
        apply(
            running,
            *(o for o in render_objects(CONFIG, ClusterFacts()) if o["kind"] != "Service"),
            tls_secret("serving-tls", NAMESPACE, pair),
        )
        yield running


@contextmanager
def running_front(
    plane: ControlPlane,
    folder: Path,
    *,
    trust: str | None = None,
    shown: str | None = None,
    api_authority: str | None = None,
) -> Iterator[tuple[Gateway, RenderedDoor]]:
    """A gateway in front of a door. `trust`: what it trusts the door by, instead of its authority;
    `shown`: the name in the door's certificate, instead of its own; `api_authority`: what the door
    trusts the API server by, instead of its authority.
    """
    (folder / "pod").mkdir()
    (folder / "gateway").mkdir()
    objects, authority = render_objects(CONFIG, ClusterFacts()), api_authority or plane.ca_pem
    with running_pod(
        folder / "pod", CONFIG, objects, api_server=plane.port, authority_pem=authority
    ) as door:
        if shown is not None:
            door.show(shown)
        apply(
            plane,
            service_at(DOOR, door.envoy.port("door")),
            secret(DOOR_TRUST, NAMESPACE, {"ca.crt": trust or door.authority.pem}),
        )
        with running_gateway(folder / "gateway", plane) as gateway:
            yield gateway, door


@pytest.fixture(scope="module")
def front(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, RenderedDoor]]:
    """The gateway and the door that tests share."""
    with running_front(plane, tmp_path_factory.mktemp("front")) as running:
        gateway, _ = running
        eventually("the way is open", lambda: send(gateway, get(CHECK)).code == 403)
        yield running


def send(gateway: Gateway, request: bytes) -> Answer:
    return gateway.send(request, name=HOST, authority_pem=PUBLIC.pem)


def get(path: str, *headers: str, host: str = HOST) -> bytes:
    return post(path, host=host, method="GET", headers=headers, body=b"")


def test_a_token_is_exchanged_through_istio(
    front: tuple[Gateway, RenderedDoor], plane: ControlPlane
) -> None:
    gateway, _ = front
    identity = plane.make_identity()
    answer = send(gateway, token_request(identity, HOST))
    assert answer.code == 201, answer.body


@pytest.mark.parametrize("path", ["/kubernetes", "/kubernetes/api", f"{CHECK}?dryRun=All"])
def test_what_is_below_the_prefix_is_the_doors_to_refuse(
    front: tuple[Gateway, RenderedDoor], path: str
) -> None:
    answer = send(front[0], get(path))
    assert answer.code == 404
    assert PUBLISHED in answer.json["message"]


@pytest.mark.parametrize("path", ["/kubernetesx", "/KUBERNETES/x", "//kubernetes/x"])
def test_the_rest_of_the_host_does_not_reach_the_door(
    front: tuple[Gateway, RenderedDoor], path: str
) -> None:
    gateway, door = front
    before = door.requests()
    answer = send(gateway, get(path))
    assert (answer.code, answer.body) == (404, b"")
    assert door.requests() == before


def test_a_client_cannot_pretend_that_it_came_over_plain_http_or_from_elsewhere(
    front: tuple[Gateway, RenderedDoor],
) -> None:
    gateway, door = front
    forged = ("X-Forwarded-Proto: http", "X-Forwarded-For: 203.0.113.9")
    answer = send(gateway, get(CHECK, "User-Agent: forger", *forged))
    assert "system:anonymous" in answer.json["message"]
    assert door.logged("forger")["client"] != "203.0.113.9"


def test_istio_sends_a_request_once_also_if_it_is_answered_503(
    plane: ControlPlane, tmp_path: Path
) -> None:
    with running_front(plane, tmp_path, api_authority=Authority().pem) as (gateway, door):
        answer = send(gateway, get(CHECK))
        assert (answer.code, answer.json["reason"]) == (503, "ServiceUnavailable")
        assert door.requests() == 1


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_istio_refuses_a_door_of_another_authority_or_name(
    plane: ControlPlane, tmp_path: Path, wrong: str
) -> None:
    trust = Authority().pem if wrong == "authority" else None
    shown = "daypass-door.elsewhere.svc" if wrong == "name" else None
    with running_front(plane, tmp_path, trust=trust, shown=shown) as (gateway, door):
        assert send(gateway, get(CHECK)).code == 503
        # It was there, and was turned away in the handshake.
        failures = "^listener.*ssl.connection_error$"
        eventually("it counts that", lambda: any(door.envoy.stats(failures).values()))
        assert door.requests() == 0
