"""The real oauth2-proxy on Istio's gateway, in each of the ways that Kubeflow has set it up, and an
OpenID provider for it.

oauth2-proxy is asked by ext_authz. The provider has one user, who is signed in already, as Dex has.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from tools.gobuild import built

from daypass._core.files import write_private
from daypass._core.kubernetes.objects import Object
from support.children import Child
from support.deadline import eventually
from support.gate_differences import seen
from support.http_services import Handler, serving
from support.issuer import Issuer
from support.istio_gates import (
    AUTHENTICATIONS,
    GUARDED,
    OTHER,
    POLICIES,
    IstioEnv,
    route,
    service,
)
from support.istio_logins import (
    authentication,
    by_policy,
    documented,
    token_required,
)

USER = "alice@example.com"
CLIENT, CLIENT_SECRET = "kubeflow", "of the login alone"
PREFIX = "/dex"


class IdentityProvider(Issuer):
    """Below PREFIX: `auth`, where a browser comes, and `token`, where the login redeems a code."""

    def __init__(self, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}{PREFIX}")
        self.port = port

    def id_token(self) -> str:
        token = self.token("alice", CLIENT, email=USER, email_verified=True, groups=["team-a"])
        return token.reveal()

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser is sent, with a code (RFC 6749, 4.1.2)."""
        state = urlencode({"code": "of alice", "state": query["state"]})
        return f"{query['redirect_uri']}?{state}"

    def redeem(self) -> dict[str, object]:
        """What a code is worth."""
        token = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer"}
        return {**token, "expires_in": 600, "id_token": self.id_token()}


@contextmanager
def running_identity_provider() -> Iterator[IdentityProvider]:
    """One on a free port, without TLS, as it is within a cluster."""

    class Endpoints(Handler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            path = address.path.removeprefix(PREFIX)
            if path == "/auth":
                self.answer(303, location=provider.authorize(dict(parse_qsl(address.query))))
            else:
                body = provider.documents().get(path, "")
                self.answer(200 if body else 404, body, content_type="application/json")

        def do_POST(self) -> None:
            self.content()
            self.answer(200, json.dumps(provider.redeem()), content_type="application/json")

    with serving(Endpoints) as port:
        provider = IdentityProvider(port)
        yield provider


Setting = str | bool | Sequence[str]


def _settings(kind: Kind, gate: IstioEnv, provider: IdentityProvider) -> dict[str, Setting]:
    """Of an oauth2-proxy that hands the provider's token on, for Istio to read."""
    common: dict[str, Setting] = {
        "email_domains": ["*"],
        "api_routes": ["/api/", "/apis/"],
        "skip_auth_routes": ["^/dex/"],
        "cookie_name": "oauth2_proxy_kubeflow",
        "cookie_expire": "24h",
        "redirect_url": "/oauth2/callback",
        "relative_redirect_url": True,
        "cookie_secure": True,
        "skip_jwt_bearer_tokens": True,
        "http_address": "fd:3",
        "provider": "oidc",
        "provider_display_name": "Dex",
        "oidc_issuer_url": provider.url,
        "skip_oidc_discovery": True,
        "login_url": "/dex/auth",
        "redeem_url": f"{provider.url}/token",
        "oidc_jwks_url": f"{provider.url}/keys",
        "scope": "profile email groups openid",
        "code_challenge_method": "S256",
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "upstreams": ["static://200"],
        "set_authorization_header": True,
        "set_xauthrequest": True,
    }
    if kind == "no-token":
        return common
    return {
        **common,
        "skip_provider_button": True,
        "extra_jwt_issuers": [f"{gate.issuer}={MACHINES}"],
        "provider_ca_files": [str(gate.plane.ca_path)],
    }


@contextmanager
def running_oauth2_proxy(folder: Path, settings: Mapping[str, Setting]) -> Iterator[int]:
    """One that runs: its port."""
    kept = {**settings, "cookie_secret": secrets.token_hex(16)}
    command = [str(built("oauth2proxy")), "--config=oauth2_proxy.cfg"]
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in kept.items()]  # TOML
    write_private(str(folder / "oauth2_proxy.cfg"), "".join(lines).encode())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        child = Child(command, log=folder / "oauth2-proxy.log", folder=folder, listener=listener)
    try:
        eventually("oauth2-proxy answers", lambda: _answers(child, port))
        yield port
    finally:
        child.stop()


def _answers(child: Child, port: int) -> bool:
    child.check()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200


Kind = Literal["no-token", "everything"]
"""What oauth2-proxy is asked about. no-token: what has no Authorization header, the rest is left to
RequestAuthentications (Kubeflow 1.9.1 and later). everything: also ServiceAccounts' tokens, of an
audience (1.9)."""

MACHINES = "kubeflow.example.com"
"""The audience of the ServiceAccounts' tokens that the login takes, where it looks at audiences."""

UNSIGNED: dict[Kind, int] = {"no-token": 403, "everything": 302}
"""What a browser gets that is not signed in: a page with a button, or the way to the provider."""

PROVIDERS: list[Object] = [
    {
        "name": kind,
        "envoyExtAuthzHttp": {
            "service": f"{kind}.team.svc.cluster.local",
            "port": 80,
            "headersToDownstreamOnDeny": ["content-type", "set-cookie"],
            "headersToUpstreamOnAllow": [
                "authorization",
                "x-auth-request-email",
                "x-auth-request-groups",
                "x-auth-request-user",
            ],
            "includeRequestHeadersInCheck": ["authorization", "cookie"],
        },
    }
    for kind in ("no-token", "everything")
]
"""For the mesh's config."""

_HEADERS = {"kubeflow-userid": "email", "kubeflow-groups": "groups"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeflowLogin:
    kind: Kind
    gate: IstioEnv
    provider: IdentityProvider

    @property
    def below(self) -> dict[str, str]:
        """The services of the login itself, by prefix."""
        return {"/oauth2/": self.kind, "/dex/": "dex"}

    def machine(self) -> str:
        """A token of the cluster that the login takes, and the gate refuses."""
        gate = self.gate
        token = gate.plane.make_token(gate.identity, audiences=[MACHINES], bound=False)
        return token.reveal()


@contextmanager
def running_kubeflow_login(
    kind: Kind, gate: IstioEnv, provider: IdentityProvider, folder: Path
) -> Iterator[KubeflowLogin]:
    """A login of this kind, beside the gate; afterwards there is none."""
    with running_oauth2_proxy(folder, _settings(kind, gate, provider)) as port:
        login = KubeflowLogin(kind=kind, gate=gate, provider=provider)
        gate.apply(
            service(kind, port),
            service("dex", provider.port),
            *(route(host, "echo", login.below) for host in (GUARDED, OTHER)),
            *_objects(kind, gate, provider),
        )
        try:
            _wait(login)
            yield login
        finally:
            _remove(gate)


def _objects(kind: Kind, gate: IstioEnv, provider: IdentityProvider) -> list[Object]:
    keys = json.dumps(gate.plane.admin.get("/openid/v1/jwks"))
    authentications = [
        _told_by("dex", provider.url, None, _HEADERS, strict=kind == "no-token"),
        _told_by(
            "machines",
            gate.issuer,
            keys,
            {"kubeflow-userid": "sub", "kubeflow-groups": "groups"},
            strict=kind == "no-token",
        ),
    ]
    if kind == "everything":
        return [by_policy(kind), *authentications]
    (rule,) = documented("istio-ingressgateway-oauth2-proxy")["spec"]["rules"]
    return [by_policy(kind, rule), token_required(), *authentications]


def _told_by(
    name: str, issuer: str, keys: str | None, headers: dict[str, str], *, strict: bool
) -> Object:
    """A RequestAuthentication that sets headers. `strict`: it looks into Authorization alone."""
    told = [{"header": header, "claim": claim} for header, claim in headers.items()]
    more: Object = {"forwardOriginalToken": True, "outputClaimToHeaders": told}
    if strict:
        more["fromHeaders"] = [{"name": "Authorization", "prefix": "Bearer "}]
    return authentication(name, issuer, keys, **more)


def _wait(login: KubeflowLogin) -> None:
    gate, hosts = login.gate, (GUARDED, OTHER)
    eventually(
        "the login's own paths lead to it",
        lambda: all(
            gate.send(path="/oauth2/start", host=host).code == 302
            and b"keys" in gate.send(path="/dex/keys", host=host).body
            for host in hosts
        ),
    )
    eventually(
        "it is asked",
        lambda: all(gate.send(host=host).code == UNSIGNED[login.kind] for host in hosts),
    )
    dex = f"Authorization: Bearer {login.provider.id_token()}"
    eventually(
        "the provider's tokens are taken",
        lambda: all(seen(gate.send(dex, host=h))["kubeflow-userid"] == USER for h in hosts),
    )
    machine, user = f"Authorization: Bearer {login.machine()}", gate.identity.user
    eventually(
        "those of the cluster are taken",
        lambda: seen(gate.send(machine, host=OTHER))["kubeflow-userid"] == user,
    )
    if login.kind == "no-token":
        basic = "Authorization: Basic eDp5"
        eventually("a token is required", lambda: gate.send(basic, host=OTHER).code == 403)


def _remove(gate: IstioEnv) -> None:
    for path in (
        f"{POLICIES}/login",
        f"{POLICIES}/require-jwt",
        f"{AUTHENTICATIONS}/dex",
        f"{AUTHENTICATIONS}/machines",
    ):
        gate.delete(path)
    gone = {"envoy.filters.http.ext_authz", "envoy.filters.http.jwt_authn"}
    eventually("the login is gone", lambda: not gone & set(gate.filters()))
