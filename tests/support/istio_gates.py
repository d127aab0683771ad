"""A gate of the engine istio on a real istiod: its objects, an echo service, a login beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.kube.cluster import Cluster
from daypass.local.echo import Echo
from daypass.render.names import GATE
from daypass.rules.published import CLUSTER_SHARDS, Published
from daypass.rules.reasons import Reason
from support import raw
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.engines import denials_object, keys_object, shard_object, the_engine
from support.hostile_targets import OPENINGS
from support.http_services import Handler, serving
from support.identities import Identity
from support.istio_gateway import (
    INGRESS,
    NAMESPACE,
    Gateway,
    Place,
    prepare,
    running_gateway,
    service_entry,
)
from support.objects import make, tls_secret
from support.publishing import published as known
from support.raw import Answer, Conversation
from support.rendered import config_of
from support.tokens import AUDIENCE, SECRET_UID, Signer, good_claims

GUARDED, OTHER = "ekf.example.com", "other.example.com"
LOGIN_PAGE = "https://login.example.com/"
FILTERS = f"/apis/networking.istio.io/v1alpha3/namespaces/{NAMESPACE}/envoyfilters"
POLICIES = f"/apis/security.istio.io/v1/namespaces/{NAMESPACE}/authorizationpolicies"
AUTHENTICATIONS = f"/apis/security.istio.io/v1/namespaces/{NAMESPACE}/requestauthentications"
VIRTUAL_SERVICES = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/virtualservices"
COLLECTIONS = {
    "VirtualService": VIRTUAL_SERVICES,
    "EnvoyFilter": FILTERS,
    "AuthorizationPolicy": POLICIES,
    "RequestAuthentication": AUTHENTICATIONS,
}
FORGED = ("kubeflow-userid: admin", "kubeflow_userid: admin", "kubeflow-groups: system:masters")
"""Header lines of who claims to be somebody."""
get = partial(raw.get, host=GUARDED)
OTHER_TOKENS: list[tuple[dict[str, Any], Reason]] = [
    ({"audiences": ["elsewhere.example.com"]}, Reason.AUDIENCE),
    ({"audiences": []}, Reason.AUDIENCE),  # the API server's own
    ({"audiences": [AUDIENCE, "elsewhere.example.com"]}, Reason.SEVERAL_AUDIENCES),
    ({"bound": False}, Reason.UNBOUND),
    ({"lifetime_seconds": 3 * 3600}, Reason.LIVES_TOO_LONG),
]
"""Shapes of tokens that the API server makes and no gate accepts, each with its reason."""
_NETWORKING = "networking.istio.io/v1"
_LOGIN = {
    "name": "login",
    "envoyExtAuthzHttp": {
        "service": "login.team.svc.cluster.local",
        "port": 80,
        "headersToUpstreamOnAllow": ["kubeflow-userid", "authorization"],
        "includeRequestHeadersInCheck": ["authorization", "cookie"],
    },
}


@dataclass(slots=True, kw_only=True)
class Login:
    """A browser login that is asked by ext_authz: one session, one opaque token, or a redirect."""

    port: int
    asked: list[dict[str, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class IstioEnv:
    """A gateway that serves GUARDED and OTHER, and the gate before GUARDED.

    `public`: signs the certificate of its hosts. `signer`: a key of the tests' own, trusted next to
    the API server's.
    """

    plane: ControlPlane
    cluster: Cluster
    gateway: Gateway
    public: Authority
    login: Login
    identity: Identity
    signer: Signer
    config: Config
    issuer: str
    keys: str
    gate_text: str = ""
    front: str = "istio"
    watch_text: str = ""
    applied: dict[str, Object] = field(default_factory=dict, repr=False)
    """What is published, by name."""

    def apply(self, *objects: Object) -> None:
        for each in objects:
            self.cluster.apply(each, force=True)

    def send(self, *lines: str, host: str = GUARDED, path: str = "/", sni: str = GUARDED) -> Answer:
        return self.gateway.send(
            get(*lines, host=host, path=path), name=sni, authority_pem=self.public.pem
        )

    def configure(self, gate: str) -> None:
        """The gate's objects of another config, in place of those that are there; the keys as well,
        as a watch that starts with it would publish them.
        """
        self.gate_text, self.config = (
            gate,
            gate_config(self.issuer, gate, self.front, self.watch_text),
        )
        self.apply(keys_object(self.config, self.issuer, self.keys))
        objects = the_engine(self.config).objects()
        for kind, collection in (("EnvoyFilter", FILTERS), ("AuthorizationPolicy", POLICIES)):
            if not any(each["kind"] == kind for each in objects):
                self.delete(f"{collection}/{GATE}")
        self.apply(*objects)

    def publish(self, published: Published | None = None) -> None:
        """Put this in place of what was published: that the identity's credential exists, and that
        of `good_claims`, if left out.
        """
        self.apply(keys_object(self.config, self.issuer, self.keys))
        self.know(published or self.known())

    def known(self, *more: str) -> Published:
        """What is published by default, and more."""
        return known({self.identity.credential, SECRET_UID, *more}, shards=CLUSTER_SHARDS)

    def know(self, published: Published) -> None:
        """Publish what differs from what was published before."""
        objects = [denials_object(self.config, published.denials)]
        for number, shard in enumerate(published.shards):
            objects.append(shard_object(self.config, number, shard))
        for each in objects:
            name = each["metadata"]["name"]
            if self.applied.get(name) != each:
                self.apply(each)
                self.applied[name] = each

    def start_without(self, name: str) -> None:
        """A gateway that has started after an EnvoyFilter was deleted, and refuses tokens."""
        good = self.bearer()
        self.delete(f"{FILTERS}/{name}")

        def refuses() -> bool:
            # istiod may not have seen yet what is gone, and have sent it once more.
            self.gateway.restart_envoy()
            return self.send(good).code == 503

        eventually(f"a gateway starts without {name}", refuses)

    @contextmanager
    def added(self, document: Object) -> Iterator[None]:
        """With one more filter, policy or authentication, for a while."""
        self.apply(document)
        try:
            yield
        finally:
            self.delete(f"{COLLECTIONS[document['kind']]}/{document['metadata']['name']}")

    @contextmanager
    def without_filters(self) -> Iterator[None]:
        """Somebody has deleted the gate's filters; they are back after the block."""
        self.delete(f"{FILTERS}/{GATE}")
        eventually("the filters are gone", lambda: f"{GATE}-decision" not in self.filters())
        try:
            yield
        finally:
            self.configure(self.gate_text)
            good = self.bearer()
            eventually(
                "the gate is back",
                lambda: f"{GATE}-decision" in self.filters() and self.send(good).code == 200,
            )

    def delete(self, path: str) -> None:
        self.applied.pop(path.rpartition("/")[2], None)
        if self.plane.admin.find(path) is not None:
            self.plane.admin.delete(path)

    def bearer(self, **shape: Any) -> str:
        token = self.plane.make_token(self.identity, **{"audiences": [AUDIENCE], **shape})
        return raw.bearer(token)

    @contextmanager
    def conversation(self) -> Iterator[Conversation]:
        with self.gateway.connect(name=GUARDED, authority_pem=self.public.pem) as connection:
            yield Conversation(connection)

    def filters(self) -> list[str]:
        """The names of the HTTP filters in force. Fails where Envoy has refused a listener."""
        dump = json.loads(self.gateway.admin("/config_dump?resource=dynamic_listeners"))
        (listener,) = dump["configs"]
        assert "error_state" not in listener, listener["error_state"]["details"]
        (chain,) = listener["active_state"]["listener"]["filter_chains"]
        (manager,) = chain["filters"]
        return [str(each["name"]) for each in manager["typed_config"]["http_filters"]]


def gate_config(issuer: str, gate: str, front: str = "istio", watch: str = "") -> Config:
    """A config with a gate for GUARDED. `gate`, `watch`: their keys; `front`: the door's."""
    return config_of(config_text(issuer, gate, front, watch))


def config_text(issuer: str, gate: str, front: str = "istio", watch: str = "") -> str:
    return f"""\
version: 1
cluster: {{issuer: '{issuer}'}}
domains:
  ekf: {{host: {GUARDED}, front: {front}, tls: {{secret: public}}}}
policy: {{audiences: [{", ".join([AUDIENCE, *OPENINGS.audiences])}], longestLifetime: 2h}}
gates: {{default: {{audience: {AUDIENCE}, {gate}}}}}
watch: {{{watch}}}
gatePods: {{image: 'registry.example.com/daypass:1'}}
"""


def signed(gate: IstioEnv, signer: Signer, **changed: Any) -> str:
    """An Authorization line with a hand-made token, good but for what is changed."""
    return f"Authorization: Bearer {signer.sign(good_claims(**{'iss': gate.issuer, **changed}))}"


@contextmanager
def running_istio_gate(
    folder: Path,
    gate: str = "",
    *,
    watch: str = "",
    providers: Sequence[Object] = (),
    mesh: Object | None = None,
    issues_by_url: bool = False,
) -> Iterator[IstioEnv]:
    """A control plane, istiod, an Envoy as the gateway for GUARDED and OTHER, which lead to an echo
    service, a login, and the gate.

    `providers`: further extension providers of the mesh. `mesh`: more of its config.
    `issues_by_url`: see ControlPlane.start.
    """
    mesh = {"extensionProviders": [_LOGIN, *providers], **(mesh or {})}
    public, signer = Authority(), Signer("tests")
    (folder / "gateway").mkdir()
    with (
        ControlPlane.start(folder / "plane", issues_by_url=issues_by_url) as plane,
        admin_cluster(plane) as cluster,
        Echo() as echo,
        _running_login() as login,
    ):
        prepare(plane)
        for each in (
            tls_secret("public", NAMESPACE, public.server(GUARDED, OTHER)),
            served(GUARDED, OTHER),
            *(route(host, "echo") for host in (GUARDED, OTHER)),
            service("echo", echo.address.port),
            service("login", login.port),
        ):
            cluster.apply(each)
        keys = plane.admin.request("GET", "/openid/v1/jwks").json
        issuer = plane.admin.get("/.well-known/openid-configuration")["issuer"]
        with running_gateway(folder / "gateway", plane, mesh=mesh) as gateway:
            running = IstioEnv(
                plane=plane,
                cluster=cluster,
                gateway=gateway,
                public=public,
                login=login,
                identity=plane.make_identity(),
                signer=signer,
                config=gate_config(issuer, gate, watch=watch),
                watch_text=watch,
                issuer=issuer,
                keys=json.dumps({"keys": [*keys["keys"], *json.loads(signer.jwks)["keys"]]}),
            )
            eventually("the gateway serves", lambda: running.send().code == 200)
            running.publish()
            running.configure(gate)
            good = running.bearer()
            eventually(
                "the gate is in force",
                lambda: GATE + "-decision" in running.filters() and running.send(good).code == 200,
                seconds=60,
            )
            yield running


def served(*hosts: str) -> Object:
    """A Gateway of Istio's at the ingress, with TLS for these hosts."""
    return served_at(f"{NAMESPACE}/public", INGRESS, hosts)


def served_at(gateway: str, place: Place, *servers: Sequence[str]) -> Object:
    """A Gateway of Istio's, NAMESPACE/NAME, with servers for these hosts at a place."""
    protocol, tls = "HTTP", {}
    if place.number == 443:
        protocol, tls = "HTTPS", {"tls": {"mode": "SIMPLE", "credentialName": "public"}}
    port = {"number": place.number, "protocol": protocol}
    made = [
        {"port": {**port, "name": f"{protocol.lower()}-{number}"}, "hosts": [*hosts], **tls}
        for number, hosts in enumerate(servers)
    ]
    namespace, name = gateway.split("/")
    spec = {"selector": dict(place.labels), "servers": made}
    return make(_NETWORKING, "Gateway", name, namespace, spec=spec)


def route(host: str, name: str, below: Mapping[str, str] | None = None) -> Object:
    """A VirtualService that leads a host to a service; to those of `below` by the path's prefix."""
    http: list[Object] = [
        {"match": [{"uri": {"prefix": prefix}}], **_to(other)}
        for prefix, other in (below or {}).items()
    ]
    http.append(_to(name))
    name = host.partition(".")[0].replace("*", "every")
    spec = {"gateways": [f"{NAMESPACE}/public"], "hosts": [host], "http": http}
    return make(_NETWORKING, "VirtualService", name, NAMESPACE, spec=spec)


def _to(name: str) -> Object:
    return {"route": [{"destination": {"host": f"{name}.team.svc.cluster.local"}}]}


def service(name: str, port: int) -> Object:
    """Something on loopback, as Istio would see a service of a cluster."""
    host = f"{name}.team.svc.cluster.local"
    return service_entry(name, port, NAMESPACE, host=host, number=80, protocol="HTTP")


@contextmanager
def _running_login() -> Iterator[Login]:
    class Answering(Handler):
        def _answer(self) -> None:
            sent = self.fields()
            login.asked.append(sent)
            user = None
            if "session=alice" in sent.get("cookie", ""):
                user = "alice@example.com"
            elif sent.get("authorization") == "Bearer opaque":
                user = "robot@example.com"
            if user is None:
                self.answer(302, location=LOGIN_PAGE)
            else:
                self.answer(200, kubeflow_userid=user)

        do_GET = do_POST = _answer

    with serving(Answering) as port:
        login = Login(port=port)
        yield login
