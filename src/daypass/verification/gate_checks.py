"""What a gate's responses mean: does it refuse a forged token, and accept a real one?

An Envoy that rejects the gate's filters keeps its previous config for all hosts, and reports that
only in its log. A forged token shows it from outside.
"""

from __future__ import annotations

import base64
import json

from daypass._core.status import Status
from daypass._core.text import printable
from daypass.client.http1 import HttpResponse
from daypass.verification.report import Finding, failure, ok, warning

GATE_CLOSED = "gate-closed"
NO_HOST = "gate.hosts has no host to send the request to: add one next to '*'"
NO_ISSUER = "the issuer is not known: set cluster.issuer in the config"
_LIFETIME_SECONDS = 600


def forged_token(issuer: str, audience: str, now_unix: float) -> str:
    """Return a token that the gate would accept if its signature were valid."""
    now = int(now_unix)
    bound = {
        "namespace": "daypass-verify",
        "serviceaccount": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"},
        "secret": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000001"},
    }
    claims = {
        "iss": issuer,
        "aud": [audience],
        "sub": "system:serviceaccount:daypass-verify:nobody",
        "iat": now,
        "nbf": now,
        "exp": now + _LIFETIME_SECONDS,
        "jti": "00000000-0000-4000-8000-000000000002",
        "kubernetes.io": bound,
    }
    parts = (json.dumps({"alg": "RS256", "kid": "nobody"}), json.dumps(claims))
    encoded = [_base64url(part.encode()) for part in parts]
    return ".".join([*encoded, _base64url(bytes(256))])


def judge_forged(response: HttpResponse) -> Finding:
    """Judge the response to a forged token."""
    check, code, status = GATE_CLOSED, response.status, Status.parse(response.body)
    if code in (401, 403) and status is not None:
        return ok(check, f"a forged token is refused: {code} {printable(status.message, 100)}")
    if code == 503 and status is not None:
        return warning(
            check, f"the gate refuses all requests: {code} {printable(status.message, 200)}"
        )
    if code in (401, 403):
        return warning(
            check,
            f"a forged token is refused, but not by the gate ({code})",
            "are its filters loaded? The gateway's log and its config_dump show it",
        )
    if 300 <= code < 400:
        return failure(
            check,
            f"a forged token is redirected: {printable(response.header('location'))}",
            "the login comes before the gate, or there is no gate",
        )
    return failure(
        check,
        f"a forged token gets past the gate ({code} from the service behind it)",
        "the gate's filters are not loaded: what does the gateway's log say about them?\n"
        "until then callers can set identity headers themselves",
    )


def judge_gate(response: HttpResponse) -> Finding:
    """Judge the response to a valid token: anything but a refusal or a login is good."""
    check, code = "gate", response.status
    status = Status.parse(response.body)
    if 300 <= code < 400:
        location = printable(response.header("location"))
        if any(word in location.lower() for word in ("login", "oauth", "/auth", "dex")):
            return failure(
                check,
                f"the gate redirects a request with a token to a login: {location} ({code})",
                "the gate has to come before the login",
            )
    if code in (401, 403):
        message = printable(status.message, 400) if status is not None else "no Kubernetes Status"
        return failure(
            check,
            f"the gate refuses the token: {code} {message}",
            "are gate.audience and the audience of the credentials the same?",
        )
    return ok(check, f"the gate accepts the token ({code} from the service behind it)")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
