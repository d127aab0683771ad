"""`daypass gate watch` as a cluster runs it: a process, with the rights rendered for it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from daypass._core.kubernetes.labels import POLICY, POLICY_ENFORCED, PUBLISHED
from daypass.config import Config
from daypass.gate.publication import read_shard
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import GATE_PUBLISHER, GATE_WATCH
from daypass.render.rbac import namespace_rights
from daypass.render.workloads import config_text
from daypass.rules.published import CLUSTER_SHARDS, DENIALS, Shard
from support.children import Child
from support.clusters import account_token, admin_cluster, write_kubeconfig
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deadline import eventually
from support.rendered import config_of
from support.tokens import AUDIENCE

HOST = "serving.example.com"
FRONT = "istio-system"
HOME = "daypass"


def watched_config(**watch: str) -> Config:
    """A gate on Istio. `watch`: keys of the watch."""
    keys = ", ".join(f"{key}: {value}" for key, value in watch.items())
    return config_of(f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
  serving: {{host: {HOST}, front: istio, tls: {{secret: serving-tls}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gates: {{default: {{audience: {AUDIENCE}}}}}
watch: {{{keys}}}
gatePods: {{image: 'registry.example.com/daypass:1'}}
""")


def install(plane: ControlPlane, config: Config) -> None:
    """Apply what is rendered for the watch; the kinds and the gateway's namespace are there."""
    with admin_cluster(plane) as cluster:
        for document in render_objects(config, ClusterFacts()):
            is_watchs = document["metadata"]["name"].startswith((GATE_WATCH, GATE_PUBLISHER))
            if is_watchs or document["kind"] == "Namespace":
                cluster.apply(document, force=True)


def prepare(plane: ControlPlane, config: Config) -> None:
    """Istio's kinds, the gateway's namespace, and what is rendered for the watch."""
    install_istio(plane)
    plane.admin.create("/api/v1/namespaces", {"metadata": {"name": FRONT}})
    install(plane, config)


def published_shards(cluster: Cluster, home: str = HOME) -> dict[int, Shard]:
    """The shards of the set that are published, by number."""
    found = cluster.list(CONFIG_MAPS, home, labels=f"{PUBLISHED}=true")
    return dict(
        read_shard(each, CLUSTER_SHARDS) for each in found if each["metadata"]["name"] != DENIALS
    )


def published(plane: ControlPlane, home: str = HOME) -> set[str]:
    """The UIDs of the credentials in the published set."""
    with admin_cluster(plane) as cluster:
        shards = published_shards(cluster, home).values()
    return {uid for shard in shards for uid in shard.uids}


def becomes_published(plane: ControlPlane, *uids: str, home: str = HOME) -> None:
    eventually("it is published", lambda: set(uids) <= published(plane, home))


def becomes_removed(plane: ControlPlane, *uids: str, home: str = HOME) -> None:
    eventually("it is not published", lambda: not set(uids) & published(plane, home))


def identity_namespace(plane: ControlPlane, *, with_role: bool = True, home: str = HOME) -> str:
    """A namespace that is held to the policy, as `identity create` makes it.

    `home`: where the watch is.
    """
    name = plane.make_namespace(labels={POLICY: POLICY_ENFORCED})
    if with_role:
        give_role(plane, name, home)
    return name


def give_role(plane: ControlPlane, namespace: str, home: str = HOME) -> None:
    with admin_cluster(plane) as cluster:
        for document in namespace_rights(namespace, home):
            cluster.apply(document)


class Watch:
    """One that runs. `program`: what Python runs for `-m daypass`. `url`: of another API server."""

    def __init__(
        self, folder: Path, plane: ControlPlane, config: Config, program: Sequence[str] = (),
        url: str = "",
    ) -> None:  # fmt: skip
        folder.mkdir(exist_ok=True)
        self.folder = folder
        (folder / "daypass.yaml").write_text(config_text(config))
        token = account_token(plane, config.door.namespace, GATE_WATCH)
        write_kubeconfig(plane, token, folder / "kubeconfig", url=url)
        self.log = folder / "watch.log"
        self.child = Child(
            [sys.executable, *(program or ("-m", "daypass")), "gate", "watch",
             "--listen", "127.0.0.1:0", "--config", "daypass.yaml", "--kubeconfig", "kubeconfig"],
            log=self.log, folder=folder,
        )  # fmt: skip

    def events(self, *names: str) -> list[dict[str, Any]]:
        self.child.check()
        whole, _, _unfinished = self.log.read_text().rpartition("\n")
        events = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [each for each in events if each["event"] in names]

    def publishes(self) -> list[dict[str, Any]]:
        """Its states in which it publishes."""
        return [each for each in self.events("state") if each["state"] in ("publishing", "closed")]

    def follows(self) -> bool:
        return bool(self.events("state")[-1]["state"] == "follower")

    def wait_leading(self) -> None:
        eventually("it publishes", self.publishes)

    def address(self) -> str:
        """Where its health is."""
        mark = "its health is at "
        text = eventually("it says where", lambda: self.log.read_text().partition(mark)[2])
        return text.split()[0]

    def kill(self) -> None:
        """End it at once, as a node's failure does."""
        self.child.stop()

    def end(self) -> None:
        """End it as kubelet does."""
        self.child.stop(grace_seconds=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def get_from(watch: Watch, path: str) -> tuple[int, str]:
    """The code and the text of one of its pages."""
    return page_at(watch.address(), path)


def page_at(address: str, path: str) -> tuple[int, str]:
    """The code and the text of a page of a process's status server."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
