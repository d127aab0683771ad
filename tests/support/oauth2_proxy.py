"""The real oauth2-proxy on loopback, set up as Kubeflow sets it up, and an OpenID provider for it.

oauth2-proxy is asked by ext_authz. The provider has one user, who is signed in already, as Dex has.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from tools.gobuild import built

from daypass._core.files import write_private
from support.children import Child
from support.deadline import eventually
from support.http_services import Handler, serving
from support.issuer import Issuer

USER = "alice@example.com"
CLIENT, CLIENT_SECRET = "kubeflow", "of the login alone"
PREFIX = "/dex"


class IdentityProvider(Issuer):
    """Below PREFIX: `auth`, where a browser comes, and `token`, where the login redeems a code."""

    def __init__(self, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}{PREFIX}")
        self.port = port
        self._asked: dict[str, Mapping[str, str]] = {}

    def id_token(self) -> str:
        token = self.token("alice", CLIENT, email=USER, email_verified=True, groups=["team-a"])
        return token.reveal()

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser is sent, with a code (RFC 6749, 4.1.2)."""
        assert (query["client_id"], query["response_type"]) == (CLIENT, "code")
        code = secrets.token_urlsafe()
        self._asked[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def redeem(self, form: Mapping[str, str], authorization: str) -> dict[str, object] | None:
        """What a code is worth, once, to who has asked for it; else None."""
        asked = self._asked.pop(form["code"], None)
        client = base64.b64encode(urlencode({CLIENT: CLIENT_SECRET}).replace("=", ":").encode())
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if (
            asked is None
            or authorization != f"Basic {client.decode()}"
            or asked["code_challenge"] != challenge
        ):
            return None
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
            form = dict(parse_qsl(self.content().decode()))
            redeemed = provider.redeem(form, self.headers.get("Authorization", ""))
            code = 400 if redeemed is None else 200
            self.answer(code, json.dumps(redeemed), content_type="application/json")

    with serving(Endpoints) as port:
        provider = IdentityProvider(port)
        yield provider


Setting = str | bool | Sequence[str]

SETTINGS: Mapping[str, Setting] = {
    "email_domains": ["*"],
    "api_routes": ["/api/", "/apis/"],
    "skip_auth_routes": ["^/dex/"],
    "cookie_name": "oauth2_proxy_kubeflow",
    "cookie_expire": "24h",
    "redirect_url": "/oauth2/callback",
    "relative_redirect_url": True,
}
"""What is the same however it says who somebody is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oauth2Proxy:
    port: int
    child: Child


def token_settings(provider: IdentityProvider) -> dict[str, Setting]:
    """Those of an oauth2-proxy that hands the provider's token on, for Istio to read."""
    return {
        **SETTINGS,
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


def header_settings(provider: IdentityProvider, authority: Path) -> dict[str, object]:
    """The second file ("alpha") of one that sets Kubeflow's headers by itself. `authority`: of
    further issuers.
    """
    return {
        "server": {"bindAddress": "fd:3"},
        "providers": [
            {
                "id": "dex",
                "provider": "oidc",
                "caFiles": [str(authority)],
                "clientID": CLIENT,
                "clientSecret": CLIENT_SECRET,
                "loginURL": "/dex/auth",
                "redeemURL": f"{provider.url}/token",
                "scope": "profile email groups openid",
                "code_challenge_method": "S256",
                "oidcConfig": {
                    "issuerURL": provider.url,
                    "jwksURL": f"{provider.url}/keys",
                    "skipDiscovery": True,
                    "emailClaim": "email",
                    "groupsClaim": "groups",
                    "userIDClaim": "email",
                    "audienceClaims": ["aud"],
                },
            }
        ],
        "upstreamConfig": {
            "upstreams": [{"id": "ok", "path": "/", "static": True, "staticCode": 200}]
        },
        "injectResponseHeaders": [
            {"name": name, "values": [{"claimSource": {"claim": claim}}]}
            for name, claim in {"kubeflow-userid": "email", "kubeflow-groups": "groups"}.items()
        ],
    }


@contextmanager
def running_oauth2_proxy(
    folder: Path, settings: Mapping[str, Setting], alpha: Mapping[str, object] | None = None
) -> Iterator[Oauth2Proxy]:
    kept = {**settings, "cookie_secret": secrets.token_hex(16)}
    command = [str(built("oauth2proxy")), "--config=oauth2_proxy.cfg"]
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in kept.items()]  # TOML
    write_private(str(folder / "oauth2_proxy.cfg"), "".join(lines).encode())
    if alpha is not None:
        command.append("--alpha-config=alpha.yaml")
        write_private(str(folder / "alpha.yaml"), json.dumps(alpha).encode())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        child = Child(command, log=folder / "oauth2-proxy.log", folder=folder, listener=listener)
    try:
        eventually("oauth2-proxy answers", lambda: _answers(child, port))
        yield Oauth2Proxy(port=port, child=child)
    finally:
        child.stop()


def _answers(child: Child, port: int) -> bool:
    child.check()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
