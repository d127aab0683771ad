"""Envoy's `jwt_authn` for a gateway that serves others as well: it verifies, and refuses nothing.

What it found stands in metadata, where the decision reads it: the claims of what was verified, or
the status of what was not. Its own way to refuse would not know whose tokens are none of its
business.
"""

import json

from daypass.render.envoy.claims import PAYLOAD
from daypass.render.envoy.gate import CLOCK_SKEW_SECONDS, LONG_LIVED_ISSUER
from daypass.render.envoy.typed import Json, full_match, typed
from daypass.render.istio.hosts import door_matches, guarded_headers
from daypass.render.istio.settings import IstioGate
from daypass.spec.exposure import BEARER_JWT

FAILED = "failed"
"""Why a token was not verified as a short-lived one of the cluster: `message`."""
FAILED_WITHOUT_KEYS = "failed-without-keys"
LASTING = "lasting"
"""The claims of a token that would be one, but for how long it lives."""
LONG = "long"
"""The claims of a long-lived token."""
FAILED_LONG = "failed-long"

NO_KEYS = json.dumps(
    {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "alg": "ES256",
                "kid": "nobody",
                "x": "ervQaI2Y-7vUvT4RJpEZ3YBCEHCmfAL7dowBIJK4Df0",
                "y": "ZtzefLvzOw2TUFyLDRTdOUoR0PvA5LhNLsB2XdIecj8",
            }
        ]
    }
)
"""A key set of one key that is nobody's, since Envoy takes no empty set: `x` is the SHA-256 of
"daypass: nobody's key 0", so that no one knows the private half."""


def authentication(settings: IstioGate, keys: str | None) -> Json:
    """Envoy's JwtAuthentication. `keys`: the API server's JSON Web Key Set, as text; None where
    nobody has published it, and no token passes.
    """
    common: Json = {
        "local_jwks": {"inline_string": NO_KEYS if keys is None else keys},
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        # Taken off once it is verified, or once the authorizer has seen it: to the gateway's own
        # RequestAuthentications it would be a token of an issuer that they do not know.
        "forward": settings.is_reviewed,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
    }
    lasting = {
        **common,
        "issuer": settings.issuer,
        "audiences": [settings.gate.audience],
        "payload_in_metadata": LASTING,
    }
    short = {
        **lasting,
        "payload_in_metadata": PAYLOAD,
        "failed_status_in_metadata": FAILED_WITHOUT_KEYS if keys is None else FAILED,
        "require_expiration": True,
        "max_lifetime": f"{settings.longest_lifetime_seconds}s",
        "jwt_cache_config": {"jwt_cache_size": 4096},
    }
    long = {
        **common,
        "issuer": LONG_LIVED_ISSUER,
        "payload_in_metadata": LONG,
        "failed_status_in_metadata": FAILED_LONG,
    }
    providers = {"short": short, "long": long}
    if keys is not None:
        providers = {"short": short, "lasting": lasting, "long": long}
    requirements: list[Json] = [{"provider_name": name} for name in providers]
    requirements.append({"allow_missing_or_failed": {}})
    # What several parsers would read differently is not looked at: it is nobody's token.
    readable = {"name": "authorization", "string_match": {"safe_regex": full_match(BEARER_JWT)}}
    match = {"prefix": "/", "headers": [*guarded_headers(settings), readable]}
    return typed(
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers=providers,
        rules=[
            *({"match": door} for door in door_matches(settings)),
            {"match": match, "requires": {"requires_any": {"requirements": requirements}}},
        ],
    )
