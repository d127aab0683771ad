"""oauth2-proxy on Istio's gateway, in each of the ways that Kubeflow has set it up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daypass._core.objects import Object
from support.deadline import eventually
from support.gate_differences import seen
from support.istio_gates import (
    AUTHENTICATIONS,
    FILTERS,
    GUARDED,
    OTHER,
    POLICIES,
    IstioEnv,
    route,
    service,
)
from support.istio_logins import (
    authentication,
    by_filter,
    by_policy,
    documented,
    token_required,
)
from support.oauth2_proxy import (
    SETTINGS,
    USER,
    IdentityProvider,
    Oauth2Proxy,
    Setting,
    header_settings,
    running_oauth2_proxy,
    token_settings,
)

Kind = Literal["no-token", "everything", "filter"]
"""What oauth2-proxy is asked about. no-token: what has no Authorization header, the rest is left to
RequestAuthentications (Kubeflow 1.9.1 and later). everything: also ServiceAccounts' tokens, of an
audience (1.9). filter: the same by an EnvoyFilter, and oauth2-proxy itself sets Kubeflow's headers
(1.8)."""

MACHINES = "kubeflow.example.com"
"""The audience of the ServiceAccounts' tokens that the login takes, where it looks at audiences."""

UNSIGNED: dict[Kind, int] = {"no-token": 403, "everything": 302, "filter": 302}
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
    proxy: Oauth2Proxy

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
    alpha = header_settings(provider, gate.plane.ca_path) if kind == "filter" else None
    with running_oauth2_proxy(folder, _settings(kind, gate, provider), alpha) as proxy:
        login = KubeflowLogin(kind=kind, gate=gate, provider=provider, proxy=proxy)
        gate.apply(
            service(kind, proxy.port),
            service("dex", provider.port),
            *(route(host, "echo", login.below) for host in (GUARDED, OTHER)),
            *_objects(kind, gate, provider),
        )
        try:
            _wait(login)
            yield login
        finally:
            _remove(gate)


def _settings(kind: Kind, gate: IstioEnv, provider: IdentityProvider) -> dict[str, Setting]:
    known: dict[str, Setting] = {"cookie_secure": True, "skip_jwt_bearer_tokens": True}
    if kind == "no-token":
        return {**token_settings(provider), **known}
    known["skip_provider_button"] = True
    known["extra_jwt_issuers"] = [f"{gate.issuer}={MACHINES}"]
    if kind == "filter":
        return {**SETTINGS, **known}
    known["provider_ca_files"] = [str(gate.plane.ca_path)]
    return {**token_settings(provider), **known}


def _objects(kind: Kind, gate: IstioEnv, provider: IdentityProvider) -> list[Object]:
    if kind == "filter":
        return [by_filter(kind, [*_HEADERS, "authorization"])]
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
        f"{FILTERS}/login",
        f"{POLICIES}/login",
        f"{POLICIES}/require-jwt",
        f"{AUTHENTICATIONS}/dex",
        f"{AUTHENTICATIONS}/machines",
    ):
        gate.delete(path)
    gone = {"envoy.filters.http.ext_authz", "envoy.filters.http.jwt_authn"}
    eventually("the login is gone", lambda: not gone & set(gate.filters()))
