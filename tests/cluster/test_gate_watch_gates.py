"""One watch of two gates on a real API server, with the rights that are rendered: what is wrong at
one gateway is that gate's alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli import main
from daypass.config import Config
from daypass.kube.cluster import Cluster
from daypass.kube.resources import ENVOY_FILTERS, NAMESPACES, ROLE_BINDINGS
from daypass.render.names import GATE_PUBLISHER
from daypass.render.workloads import config_text
from daypass.rules.published import CLUSTER_SHARDS, shard_name, shard_of
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deadline import eventually
from support.identities import Identity
from support.rendered import config_of
from support.tokens import AUDIENCE
from support.watching import (
    FRONT,
    Watch,
    becomes_published,
    becomes_removed,
    get_from,
    identity_namespace,
    install,
)

SERVING = "serving"
"""The name of the second gate, and the namespace of its gateway."""
PROMPT_SECONDS = 1.5
"""For a change at one gateway, while the other one fails, on a machine that is busy."""
CONFIG: Config = config_of(f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
  ekf: {{host: ekf.example.com, front: istio, tls: {{secret: a}}}}
  serving: {{host: serving.example.com, front: istio, tls: outside, gateway: {SERVING}/public}}
policy: {{audiences: [{AUDIENCE}, serving], longestLifetime: 2h}}
gates:
  default: {{audience: {AUDIENCE}, hosts: [ekf.example.com]}}
  {SERVING}:
    audience: serving
    hosts: [serving.example.com]
    gatewayNamespace: {SERVING}
    gatewayLabels: {{istio: serving-gateway}}
gatePods: {{image: 'registry.example.com/daypass:1'}}
""")


def prepare_plane(plane: ControlPlane) -> None:
    install_istio(plane)
    for name in (FRONT, SERVING):
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    install(plane, CONFIG)


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    with admin_cluster(plane) as opened:
        yield opened


@pytest.fixture
def watch(plane: ControlPlane, tmp_path: Path) -> Iterator[Watch]:
    with Watch(tmp_path / "watch", plane, CONFIG) as running:
        running.wait_leading()
        yield running


@pytest.fixture
def bots(plane: ControlPlane) -> list[Identity]:
    namespace = identity_namespace(plane)
    return [plane.make_identity(namespace, f"bot-{number}") for number in range(4)]


@pytest.fixture
def command(
    plane: ControlPlane,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    Path("daypass.yaml").write_text(config_text(CONFIG))

    def run(*arguments: str, code: int = 0) -> str:
        assert main([*arguments, "--kubeconfig", str(plane.kubeconfig)]) == code
        return "".join(capsys.readouterr())

    return run


def is_at(cluster: Cluster, gate: str, uid: str) -> bool:
    """Whether the gateway of a gate gets a UID."""
    name = shard_name(shard_of(uid, CLUSTER_SHARDS))
    where = (f"{name}.{SERVING}", SERVING) if gate == SERVING else (name, FRONT)
    return uid in json.dumps(cluster.get(ENVOY_FILTERS, *where)["spec"])


def at_both(cluster: Cluster, uid: str) -> list[bool]:
    return [is_at(cluster, gate, uid) for gate in ("default", SERVING)]


def problem(watch: Watch) -> str:
    return str(json.loads(get_from(watch, "/status")[1])["problems"].get("gates", ""))


@contextmanager
def forbidden(plane: ControlPlane, cluster: Cluster) -> Iterator[None]:
    """While the watch may not write at the second gateway."""
    cluster.delete(ROLE_BINDINGS, GATE_PUBLISHER, SERVING)
    try:
        yield
    finally:
        install(plane, CONFIG)


@contextmanager
def gone(plane: ControlPlane, cluster: Cluster) -> Iterator[None]:
    """While the namespace of the second gateway does not exist."""
    cluster.delete(NAMESPACES, SERVING)
    try:
        eventually("it is gone", lambda: cluster.find(NAMESPACES, SERVING) is None)
        yield
    finally:
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": SERVING}})
        install(plane, CONFIG)


@pytest.mark.parametrize("fails", [forbidden, gone])
def test_a_gateway_that_fails_stops_no_other_and_catches_up(
    plane: ControlPlane,
    cluster: Cluster,
    watch: Watch,
    bots: list[Identity],
    command: Callable[..., str],
    fails: Callable[[ControlPlane, Cluster], AbstractContextManager[None]],
) -> None:
    becomes_published(plane, *(bot.secret_uid for bot in bots))
    with fails(plane, cluster):
        took = []
        for bot in bots[:3]:
            began = SYSTEM_CLOCK.monotonic()
            plane.admin.delete(bot.secret_path)
            becomes_removed(plane, bot.secret_uid)
            took.append(SYSTEM_CLOCK.monotonic() - began)
            assert not is_at(cluster, "default", bot.secret_uid)
        assert max(took) <= PROMPT_SECONDS, took
        eventually("it is reported", lambda: f"the gate {SERVING} " in problem(watch))
        assert get_from(watch, "/readyz")[0] == 200
        said = command("identity", "revoke", "bot-3", "-n", bots[3].namespace, "--yes",
                       "--timeout", "2s", code=3)  # fmt: skip
        assert f"could not be published at: {SERVING}" in said
    eventually("it is over", lambda: not problem(watch), seconds=60)
    for bot in bots:
        assert at_both(cluster, bot.secret_uid) == [False, False]
    late = plane.make_identity(bots[0].namespace, "late")
    becomes_published(plane, late.secret_uid)
    eventually("it is at both", lambda: at_both(cluster, late.secret_uid) == [True, True])


def test_watch_once_publishes_where_it_may_and_names_the_other_gate(
    plane: ControlPlane, cluster: Cluster, bots: list[Identity], command: Callable[..., str]
) -> None:
    with forbidden(plane, cluster):
        said = command("gate", "watch", "--once", code=0)  # an administrator may
        assert at_both(cluster, bots[0].secret_uid) == [True, True]
    with gone(plane, cluster):
        plane.admin.delete(bots[0].secret_path)
        said = command("gate", "watch", "--once", code=1)
        assert f"the gate {SERVING} " in said
        assert not is_at(cluster, "default", bots[0].secret_uid)
    command("gate", "watch", "--once")
    assert at_both(cluster, bots[0].secret_uid) == [False, False]
    assert at_both(cluster, bots[1].secret_uid) == [True, True]
