"""What a TokenRequest may ask for: the bounds of a lifetime, and what an audience looks like.

Clients (`client/door.py`), `daypass identity` (`identity/credentials_file.py`), the configs of the
cluster (`config/models.py`) and of the agent (`agent/config.py`) refuse anything else before a
request is sent. A cluster's longest lifetime is enforced by the policy (`render/policy.py`) and by
the gate: step 8 of `rules/decision.py`, in Envoy `render/envoy/token_rules.py`. How a lifetime is
written is in `duration`.
"""

import re

SHORTEST_TOKEN_SECONDS, LONGEST_TOKEN_SECONDS = 600, 2**32
"""The API server's bounds (k8s.io/kubernetes/pkg/apis/authentication/validation)."""

PROBE_PATH = "/api/v1/namespaces/default/serviceaccounts/default/token"
"""Without a token, the API server itself refuses a GET of it."""
ANONYMOUS = 'User "system:anonymous" cannot get resource "serviceaccounts/token"'
"""A part of its answer, which is 403, or 401 if it allows no anonymous requests."""

AUDIENCE = r"[!#-&(-\[\]-_a-~]+"
AUDIENCE_LENGTH = 253
AUDIENCE_HINT = "use 1 to 253 visible ASCII characters without spaces, quotes and backslashes"
"""The API server takes any text; this one needs no escaping in any config or header."""


def is_lifetime(seconds: int, longest: int = LONGEST_TOKEN_SECONDS) -> bool:
    """Return whether an API server may issue a token for so long."""
    return SHORTEST_TOKEN_SECONDS <= seconds <= longest


def is_audience(text: str) -> bool:
    """Return whether a text can be the audience of a token."""
    return len(text) <= AUDIENCE_LENGTH and re.fullmatch(AUDIENCE, text) is not None
