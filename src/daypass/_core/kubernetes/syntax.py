"""What Kubernetes accepts: names and labels, and the lifetimes and audiences of tokens.

The rules for names are those of k8s.io/apimachinery/pkg/util/validation. The functions check a name
before it enters a URL. The patterns are for configs of other programs: Python and RE2 read them
alike, and they match a whole text.

All that names a lifetime or an audience is checked here before a request is sent. The policy
(`render/policy.py`) and the gate (`rules/decision.py`) enforce a cluster's longest lifetime.
"""

import re

KSERVE_GROUP = "serving.kserve.io"
"""The API group of models."""

RBAC_GROUP = "rbac.authorization.k8s.io"
"""The API group of roles and their bindings."""

LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""RFC 1123 label: a namespace."""
LABEL_HINT = "use up to 63 of a-z, 0-9 and -, with no - at either end"

_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{_PART}(\.{_PART})*"
"""RFC 1123 subdomain: a ServiceAccount, a Secret. SUBDOMAIN_LENGTH is checked apart."""

SUBDOMAIN_LENGTH = 253

LABEL_VALUE = "[A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?"
"""The value of a label that is not empty, and the name of a label without its prefix."""

LABEL_KEY = rf"({SUBDOMAIN}/)?{LABEL_VALUE}"

_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def is_label(text: str) -> bool:
    """Return whether a text is an RFC 1123 label."""
    return len(text) <= 63 and _is_part(text)


def is_subdomain(text: str) -> bool:
    """Return whether a text is an RFC 1123 subdomain."""
    return len(text) <= SUBDOMAIN_LENGTH and all(map(_is_part, text.split(".")))


def _is_part(text: str) -> bool:
    return bool(text) and _CHARACTERS.issuperset(text) and text[0] != "-" and text[-1] != "-"


# -- tokens

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
