"""Applies configs by `daypass apply`, and runs what the Deployments ask for, from the objects in
the cluster, as kubelets would.
"""

from __future__ import annotations

import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.objects import Object, name_of
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, SECRETS
from daypass.render.names import DOOR, DOOR_PAIR, GATE, GATE_PAIR, GATE_WATCH
from support.authority import Certificate
from support.children import Child
from support.clusters import account_token, write_kubeconfig
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.istio_gateway import service_at
from support.objects import config_map
from support.rendered import config_of, running_container
from support.serving import Served, gate_serve_over_tls
from support.watching import HOME, Watch


@dataclass(slots=True, kw_only=True)
class Kubelet:
    """Starts a Deployment's process anew when it has changed, and then reports it ready.

    `connect`: leads the Service of this name to this port. `pull_seconds`: how long an image takes
    to arrive. One process stands for all replicas. What was replaced is ended once the other one is
    ready, except authorizers: gateways may still ask them.
    """

    folder: Path
    plane: ControlPlane
    cluster: Cluster
    pull_seconds: float = 0
    connect: Callable[[str, int], None] | None = None
    watch: Watch | None = None
    authorizer: Served | None = None
    _started: dict[str, tuple[int, Callable[[], bool]]] = field(default_factory=dict)
    """Generation and readiness by name."""
    _pulled: dict[str, float] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def look(self) -> None:
        """Do what is to be done now."""
        deployments = f"/apis/apps/v1/namespaces/{HOME}/deployments"
        for document in self.plane.admin.get(deployments)["items"]:
            if not self._runs(document):
                continue
            count = document["spec"].get("replicas", 1)
            status = {
                "observedGeneration": document["metadata"]["generation"], "replicas": count,
                "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
            }  # fmt: skip
            if not status.items() <= document.get("status", {}).items():
                path = f"{deployments}/{name_of(document)}/status"
                self.plane.admin.patch(path, {"status": status})

    def apply(self, text: str) -> None:
        """Apply a config, as an administrator does, and run what it asks for until that is done."""
        applying = self.start_apply(text)
        eventually("it is applied", lambda: self.has_applied(applying), seconds=180)
        assert applying.exit_code() == 0, applying.tail(40)

    def start_apply(self, text: str) -> Child:
        """`daypass apply` of a config, which comes to its end as `has_applied` is asked."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "daypass.yaml").write_text(text)
        return Child(
            [sys.executable, "-m", "daypass", "apply", "--yes", "--no-commit", "--no-verify",
             "--timeout", "2m", "--kubeconfig", str(self.plane.kubeconfig)],
            log=folder / "apply.log", folder=folder,
        )  # fmt: skip

    def has_applied(self, applying: Child) -> bool:
        self.look()
        return applying.exit_code() is not None

    def stop(self) -> None:
        """End all that runs."""
        if self.watch is not None:
            self.watch.end()
        self._open.close()

    def _runs(self, document: Object) -> bool:
        name, generation = name_of(document), document["metadata"]["generation"]
        started, is_ready = self._started.get(name, (0, bool))
        if started == generation:
            return is_ready()
        now = SYSTEM_CLOCK.monotonic()
        if now >= self._pulled.setdefault(name, now + self.pull_seconds):
            del self._pulled[name]
            folder = self.folder / f"{name}-{generation}"
            self._started[name] = generation, self._start(name, folder, document)
        return False

    def _start(self, name: str, folder: Path, deployment: Object) -> Callable[[], bool]:
        """Start its process; return whether that is ready, to be asked again and again."""
        if name == GATE_WATCH:
            return self._start_watch(folder, deployment)
        if name == GATE:
            return self._start_authorizer(folder, deployment)
        assert name == DOOR
        return self._start_door(deployment)

    def _config(self, document: Object) -> dict[str, str]:
        """The files that the pod's config is."""
        volumes = document["spec"]["template"]["spec"]["volumes"]
        (name,) = (each["configMap"]["name"] for each in volumes if each["name"] == "config")
        files: dict[str, str] = self.cluster.get(CONFIG_MAPS, name, HOME)["data"]
        return files

    def _start_watch(self, folder: Path, deployment: Object) -> Callable[[], bool]:
        before, text = self.watch, self._config(deployment)["daypass.yaml"]
        self.watch = started = Watch(folder, self.plane, config_of(text))

        def is_ready() -> bool:
            nonlocal before
            if before is not None and answers(started.address()):
                before.end()
                before = None
            return before is None

        return is_ready

    def _start_authorizer(self, folder: Path, deployment: Object) -> Callable[[], bool]:
        folder.mkdir()
        text = self._config(deployment)["daypass.yaml"]
        write_kubeconfig(self.plane, account_token(self.plane, HOME, GATE), folder / "kubeconfig")
        served = self._open.enter_context(
            gate_serve_over_tls(folder, text, self._pair(GATE_PAIR), "--kubeconfig", "kubeconfig")
        )

        def is_ready() -> bool:
            if self.authorizer is not served and answers(served.status):
                self._lead(GATE, served.port)
                self.authorizer = served
            return self.authorizer is served

        return is_ready

    def _start_door(self, deployment: Object) -> Callable[[], bool]:
        # A path that is short enough for the name of a Unix socket.
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="door-")))
        files = config_map(DOOR, HOME, self._config(deployment))
        objects = [{**deployment, "kind": "Deployment"}, files]
        envoy, _ = self._open.enter_context(
            running_container(
                folder, objects, self._pair(DOOR_PAIR),
                api_server=self.plane.port, authority_pem=self.plane.ca_pem,
            )
        )  # fmt: skip
        self._lead(DOOR, envoy.port("door"))
        return lambda: True

    def _pair(self, name: str) -> Certificate:
        data = self.cluster.get(SECRETS, name, HOME)["data"]
        files = {key: b64decode(data[key]).decode() for key in ("tls.crt", "tls.key")}
        return Certificate(certificate_pem=files["tls.crt"], key_pem=files["tls.key"])

    def _lead(self, name: str, port: int) -> None:
        if self.connect is not None:
            self.connect(name, port)
        else:
            self.cluster.apply(service_at(name, port), force=True)


def answers(status: str) -> bool:
    """Whether the program with its health there is ready."""
    with suppress(HTTPError), urlopen(f"http://{status}/readyz", timeout=20):
        return True
    return False
