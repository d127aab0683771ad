"""`daypass apply` over the gate of another version, while requests pass it: a real API server,
`gate watch`, istiod and its Envoy. The test does what kubelet would do.

`data/gate-before.json.gz` has what commit 812938a rendered for CONFIG, and what its watch
published. Words stand for what is known only here: KEYS, REVOKED (a Secret's UID), NAMESPACE (one
that it watched) and CLOSES (when its list becomes invalid).
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from daypass._core.labels import HOLDS_INVENTORY
from daypass._core.secret import Secret
from daypass.deploy.exposure_diff import exposure
from daypass.deploy.inventory import AppliedObject, Inventory, write_inventory
from daypass.deploy.object_ref import ObjectRef
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, ENVOY_FILTERS, name_of
from daypass.local.echo import Echo
from daypass.render.objects import GATE, GATE_KEYS, GATE_WATCH, Object
from daypass.rules.published import NAMES
from support import raw
from support.authority import Authority
from support.children import Child
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.istio_gates import GUARDED, route, served, service
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway
from support.objects import tls_secret
from support.raw import Reconnecting
from support.rendered import config_of
from support.tokens import AUDIENCE
from support.watching import HOME, Watch, identity_namespace

pytestmark = pytest.mark.timeout(600)

BEFORE = Path(__file__).parent / "data" / "gate-before.json.gz"
CLOSE_AFTER_SECONDS = 60
CONFIG = f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{door: {{host: door.example.com, front: istio, tls: {{secret: public}}}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gate: {{audience: {AUDIENCE}, hosts: [{GUARDED}], closeAfter: {CLOSE_AFTER_SECONDS}s, \
image: 'registry.example.com/daypass:2'}}
"""


@dataclass(slots=True, kw_only=True)
class Stage:
    """A cluster with a guarded service, and a gateway before it."""

    plane: ControlPlane
    cluster: Cluster
    gateway: Gateway
    public: Authority

    def connect(self) -> Any:
        return self.gateway.connect(name=GUARDED, authority_pem=self.public.pem)

    def token(self, namespace: str, name: str) -> tuple[Any, Secret]:
        """An identity and a short-lived token of it."""
        identity = self.plane.make_identity(namespace, name)
        return identity, self.plane.make_token(identity, audiences=[AUDIENCE])


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    (folder / "gateway").mkdir()
    public = Authority()
    with (
        ControlPlane.start(folder / "plane") as plane,
        closing(admin_cluster(plane)) as cluster,
        Echo() as echo,
    ):
        prepare(plane)
        for each in (
            tls_secret("public", NAMESPACE, public.server(GUARDED)),
            served(GUARDED),
            route(GUARDED, "echo"),
            service("echo", echo.address.port),
        ):
            cluster.apply(each)
        with running_gateway(folder / "gateway", plane) as gateway:
            yield Stage(plane=plane, cluster=cluster, gateway=gateway, public=public)


def install_before(stage: Stage, *, revoked: str, namespace: str) -> None:
    """Apply the other version as it was, with its inventory."""
    closes = rfc3339(utc(SYSTEM_CLOCK.unix() + CLOSE_AFTER_SECONDS))
    text = gzip.decompress(BEFORE.read_bytes()).decode()
    keys = stage.plane.admin.request("GET", "/openid/v1/jwks").body.decode()
    for word, value in (
        ("KEYS", keys), ("REVOKED", revoked), ("NAMESPACE", namespace), ("CLOSES", closes),
    ):  # fmt: skip
        assert f'"{word}"' in text
        text = text.replace(f'"{word}"', json.dumps(value))
    documents = json.loads(text)
    entries = {}
    for document in documents["applied"]:
        if document["kind"] == "Namespace":
            document["metadata"]["labels"].update(HOLDS_INVENTORY)
        made = stage.cluster.apply(document, force=True)
        uid = str(made["metadata"]["uid"])
        entries[ObjectRef.of(document)] = AppliedObject(api_version=document["apiVersion"], uid=uid)
    exposed = exposure(config_of(CONFIG))
    write_inventory(stage.cluster, Inventory(namespace=HOME), entries, exposed)
    for document in documents["published"]:
        stage.cluster.apply(document, force=True)


@dataclass(slots=True)
class Traffic:
    """Requests with one token, one after another, on a connection that is open as long as Envoy
    keeps it. `codes`: how often each was answered.
    """

    stage: Stage
    token: Secret
    codes: Counter[int] = field(default_factory=Counter)
    last: int = 0

    @contextmanager
    def flowing(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._flow, args=[stop], daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _flow(self, stop: threading.Event) -> None:
        with closing(Reconnecting(self.stage.connect)) as caller:
            request = raw.get(raw.bearer(self.token), host=GUARDED)
            while not stop.wait(0.02):
                self.last = caller.ask(request).code
                self.codes[self.last] += 1


class Kubelet:
    """Runs what Deployments ask for: the watch, as soon as it changes."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.watch: Watch | None = None
        self._stage = stage
        self._folder = folder
        self._before = self._deployment(GATE_WATCH)["metadata"]["generation"]

    def look(self) -> None:
        if self.watch is None:
            if self._deployment(GATE_WATCH)["metadata"]["generation"] == self._before:
                return
            self.watch = Watch(self._folder / "watch", self._stage.plane, config_of(CONFIG))
        for document in self._stage.plane.admin.get(self._path())["items"]:
            count = document["spec"].get("replicas", 1)
            status = {
                "observedGeneration": document["metadata"]["generation"], "replicas": count,
                "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
            }  # fmt: skip
            if not status.items() <= document.get("status", {}).items():
                path = f"{self._path()}/{name_of(document)}/status"
                self._stage.plane.admin.patch(path, {"status": status})

    def stop(self) -> None:
        if self.watch is not None:
            self.watch.end()

    def _deployment(self, name: str) -> Object:
        return self._stage.plane.admin.get(f"{self._path()}/{name}")

    @staticmethod
    def _path() -> str:
        return f"/apis/apps/v1/namespaces/{HOME}/deployments"


def apply(stage: Stage, folder: Path) -> Child:
    """`daypass apply`, as an administrator runs it."""
    folder.mkdir()
    (folder / "daypass.yaml").write_text(CONFIG)
    return Child(
        [sys.executable, "-m", "daypass", "apply", "--yes", "--no-commit", "--no-verify",
         "--timeout", "2m", "--kubeconfig", str(stage.plane.kubeconfig)],
        log=folder / "apply.log", folder=folder,
    )  # fmt: skip


def test_an_upgrade_under_traffic_refuses_no_good_request_and_lets_no_revoked_one_pass(
    tmp_path: Path,
) -> None:
    with staged(tmp_path) as stage, ExitStack() as stack:
        plane = stage.plane
        namespace = identity_namespace(plane)
        revoked, revoked_token = stage.token(namespace, "revoked")
        late, late_token = stage.token(namespace, "late")
        good = Traffic(stage, stage.token(namespace, "good")[1])
        bad, meanwhile = Traffic(stage, revoked_token), Traffic(stage, late_token)
        plane.admin.delete(revoked.secret_path)
        install_before(stage, revoked=revoked.secret_uid, namespace=namespace)
        for traffic, code in ((good, 200), (bad, 401), (meanwhile, 200)):
            with traffic.flowing():
                eventually("the old gate is in force", lambda t=traffic, c=code: t.last == c)  # type: ignore[misc]
            traffic.codes.clear()
        kubelet = Kubelet(stage, tmp_path)
        stack.callback(kubelet.stop)
        for traffic in (good, bad, meanwhile):
            stack.enter_context(traffic.flowing())
        applying = apply(stage, tmp_path / "apply")

        def is_done() -> bool:
            kubelet.look()
            if kubelet.watch is not None and plane.admin.find(late.secret_path) is not None:
                plane.admin.delete(late.secret_path)
            return applying.exit_code() is not None

        eventually("it is applied", is_done)
        assert applying.exit_code() == 0, applying.tail(40)
        # The old filters hear of no deletion any more: connections leave them one by one.
        eventually(
            "what was revoked meanwhile is refused", lambda: meanwhile.last == 401,
            seconds=CLOSE_AFTER_SECONDS,
        )  # fmt: skip
        counted = good.codes.total()
        eventually("more has passed", lambda: good.codes.total() > counted + 100)
        assert good.codes.keys() == {200}, good.codes
        assert bad.codes.keys() == {401}, bad.codes
        assert left_of_before(stage.cluster) == set()


def left_of_before(cluster: Cluster) -> set[str]:
    """The gate's objects that nobody wants any more."""
    wanted = {*NAMES, GATE, GATE_KEYS, GATE_WATCH}
    there = [*cluster.list(CONFIG_MAPS, HOME), *cluster.list(ENVOY_FILTERS, NAMESPACE)]
    return {name_of(each) for each in there if name_of(each).startswith(GATE)} - wanted
