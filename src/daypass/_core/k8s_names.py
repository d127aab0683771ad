"""Kubernetes' names, checked before they enter a URL, without the cost of `re`."""

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def is_label(text: str) -> bool:
    """RFC 1123 label, what a namespace is (k8s.io/apimachinery/pkg/util/validation)."""
    return 0 < len(text) <= 63 and _LABEL.issuperset(text) and text[0] != "-" and text[-1] != "-"


def is_subdomain(text: str) -> bool:
    """RFC 1123 subdomain, what a ServiceAccount and a Secret are.

    Its parts are labels without their limit of 63 characters, as in Kubernetes.
    """
    if not 0 < len(text) <= 253:
        return False
    return all(
        part and _LABEL.issuperset(part) and part[0] != "-" and part[-1] != "-"
        for part in text.split(".")
    )
