"""`daypass apply` changes a gate in use, while requests pass it: a real API server, `gate watch`,
istiod and its Envoy. The test does what kubelet would do.
"""

from __future__ import annotations

import ssl
import sys
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.objects import Object, name_of
from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS
from daypass.local.echo import Echo
from daypass.render.names import GATE, GATE_PAIR, GATE_WATCH
from support.authority import Authority, Certificate
from support.children import Child
from support.clusters import account_token, admin_cluster, write_kubeconfig
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.istio_gates import GUARDED, route, served, service
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway, service_at
from support.objects import tls_secret
from support.rendered import config_of
from support.serving import gate_serve_over_tls
from support.tokens import AUDIENCE
from support.traffic import Traffic
from support.watching import HOME, Watch, identity_namespace

pytestmark = pytest.mark.timeout(600)

PULL_SECONDS = 6
"""A gateway that has got the new filters waits less for what they read."""


def config_text(check: str, version: int) -> str:
    """`version`: of the image, and of the rules: the second also lets browsers log in."""
    others = ", others: login" if version == 2 else ""
    return f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{door: {{host: door.example.com, front: istio, tls: {{secret: public}}}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gate: {{audience: {AUDIENCE}, hosts: [{GUARDED}], check: {check}{others}}}
watch: {{closeAfter: 60s}}
gatePods: {{image: 'registry.example.com/daypass:{version}'}}
"""


@dataclass(slots=True, kw_only=True)
class Env:
    """A cluster with a guarded service, and a gateway before it."""

    folder: Path
    config: str
    """Of the gate that is applied next."""
    plane: ControlPlane
    cluster: Cluster
    gateway: Gateway
    public: Authority

    def traffic(self, token: Secret) -> Traffic:
        def connect() -> ssl.SSLSocket:
            return self.gateway.connect(name=GUARDED, authority_pem=self.public.pem)

        return Traffic(connect=connect, host=GUARDED, token=token)

    def token(self, namespace: str, name: str) -> tuple[Identity, Secret]:
        """An identity and a short-lived token of it."""
        identity = self.plane.make_identity(namespace, name)
        return identity, self.plane.make_token(identity, audiences=[AUDIENCE])

    @contextmanager
    def authorizer(self) -> Iterator[None]:
        """The authorizer of `config` serves the gateway, once it is ready."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        token = account_token(self.plane, HOME, GATE)
        write_kubeconfig(self.plane, token, folder / "kubeconfig")
        secret = self.cluster.get(SECRETS, GATE_PAIR, HOME)["data"]
        files = {name: b64decode(secret[name]).decode() for name in ("tls.crt", "tls.key")}
        pair = Certificate(certificate_pem=files["tls.crt"], key_pem=files["tls.key"])
        arguments = ("--kubeconfig", "kubeconfig")
        with gate_serve_over_tls(folder, self.config, pair, *arguments) as served:
            eventually("the authorizer is ready", lambda: is_ready(served.status))
            self.cluster.apply(service_at(GATE, served.port), force=True)
            yield


def is_ready(status: str) -> bool:
    with suppress(HTTPError), urlopen(f"http://{status}/readyz", timeout=20):
        return True
    return False


@contextmanager
def running_env(folder: Path, config: str) -> Iterator[Env]:
    (folder / "gateway").mkdir()
    public = Authority()
    with (
        ControlPlane.start(folder / "plane") as plane,
        admin_cluster(plane) as cluster,
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
            yield Env(
                folder=folder, config=config, plane=plane, cluster=cluster, gateway=gateway,
                public=public,
            )  # fmt: skip


class Kubelet:
    """Runs what Deployments ask for: a changed watch, once its image is there."""

    def __init__(self, env: Env) -> None:
        self._watch: Watch | None = None
        self._generation = 0
        self._pulled = 0.0
        self._env = env

    def look(self) -> None:
        env = self._env
        for document in env.plane.admin.get(self._path())["items"]:
            if name_of(document) == GATE_WATCH and not self._runs(document):
                continue
            count = document["spec"].get("replicas", 1)
            status = {
                "observedGeneration": document["metadata"]["generation"], "replicas": count,
                "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
            }  # fmt: skip
            if not status.items() <= document.get("status", {}).items():
                path = f"{self._path()}/{name_of(document)}/status"
                env.plane.admin.patch(path, {"status": status})

    def _runs(self, document: Object) -> bool:
        """Whether the watch is the one of this Deployment; starts it, and then ends the other."""
        generation, now = document["metadata"]["generation"], SYSTEM_CLOCK.monotonic()
        if generation == self._generation:
            return True
        self._pulled = self._pulled or now + PULL_SECONDS
        if now < self._pulled:
            return False
        env, before = self._env, self._watch
        folder = env.folder / f"watch-{generation}"
        self._watch = Watch(folder, env.plane, config_of(env.config))
        self._generation, self._pulled = generation, 0.0
        if before is not None:
            before.end()
        return True

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.end()

    @staticmethod
    def _path() -> str:
        return f"/apis/apps/v1/namespaces/{HOME}/deployments"


def apply(env: Env) -> Child:
    """`daypass apply`, as an administrator runs it."""
    folder = Path(tempfile.mkdtemp(dir=env.folder))
    (folder / "daypass.yaml").write_text(env.config)
    return Child(
        [sys.executable, "-m", "daypass", "apply", "--yes", "--no-commit", "--no-verify",
         "--timeout", "2m", "--kubeconfig", str(env.plane.kubeconfig)],
        log=folder / "apply.log", folder=folder,
    )  # fmt: skip


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_a_change_under_traffic_refuses_no_good_request_and_lets_no_revoked_one_pass(
    tmp_path: Path, check: str
) -> None:
    with running_env(tmp_path, config_text(check, 1)) as env, ExitStack() as stack:
        plane, kubelet = env.plane, Kubelet(env)
        stack.callback(kubelet.stop)

        def is_applied(applying: Child) -> bool:
            kubelet.look()
            return applying.exit_code() is not None

        first = apply(env)
        eventually("the first is applied", lambda: is_applied(first))
        assert first.exit_code() == 0, first.tail(40)
        namespace = identity_namespace(plane)
        revoked, revoked_token = env.token(namespace, "revoked")
        late, late_token = env.token(namespace, "late")
        _, kept_token = env.token(namespace, "good")
        good, bad, meanwhile = map(env.traffic, (kept_token, revoked_token, late_token))
        if check == "review":
            stack.enter_context(env.authorizer())
        plane.admin.delete(revoked.secret_path)
        for traffic, code in ((good, 200), (bad, 401), (meanwhile, 200)):
            with traffic.flowing():
                eventually("the gate is in force", lambda t=traffic, c=code: t.last == c)  # type: ignore[misc]
            traffic.codes.clear()
        for traffic in (good, bad, meanwhile):
            stack.enter_context(traffic.flowing())
        env.config = config_text(check, 2)
        second = apply(env)

        def is_changed() -> bool:
            if plane.admin.find(late.secret_path) is not None and good.codes.total() > 50:
                plane.admin.delete(late.secret_path)
            return is_applied(second)

        eventually("the second is applied", is_changed)
        assert second.exit_code() == 0, second.tail(40)
        if check == "review":
            stack.enter_context(env.authorizer())
        eventually("what was revoked meanwhile is refused", lambda: meanwhile.last == 401)
        counted = good.codes.total()
        eventually("more has passed", lambda: good.codes.total() > counted + 100)
        assert good.codes.keys() == {200}, good.codes
        assert bad.codes.keys() == {401}, bad.codes
