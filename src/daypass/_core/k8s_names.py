"""Kubernetes' names and labels (k8s.io/apimachinery/pkg/util/validation).

The functions check a name before it enters a URL, without the cost of importing `re`. The patterns
are for configs of other programs: Python and RE2 read them alike, and they match a whole text.
"""

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
