"""Which names, labels and annotations Kubernetes takes (apimachinery/pkg/util/validation)."""

from __future__ import annotations

import re
from typing import Any

from daypass.local.apiserver.errors import Cause, invalid_value, quote, required, too_long
from daypass.local.apiserver.kinds import NAMESPACE, RBAC, Kind

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def _regex_message(text: str, pattern: str, *examples: str) -> str:
    shown = ",  or ".join(f"'{example}'" for example in examples)
    return f"{text} (e.g. {shown}, regex used for validation is '{pattern}')"


_WRONG_LABEL = _regex_message(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character", _LABEL, "my-name", "123-abc",
)  # fmt: skip
_WRONG_SUBDOMAIN = _regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character", _SUBDOMAIN, "example.com",
)  # fmt: skip
_CHARACTERS = (
    "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_WRONG_NAME_PART = _regex_message(
    f"must {_CHARACTERS}", _QUALIFIED, "MyName", "my.name", "123-abc",
)  # fmt: skip
_WRONG_KEY = (
    _regex_message(
        f"a valid label key must {_CHARACTERS}", _QUALIFIED, "MyName", "my.name", "123-abc"
    )
    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_WRONG_VALUE = _regex_message(
    f"a valid label must be an empty string or {_CHARACTERS}", _VALUE, "MyValue", "my_value",
    "12345",
)  # fmt: skip
WRONG_CONFIG_KEY = _regex_message(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name",
)  # fmt: skip


def path_segment_faults(name: str) -> list[str]:
    """What a name must not be because it stands in a path (content.IsPathSegmentName)."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{character}'" for character in "/%" if character in name]


def subdomain_faults(name: str) -> list[str]:
    """What is wrong with an RFC 1123 subdomain."""
    faults = ["must be no more than 253 characters"] if len(name) > 253 else []
    return faults if re.fullmatch(_SUBDOMAIN, name) else [*faults, _WRONG_SUBDOMAIN]


def label_faults(name: str) -> list[str]:
    """What is wrong with an RFC 1123 label."""
    if "." in name and re.fullmatch(_SUBDOMAIN, name):
        return ["must not contain dots"]
    faults = ["must be no more than 63 characters"] if len(name) > 63 else []
    return faults if re.fullmatch(_LABEL, name) else [*faults, _WRONG_LABEL]


def name_faults(kind: Kind, name: str) -> list[str]:
    """What is wrong with the name of an object of a kind."""
    if kind.group == RBAC:
        return path_segment_faults(name)
    return label_faults(name) if kind is NAMESPACE else subdomain_faults(name)


def qualified_faults(key: str) -> list[str]:
    """What is wrong with a key of a label or an annotation."""
    prefix, slash, name = key.rpartition("/")
    if key.count("/") > 1:
        return [_WRONG_KEY]
    faults: list[str] = []
    if slash and not prefix:
        faults.append("prefix part must be non-empty")
    elif slash:
        faults += [f"prefix part {fault}" for fault in subdomain_faults(prefix)]
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_QUALIFIED, name):
        faults.append(f"name part {_WRONG_NAME_PART}")
    return faults


def value_faults(value: str) -> list[str]:
    """What is wrong with a label's value."""
    faults = ["must be no more than 63 bytes"] if len(value) > 63 else []
    return faults if re.fullmatch(_VALUE, value) else [*faults, _WRONG_VALUE]


def metadata_causes(kind: Kind, metadata: dict[str, Any]) -> list[Cause]:
    """What is wrong with an object's metadata at its creation or update."""
    causes: list[Cause] = []
    name, prefix = metadata.get("name", ""), metadata.get("generateName", "")
    if prefix:
        at = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        causes += [
            invalid_value("metadata.generateName", quote(prefix), fault)
            for fault in name_faults(kind, at)
        ]
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        faults = name_faults(kind, name)
        causes += [invalid_value("metadata.name", quote(name), fault) for fault in faults]
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    for key, value in labels.items():
        for shown, faults in ((key, qualified_faults(key)), (value, value_faults(value))):
            causes += [invalid_value("metadata.labels", quote(shown), fault) for fault in faults]
    for key in annotations:
        causes += [
            invalid_value("metadata.annotations", quote(key), fault)
            for fault in qualified_faults(key.lower())
        ]
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > (
        ANNOTATIONS_LIMIT_BYTES
    ):
        causes.append(too_long("metadata.annotations", ANNOTATIONS_LIMIT_BYTES))
    return causes
