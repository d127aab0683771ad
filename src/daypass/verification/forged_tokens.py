"""Whether the gate is there and closed: a token that nobody has signed must not get past it.

An Envoy that refuses the gate's filters goes on with what it had, on all hosts, and says so in its
log alone. From outside it shows at once.
"""

from __future__ import annotations

import base64
import json

from daypass._core.status import Status
from daypass._core.text import printable
from daypass.client.http1 import HttpResponse
from daypass.verification.report import Finding, failure, ok, skipped, warning
from daypass.verification.requests import header

CHECK = "gate-closed"
NO_HOST = "gate.hosts names no host where it could be asked: add one beside '*'"
NO_ISSUER = "the issuer is not known: cluster.issuer in the config says it"
_LIFETIME_SECONDS = 600


def forged_token(issuer: str, audience: str, now_unix: float) -> str:
    """A token as the cluster's would be, for the gate alone, but for its signature."""
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


def judge_closed(response: HttpResponse) -> Finding:
    """What the gate's answer to a made-up token means."""
    code, status = response.status, Status.parse(response.body)
    if code in (401, 403) and status is not None:
        return ok(CHECK, f"a made-up token is refused: {code} {printable(status.message, 100)}")
    if code == 503 and status is not None:
        return warning(
            CHECK, f"the gate refuses everybody: {code} {printable(status.message, 200)}"
        )
    if code in (401, 403):
        return warning(
            CHECK,
            f"a made-up token is refused, but not in the gate's words ({code})",
            "are its filters in force? The gateway's log and its config_dump say so",
        )
    if 300 <= code < 400:
        return failure(
            CHECK,
            f"a made-up token is sent elsewhere: {printable(header(response, 'location'))}",
            "the login is asked before the gate, or there is no gate",
        )
    return failure(
        CHECK,
        f"a made-up token gets past the gate ({code} by what is behind)",
        "the gate's filters are not in force: what does the gateway's log say of them?\n"
        "until then whoever comes in may name himself",
    )


def not_asked(why: str) -> Finding:
    """It could not be looked at."""
    return skipped(CHECK, why)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
