"""The front `gateway-api` on a real Envoy Gateway, with the rendered door and a real API server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR, DOOR_TRUST
from support.authority import Authority
from support.children import Child
from support.clusters import apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import CHECK, PUBLISHED, post
from support.envoy_gateway import conditions, endpoints, gateway, listener, namespace
from support.objects import config_map, tls_secret
from support.ports import free_ports
from support.raw import Answer, connect, exchange
from support.rendered import RenderedDoor, config_of, only, running_pod, token_request

pytestmark = pytest.mark.timeout(1800)

HOST = "gw.example.com"
INFRA = "infra"
CONFIG = config_of(f"""\
version: 1
domains:
  gw: {{host: {HOST}, front: gateway-api, gateway: {INFRA}/public, tls: outside}}
limits: {{requestsPerSecond: 10000, perSourcePerSecond: 10000}}
""")
PUBLIC = Authority()


def rendered() -> list[Object]:
    return render_objects(CONFIG, ClusterFacts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A Gateway with a door behind it, its port for TLS and its port for plain http."""

    port: int
    plain_port: int
    door: RenderedDoor
    objects: tuple[Object, ...]

    def send(self, request: bytes) -> Answer:
        with connect(self.port, authority_pem=PUBLIC.pem, name=HOST) as connection:
            return exchange(connection, request)

    def wait(self) -> None:
        """Until the API server is reached."""
        eventually("the way is open", lambda: self.send(get(CHECK)).code == 403, seconds=120)


@contextmanager
def running_front(
    plane: ControlPlane, folder: Path, *, trust: str | None = None, shown: str | None = None
) -> Iterator[Front]:
    """A Gateway and a door. `trust`: what the door is trusted by, instead of its authority;
    `shown`: the name in its certificate, instead of its own.
    """
    with running_pod(
        folder, CONFIG, rendered(), api_server=plane.port, authority_pem=plane.ca_pem
    ) as door:
        if shown is not None:
            door.show(shown)
        port, plain_port = free_ports(2)
        apply(plane, namespace(INFRA), *rendered())
        objects = (
            tls_secret("public", INFRA, PUBLIC.server(HOST)),
            config_map(DOOR_TRUST, "daypass", {"ca.crt": trust or door.authority.pem}),
            endpoints(DOOR, "daypass", door.envoy.port("door")),
            gateway(
                "public",
                INFRA,
                listener("https", port, host=HOST, secret="public"),
                listener("http", plain_port, host=HOST),
            ),
        )
        apply(plane, *objects)
        yield Front(port=port, plain_port=plain_port, door=door, objects=objects)


@pytest.fixture(scope="module")
def front(
    plane: ControlPlane, envoy_gateway: Child, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """The Gateway and the door that tests share."""
    with running_front(plane, tmp_path_factory.mktemp("door")) as running:
        running.wait()
        yield running


def get(path: str, *headers: str, host: str = HOST) -> bytes:
    return post(path, host=host, method="GET", headers=headers, body=b"")


def test_a_token_is_exchanged_through_envoy_gateway(front: Front, plane: ControlPlane) -> None:
    identity = plane.make_identity()
    answer = front.send(token_request(identity, HOST))
    assert answer.code == 201, answer.body


def test_the_rendered_route_and_policy_are_accepted(front: Front, plane: ControlPlane) -> None:
    for kind in ("HTTPRoute", "BackendTLSPolicy"):
        said = conditions(plane, only(rendered(), kind))
        assert said["Accepted"][0] == "True", said
        assert said["ResolvedRefs"][0] == "True", said


@pytest.mark.parametrize(
    "path",
    ["/kubernetes", f"{CHECK}?dryRun=All", "/x/../kubernetes/api/v1/pods", "/%6bubernetes",
     f"{CHECK};x", CHECK.replace("/token", "%252ftoken")],
)  # fmt: skip
def test_what_is_below_the_prefix_is_the_doors_to_refuse(front: Front, path: str) -> None:
    answer = front.send(get(path))
    assert answer.code == 404
    assert PUBLISHED in answer.json["message"]


@pytest.mark.parametrize(
    ("path", "code"),
    [("/kubernetesx", 404), ("/KUBERNETES/x", 404), ("/kubernetes/../api", 404),
     (f"{CHECK}%00", 400)],
)  # fmt: skip
def test_other_paths_of_the_host_do_not_reach_the_door(front: Front, path: str, code: int) -> None:
    before = front.door.requests()
    answer = front.send(get(path))
    assert answer.code == code
    assert code == 400 or answer.body == b""
    assert front.door.requests() == before


@pytest.mark.parametrize("path", [f"/{CHECK}", f"/x/..{CHECK}", CHECK.replace("token", "%74oken")])
def test_another_spelling_of_the_path_arrives_as_the_path_itself(front: Front, path: str) -> None:
    answer = front.send(get(path))
    assert answer.code == 403
    assert "system:anonymous" in answer.json["message"]


def test_an_encoded_slash_is_sent_back_to_be_written_plainly(front: Front) -> None:
    before = front.door.requests()
    answer = front.send(get(CHECK.replace("/token", "%2ftoken")))
    assert (answer.code, answer.headers["location"]) == (307, CHECK)
    assert front.door.requests() == before


def test_nothing_is_served_over_plain_http(front: Front) -> None:
    before = front.door.requests()
    with socket.create_connection(("127.0.0.1", front.plain_port), timeout=20) as connection:
        connection.sendall(get(CHECK))
        head = connection.recv(65536)
    assert head.startswith(b"HTTP/1.1 404 "), head
    assert front.door.requests() == before


def test_a_client_cannot_pretend_that_it_came_over_plain_http_or_from_elsewhere(
    front: Front,
) -> None:
    forged = ("X-Forwarded-Proto: http", "X-Forwarded-For: 203.0.113.9")
    answer = front.send(get(CHECK, "User-Agent: forger", *forged))
    assert "system:anonymous" in answer.json["message"]
    assert front.door.logged("forger")["client"] != "203.0.113.9"


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_door_of_another_authority_or_name_is_refused(
    front: Front, plane: ControlPlane, tmp_path: Path, wrong: str
) -> None:
    trust = Authority().pem if wrong == "authority" else None
    shown = "daypass-door.elsewhere.svc" if wrong == "name" else None
    with running_front(plane, tmp_path, trust=trust, shown=shown) as other:

        def turned_away() -> bool:
            # It was there, and was turned away in the handshake.
            assert other.send(get(CHECK)).code == 503
            return any(other.door.envoy.stats("^listener.*ssl.connection_error$").values())

        eventually("the door is refused", turned_away, seconds=120)
        assert other.door.requests() == 0
    apply(plane, *front.objects)
    front.wait()
