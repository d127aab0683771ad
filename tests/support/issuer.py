"""Issuers of OIDC tokens; one on loopback, as a CI system is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from support.authority import Authority
from support.http_services import Handler, serving
from support.tokens import Signer


class Issuer:
    """`url` is its claim `iss`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.signer = Signer()

    def token(
        self,
        subject: str,
        audience: str | list[str],
        *,
        issuer: str | None = None,
        age_seconds: int = 0,
        signer: Signer | None = None,
        **claims: object,
    ) -> Secret:
        """A token for ten minutes, made `age_seconds` ago; with another `iss`, or another's key."""
        now = int(SYSTEM_CLOCK.unix()) - age_seconds
        said = {"iss": issuer or self.url, "sub": subject, "aud": audience}
        times = {"iat": now, "nbf": now, "exp": now + 600}
        return Secret((signer or self.signer).sign({**said, **times, "jti": "one", **claims}))

    def documents(self) -> dict[str, str]:
        discovery = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return {
            "/.well-known/openid-configuration": json.dumps(discovery),
            "/keys": self.signer.jwks,
        }


class CiSystem(Issuer):
    def __init__(self, url: str, authority: Authority) -> None:
        super().__init__(url)
        self.authority = authority


@contextmanager
def running_issuer() -> Iterator[CiSystem]:
    class Discovery(Handler):
        def do_GET(self) -> None:
            body = issuer.documents().get(self.path, "")
            self.answer(200 if body else 404, body, content_type="application/json")

    authority = Authority("a CI system's authority")
    with serving(Discovery, context=authority.context("127.0.0.1")) as port:
        issuer = CiSystem(f"https://127.0.0.1:{port}", authority)
        yield issuer
