"""Three gates with one authorizer and one watch: of a Gateway, and of two listeners of another one,
which are on one port with a listener that nothing guards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controllers.gateway_environment import APPS, DOORS, FACTS, HOST, INFRA, PUBLIC, GatewayEnv
from daypass._core.kubernetes.objects import Object, name_of
from daypass.config import Config
from daypass.render.manifests import gate_objects
from daypass.render.names import GATE
from daypass.rules.reasons import Reason
from support import raw
from support.clusters import apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.envoy_gateway import delete, endpoints, gateway, listener, namespace, route
from support.gate_differences import assert_passed_as, assert_refused, seen
from support.identities import Identity
from support.objects import tls_secret
from support.ports import free_ports
from support.raw import Answer, connect, exchange
from support.rendered import config_of
from support.serving import Served
from support.tokens import AUDIENCE, ISSUER
from support.watching import Watch, identity_namespace

pytestmark = pytest.mark.timeout(1800)

SHARED = "shared-by-gates"
MODEL, NOTEBOOKS = "iris.alice.models.example.com", "notebooks.example.com"
OPEN = "open.example.com"
TEXT = f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains:
  ekf: {{host: {HOST}, front: gateway-api, gateway: {INFRA}/public, tls: outside}}
door: {{namespace: {DOORS}}}
gates:
  default:
    audience: {AUDIENCE}
    engine: envoy-gateway
    gateway: {INFRA}/public
    hosts: [{HOST}]
    cacheTtl: 1s
  models:
    audience: models
    engine: envoy-gateway
    gateway: {SHARED}/public/models
    hosts: ['{{name}}.{{namespace}}.models.example.com']
    headers: {{user: x-user, groups: x-groups}}
  notebooks:
    audience: notebooks
    engine: envoy-gateway
    gateway: {SHARED}/public/notebooks
    hosts: [{NOTEBOOKS}]
    allow: {{namespaces: [nobody]}}
gatePods: {{image: "registry.example.com/daypass:1"}}
"""
CONFIG: Config = config_of(TEXT)
AUDIENCES = {HOST: AUDIENCE, MODEL: "models", NOTEBOOKS: "notebooks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """The three gates, and an identity that one watch has published."""

    env: GatewayEnv
    authorizer: Served
    watch: Watch
    port: int

    def send(self, host: str, *lines: str, sni: str = "") -> Answer:
        port = self.env.port if host == HOST else self.port
        with connect(port, authority_pem=PUBLIC.pem, name=sni or host) as connection:
            return exchange(connection, raw.get(*lines, host=host, path="/x"))

    def bearer(self, identity: Identity, host: str) -> str:
        token = self.env.plane.make_token(identity, audiences=[AUDIENCES[host]])
        return raw.bearer(token)


@pytest.fixture(scope="module")
def several(
    env: GatewayEnv, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Several]:
    (port,) = free_ports(1)
    folder: Path = tmp_path_factory.mktemp("watch")
    policies = [each for each in gate_objects(CONFIG, FACTS) if "." in name_of(each)]
    apply(plane, namespace(SHARED))
    objects: list[Object] = [
        tls_secret("public", SHARED, PUBLIC.server(MODEL, NOTEBOOKS, OPEN)),
        gateway(
            "public",
            SHARED,
            listener("models", port, host="*.models.example.com", secret="public"),
            listener("notebooks", port, host=NOTEBOOKS, secret="public"),
            listener("open", port, host=OPEN, secret="public"),
        ),
        route("open", APPS, gateway=f"{SHARED}/public", host=OPEN, service="echo"),
        route("models", APPS, gateway=f"{SHARED}/public", host="*.models.example.com",
              service="echo"),
        route("notebooks", APPS, gateway=f"{SHARED}/public", host=NOTEBOOKS, service="echo"),
        *policies,
    ]  # fmt: skip
    # With the rights that are rendered for all of them.
    apply(plane, *gate_objects(CONFIG, FACTS), *objects)
    with (
        Watch(folder, plane, CONFIG) as watch,
        env.authorizer(text=TEXT, is_watched=True) as authorizer,
    ):
        apply(plane, endpoints(GATE, DOORS, authorizer.port))
        running = Several(env=env, authorizer=authorizer, watch=watch, port=port)
        watch.wait_leading()
        for host in AUDIENCES:
            eventually(
                "it asks the authorizer",
                lambda host=host: running.send(host).code == 401,  # type: ignore[misc]
                seconds=120,
            )
        try:
            yield running
        finally:
            for each in objects:
                delete(plane, each)


@pytest.fixture
def bot(several: Several, plane: ControlPlane) -> Identity:
    identity = plane.make_identity(identity_namespace(plane, home=DOORS))
    line = several.bearer(identity, MODEL)
    eventually("it is published", lambda: several.send(MODEL, line).code == 200)
    return identity


def test_each_gate_accepts_its_own_audience_and_decides_by_its_own_rules(
    several: Several, bot: Identity
) -> None:
    for _ in range(2):  # what one gate remembers opens no other
        assert_passed_as(several.send(HOST, several.bearer(bot, HOST)), bot.user)
        headers = several.send(MODEL, several.bearer(bot, MODEL)).json["headers"]
        assert headers["x-user"] == bot.user
        assert "kubeflow-userid" not in headers
        assert_refused(several.send(NOTEBOOKS, several.bearer(bot, NOTEBOOKS)), Reason.NOT_ALLOWED)
        for host in AUDIENCES:
            for other in AUDIENCES:
                if other != host:
                    line = several.bearer(bot, other)
                    assert_refused(several.send(host, line), Reason.AUDIENCE)


def test_a_listener_that_no_gate_guards_is_untouched(several: Several) -> None:
    lines = ("kubeflow-userid: theirs", "x-user: theirs", "Authorization: x")
    headers = seen(several.send(OPEN, *lines))
    assert (headers["kubeflow-userid"], headers["authorization"]) == ("theirs", "x")


@pytest.mark.parametrize(
    "host",
    [MODEL.upper(), f"{MODEL}.", "alice.models.example.com", "x.iris.alice.models.example.com"],
)
def test_another_form_of_a_host_of_models_is_refused_though_a_route_serves_it(
    several: Several, bot: Identity, host: str
) -> None:
    answer = several.send(host, several.bearer(bot, MODEL), sni=MODEL)
    assert answer.code == 404, answer
    if answer.body:
        assert_refused(answer, Reason.NOT_GUARDED)


def test_a_host_of_another_listener_is_not_served_below_the_name_of_this_one(
    several: Several, bot: Identity
) -> None:
    for host, sni in ((MODEL, NOTEBOOKS), (NOTEBOOKS, MODEL)):
        for of in AUDIENCES:
            assert several.send(host, several.bearer(bot, of), sni=sni).code in (403, 404, 421)
