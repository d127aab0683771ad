"""`daypass apply` over the gate of another version, while requests pass it: a real API server,
`gate watch`, istiod and its Envoy. The test does what kubelet would do.

`data/gate-before.json.xz` has, for each of its checks, what commit 7a166ff rendered for `config`,
and what its watch published: parts with the UIDs `placeholders`, in place of which the test puts
others, KEYS, and NEVER, when what is published closes.
"""

from __future__ import annotations

import json
import lzma
import socket
import ssl
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from daypass._core.files import write_private
from daypass._core.labels import HOLDS_INVENTORY
from daypass._core.objects import Object, name_of
from daypass._core.secret import Secret
from daypass.deploy.exposure_diff import exposure
from daypass.deploy.inventory import AppliedObject, Inventory, write_inventory
from daypass.deploy.object_ref import ObjectRef
from daypass.deploy.prerequisites import authority_in, authority_object, make_serving_certificate
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, ENVOY_FILTERS, SECRETS
from daypass.local.echo import Echo
from daypass.render.names import GATE, GATE_KEYS, GATE_PAIR, GATE_TRUST, GATE_WATCH, gate_host
from daypass.rules.credentials import CLUSTER_PARTS, part_of
from daypass.rules.published import NAMES
from support import raw
from support.authority import Authority, Certificate
from support.children import Child
from support.clusters import account_token, admin_cluster, write_kubeconfig
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.impostors import Heads, response
from support.istio_gates import GUARDED, route, served, service
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway, service_at
from support.objects import tls_secret
from support.rendered import config_of
from support.serving import gate_serve_over_tls
from support.tokens import AUDIENCE
from support.traffic import Traffic
from support.watching import HOME, Watch, identity_namespace

pytestmark = pytest.mark.timeout(600)

BEFORE = Path(__file__).parent / "data" / "gate-before.json.xz"
CLOSE_AFTER_SECONDS = 60
PULL_SECONDS = 6
"""A gateway that has got the new filters waits less for what they read."""
NEVER = "2100-01-01T00:00:00Z"
"""Envoy's config has it as a pattern of digits, which stays."""


def config_text(check: str) -> str:
    return f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{door: {{host: door.example.com, front: istio, tls: {{secret: public}}}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gate: {{audience: {AUDIENCE}, hosts: [{GUARDED}], check: {check}, \
closeAfter: {CLOSE_AFTER_SECONDS}s, image: 'registry.example.com/daypass:2'}}
"""


def placeholders(uid: str) -> tuple[str, str]:
    """The UIDs in the part of BEFORE that would have this one."""
    number = part_of(uid, CLUSTER_PARTS)
    start = f"{number * 256 // CLUSTER_PARTS:02x}000000-0000-4000-8000-00000000000"
    return f"{start}a", f"{start}b"


@dataclass(slots=True, kw_only=True)
class Environment:
    """A cluster with a guarded service, and a gateway before it."""

    folder: Path
    config: str
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
        """The new authorizer serves the gateway, once it is ready."""
        folder = self.folder / "authorizer"
        folder.mkdir()
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


class AuthorizerBefore(Heads):
    """Responds as that of BEFORE does, to tokens that it takes for `users`, and to all others."""

    def __init__(self, context: ssl.SSLContext, users: Mapping[Secret, str]) -> None:
        super().__init__(context)
        self._users = {raw.bearer(token): user for token, user in users.items()}

    def respond(self, connection: socket.socket, head: bytes) -> None:
        lines = {line.partition(":")[2].strip() for line in head.decode().split("\r\n")}
        found = next((user for line, user in self._users.items() if line[15:] in lines), None)
        if found is None:
            headers = "content-type: application/json\r\ndaypass-reason: review-refused\r\n"
            connection.sendall(response(headers.encode(), code=b"401", body=b"{}"))
            return
        headers = (
            f"kubeflow-userid: {found}\r\nkubeflow-groups: system:serviceaccounts\r\n"
            "x-envoy-auth-headers-to-remove: authorization\r\n"
        )
        connection.sendall(response(headers.encode()))


@contextmanager
def running_environment(folder: Path, config: str) -> Iterator[Environment]:
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
            yield Environment(
                folder=folder, config=config, plane=plane, cluster=cluster, gateway=gateway,
                public=public,
            )  # fmt: skip


@contextmanager
def authorizer_before(env: Environment, users: Mapping[Secret, str]) -> Iterator[None]:
    """That of BEFORE serves the gateway, with a certificate that `apply` keeps."""
    host = gate_host(config_of(env.config))
    made = make_serving_certificate(HOME, GATE_PAIR, host, SYSTEM_CLOCK)
    env.cluster.apply(made, force=True)
    trusted = authority_object("Secret", NAMESPACE, GATE_TRUST, authority_in(made))
    env.cluster.apply(trusted, force=True)
    files = {name: b64decode(text) for name, text in made["data"].items()}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in ("tls.crt", "tls.key"):
        write_private(str(env.folder / name), files[name])
    context.load_cert_chain(env.folder / "tls.crt", env.folder / "tls.key")
    with AuthorizerBefore(context, users) as before:
        env.cluster.apply(service_at(GATE, before.port), force=True)
        yield


def install_before(env: Environment, check: str, *known: Identity) -> None:
    """Apply the other version as it was, with its inventory; its set has the `known` ones."""
    keys = env.plane.admin.request("GET", "/openid/v1/jwks").body.decode()
    text = json.dumps(json.loads(lzma.decompress(BEFORE.read_bytes()))[check])
    text = text.replace('"KEYS"', json.dumps(keys))
    text = text.replace(NEVER, rfc3339(utc(SYSTEM_CLOCK.unix() + CLOSE_AFTER_SECONDS)))
    for index, identity in enumerate(known):
        text = text.replace(placeholders(identity.secret_uid)[index], identity.secret_uid)
    documents = json.loads(text)
    entries = {}
    for document in documents["applied"]:
        if document["kind"] == "Namespace":
            document["metadata"]["labels"].update(HOLDS_INVENTORY)
        made = env.cluster.apply(document, force=True)
        uid = str(made["metadata"]["uid"])
        entries[ObjectRef.of(document)] = AppliedObject(api_version=document["apiVersion"], uid=uid)
    exposed = exposure(config_of(env.config))
    write_inventory(env.cluster, Inventory(namespace=HOME), entries, exposed)
    for document in documents["published"]:
        env.cluster.apply(document, force=True)


class Kubelet:
    """Runs what Deployments ask for: a changed watch, once its image is there."""

    def __init__(self, env: Environment) -> None:
        self.watch: Watch | None = None
        self._pulled = 0.0
        self._env = env
        self._before = self._deployment(GATE_WATCH)["metadata"]["generation"]

    def look(self) -> None:
        env = self._env
        if self.watch is None:
            if self._deployment(GATE_WATCH)["metadata"]["generation"] == self._before:
                return
            now = SYSTEM_CLOCK.monotonic()
            self._pulled = self._pulled or now + PULL_SECONDS
            if now < self._pulled:
                return
            self.watch = Watch(env.folder / "watch", env.plane, config_of(env.config))
        for document in env.plane.admin.get(self._path())["items"]:
            count = document["spec"].get("replicas", 1)
            status = {
                "observedGeneration": document["metadata"]["generation"], "replicas": count,
                "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
            }  # fmt: skip
            if not status.items() <= document.get("status", {}).items():
                path = f"{self._path()}/{name_of(document)}/status"
                env.plane.admin.patch(path, {"status": status})

    def stop(self) -> None:
        if self.watch is not None:
            self.watch.end()

    def _deployment(self, name: str) -> Object:
        return self._env.plane.admin.get(f"{self._path()}/{name}")

    @staticmethod
    def _path() -> str:
        return f"/apis/apps/v1/namespaces/{HOME}/deployments"


def apply(env: Environment) -> Child:
    """`daypass apply`, as an administrator runs it."""
    folder = env.folder / "apply"
    folder.mkdir()
    (folder / "daypass.yaml").write_text(env.config)
    return Child(
        [sys.executable, "-m", "daypass", "apply", "--yes", "--no-commit", "--no-verify",
         "--timeout", "2m", "--kubeconfig", str(env.plane.kubeconfig)],
        log=folder / "apply.log", folder=folder,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "check", "authorizer"),
    [("jwt", "jwt", ""), ("both", "review", "last"), ("review", "review", "first")],
)
def test_an_upgrade_under_traffic_refuses_no_good_request_and_lets_no_revoked_one_pass(
    tmp_path: Path, before: str, check: str, authorizer: str
) -> None:
    """`authorizer`: whether the new one serves the old filters, or the old one the new filters."""
    with running_environment(tmp_path, config_text(check)) as env, ExitStack() as stack:
        plane = env.plane
        namespace = identity_namespace(plane)
        revoked, revoked_token = env.token(namespace, "revoked")
        late, late_token = env.token(namespace, "late")
        kept, kept_token = env.token(namespace, "good")
        good, bad, meanwhile = map(env.traffic, (kept_token, revoked_token, late_token))
        plane.admin.delete(revoked.secret_path)
        install_before(env, before, kept, late)
        if authorizer:
            users = {kept_token: kept.user, late_token: late.user}
            stack.enter_context(authorizer_before(env, users))
        for traffic, code in ((good, 200), (bad, 401), (meanwhile, 200)):
            with traffic.flowing():
                eventually("the old gate is in force", lambda t=traffic, c=code: t.last == c)  # type: ignore[misc]
            traffic.codes.clear()
        kubelet = Kubelet(env)
        stack.callback(kubelet.stop)
        for traffic in (good, bad, meanwhile):
            stack.enter_context(traffic.flowing())
        if authorizer == "first":
            stack.enter_context(env.authorizer())
        applying = apply(env)

        def is_done() -> bool:
            kubelet.look()
            if kubelet.watch is not None and plane.admin.find(late.secret_path) is not None:
                plane.admin.delete(late.secret_path)
            return applying.exit_code() is not None

        eventually("it is applied", is_done)
        assert applying.exit_code() == 0, applying.tail(40)
        if authorizer == "last":
            stack.enter_context(env.authorizer())
        eventually("what was revoked meanwhile is refused", lambda: meanwhile.last == 401)
        counted = good.codes.total()
        eventually("more has passed", lambda: good.codes.total() > counted + 100)
        assert good.codes.keys() == {200}, good.codes
        assert bad.codes.keys() == {401}, bad.codes
        assert left_of_before(env.cluster) == set()


def left_of_before(cluster: Cluster) -> set[str]:
    """The gate's objects that nobody wants any more."""
    wanted = {*NAMES, GATE, GATE_KEYS, GATE_WATCH}
    there = [*cluster.list(CONFIG_MAPS, HOME), *cluster.list(ENVOY_FILTERS, NAMESPACE)]
    return {name_of(each) for each in there if name_of(each).startswith(GATE)} - wanted
