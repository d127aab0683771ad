"""The metrics of each part, scraped from it after requests of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.running import Door as AgentsDoor
from agent.running import running_agent, write_config
from cluster.authorizer_serving import Publishing
from cluster.test_gate_serve import made_kubeconfig, serving
from daypass._core.clock import SYSTEM_CLOCK
from daypass.local.stack import LocalStack, stack_config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import post
from support.identities import Identity
from support.raw import bearer, connect, exchange, get
from support.rendered import RenderedDoor, config_of, running_pod, token_request
from support.scrapes import has_all, keep, scrape, values
from support.watching import Watch, becomes_published, identity_namespace, prepare, watched_config

HOST = "ekf.example.com"
DOOR = f"""\
version: 1
domains:
  ekf: {{host: {HOST}, front: ingress-nginx, tls: {{secret: ekf-tls}}}}
limits: {{requestsPerSecond: 1000, perSourcePerSecond: 5}}
metrics: {{prometheusNamespaces: [monitoring]}}
"""
AUDIENCE = "gate.example.com"


@contextmanager
def metrics_door(folder: Path, plane: ControlPlane) -> Iterator[RenderedDoor]:
    """The door's pod with its statistics, before an API server."""
    config = config_of(DOOR)
    objects = render_objects(config, ClusterFacts())
    with running_pod(
        folder, config, objects, api_server=plane.port, authority_pem=plane.ca_pem
    ) as door:
        yield door


def flushed(port: int) -> str:
    """The metrics of an Envoy, once it has flushed its histograms, as it does every 5 seconds."""

    def with_latencies() -> str | None:
        text = scrape(f"127.0.0.1:{port}")
        is_flushed = all(values(text, "envoy_http_downstream_rq_time_count").values())
        return text if is_flushed else None

    return eventually("latencies are counted", with_latencies)


def test_the_door(plane: ControlPlane, identity: Identity, tmp_path: Path) -> None:
    with metrics_door(tmp_path, plane) as door:
        good = token_request(identity, HOST)
        requests = (
            good, good, good.replace(b"Bearer ey", b"Bearer eyey"), post("/x"), post(method="PUT"),
            post(headers=()), post(headers=("Authorization: Bearer a.b.cA", "Content-Type: a/b")),
            post(body=b"x" * 9000), post(extra=("X-Forwarded-Proto: http",)), *[good] * 20,
        )  # fmt: skip
        for number, request in enumerate(requests):
            source = min(number, 9)
            extra = f"\r\nX-Forwarded-For: 2001:db8:0:{source:x}::1\r\n".encode()
            door.send(request.replace(b"\r\n", extra, 1))
        text = flushed(door.envoy.port("metrics"))
        reasons = {
            name.partition("=")[2]
            for result in ("allowed", "denied")
            for name in values(text, f"envoy_http_rbac_policy_{result}",
                               envoy_http_conn_manager_prefix="door")
        }  # fmt: skip
        assert reasons == {
            "not-published", "method-not-allowed", "unauthorized", "plain-http",
            "unsupported-media-type", "too-large", "too-many-requests",
        }  # fmt: skip
        codes = values(text, "envoy_cluster_upstream_rq", envoy_cluster_name="api-server")
        assert {"envoy_response_code=201", "envoy_response_code=401"} <= codes.keys()
        keep("door", text)


def test_the_expiry_is_that_of_the_certificate_that_is_shown(
    plane: ControlPlane, tmp_path: Path
) -> None:
    def days(door: RenderedDoor, what: str) -> float:
        (found,) = values(
            scrape(f"127.0.0.1:{door.envoy.port('metrics')}"),
            f"envoy_{what}_ssl_certificate_expiration_unix_time_seconds",
        ).values()
        return (found - SYSTEM_CLOCK.unix()) / 86_400

    with metrics_door(tmp_path, plane) as door:
        assert 0.9 < days(door, "listener") < 1
        pair = door.authority.server(door.host, days=9)
        door.volumes["tls"].put({"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem})
        eventually("the renewed one counts", lambda: 8.9 < days(door, "listener") < 9)
        other = door.authority.server(door.host, days=30).certificate_pem
        door.volumes["authority"].put({"ca.crt": other})
        eventually("the other authority counts", lambda: days(door, "cluster") > 1)


def test_the_gate_on_one_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = stack_config().replace("local: {", 'local: {metrics: "127.0.0.1:0", ')
    config = config.replace("engine: envoy,", "engine: envoy, check: review,")
    with LocalStack(tmp_path_factory.mktemp("s"), config=config) as stack:
        one = stack.make_identity()
        one.credentials().token()
        tokens = [
            *(stack.make_token(one) for _ in range(3)),
            stack.make_token(one, audiences=("other",)),
            stack.make_token(one, expired=True),
            stack.make_token(one, bound=False),
            one.token,
        ]
        port, pem = stack.supervisor.envoy.ports["gate"], stack.authority.pem
        for line in (*(bearer(each) for each in tokens), "X: y", "Authorization: Bearer a"):
            with connect(port, authority_pem=pem, name="localhost") as connection:
                exchange(connection, get(line, host="localhost"))
        text = flushed(stack.supervisor.envoy.ports["metrics"])
        where = {"envoy_rbac_http_prefix": "gate", "envoy_http_conn_manager_prefix": "gate"}
        accepted = values(text, "envoy_http_rbac_policy_allowed", **where)
        assert accepted == {"envoy_rbac_policy_name=daypass-accepted": 3}
        refused = values(text, "envoy_http_rbac_policy_denied", **where)
        assert set(refused.values()) == {1}
        assert {name.partition("=daypass-")[2] for name in refused} == {
            "audience", "expired", "unbound", "long-lived", "no-token", "unreadable",
        }  # fmt: skip
        keep("gate-one-machine", text)


def test_the_authorizer(plane: ControlPlane, identity: Identity, tmp_path: Path) -> None:
    home = plane.make_namespace("gate")
    kubeconfig = made_kubeconfig(plane, home, tmp_path / "kubeconfig")
    Publishing(plane=plane, home=home).create(identity)
    with serving(tmp_path, kubeconfig, home) as running:
        eventually("it is ready", lambda: running.get("/readyz")[0] == 200)
        good = bearer(plane.make_token(identity, audiences=[AUDIENCE]))
        other = bearer(plane.make_token(identity, audiences=["elsewhere"]))
        for line in (good, good, other, "X: y"):
            running.ask(line)
        text = scrape(running.served.status)
        decisions = values(text, "daypass_gate_decisions_total", gate="default")
        assert decisions["reason=allowed"] == 2
        assert decisions["reason=audience"] == decisions["reason=no-token"] == 1
        keep("authorizer", text)


def test_the_watch(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = watched_config()
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as plane:
        prepare(plane, config)
        with Watch(tmp_path / "watch", plane, config) as watch:
            watch.wait_leading()
            one = plane.make_identity(identity_namespace(plane), "one")
            becomes_published(plane, one.secret_uid)

            def counted() -> str | None:
                text = scrape(watch.address())
                counts = has_all("watch", text) and values(text, "daypass_gate_watch_credentials")
                return text if counts and counts[""] else None

            keep("watch", eventually("all has a value, and the credential is counted", counted))


def test_the_agent(tmp_path: Path) -> None:
    with AgentsDoor() as door:
        door.credentials(tmp_path)
        lines = 'credentials = "HERE/bot.json"\nlisten = "127.0.0.1:0"\n'
        config = write_config(tmp_path, f'{lines}[[token]]\npath = "HERE/token"\n')
        with running_agent(config) as agent:
            agent.wait_for("ready")
            text = scrape(agent.url("").removeprefix("http://").rstrip("/"))
    keep("agent", text.replace(str(tmp_path), "/run/daypass"))
