"""The published set as ConfigMaps, which the authorizer and commands read: one for each part.

They have a label of their own, so that one watch follows all of them. What is read is bounded and
checked: an unreadable part counts as closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from daypass._core.clock import rfc3339, utc
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import Object, new_object
from daypass.rules.credentials import UID, Credential, CredentialPart, part_of
from daypass.rules.denials import KEY, LIMIT, Denials
from daypass.rules.published import DENIALS, NAMES, Published, part_name

LIMIT_BYTES = 1024 * 1024
"""Of a ConfigMap's data, as the API server has it."""
_CLOSES, _ENTRIES, _ROOM = "closesAt", "entries", "credentialsPerNamespace"
_ACCOUNTS = "accounts"
"""Of the credential in the same line of `entries`, the UID of its ServiceAccount. So an authorizer
of an earlier version, which knows no accounts, still reads the set while it is replaced."""
LACKING = "lackingAt"
"""The gates whose gateways do not have it yet, for commands."""


class UnreadablePartError(ValueError):
    """A ConfigMap is no published part of this format."""


def part_config_map(number: int, part: CredentialPart, namespace: str, *, room: int) -> Object:
    """Return a part's ConfigMap; the same part gives the same bytes.

    `room`: how many credentials of one namespace the set takes, for commands that create them.
    """
    credentials = sorted(part.credentials)
    uids = [each.uid for each in credentials]
    found = _config_map(part_name(number), namespace, uids, part.closes_unix)
    accounts = "\n".join(each.account_uid for each in credentials)
    found["data"] |= {_ACCOUNTS: accounts, _ROOM: str(room)}
    return found


def denials_config_map(denials: Denials, namespace: str) -> Object:
    """Return the denials' ConfigMap; the same denials give the same bytes."""
    return _config_map(DENIALS, namespace, sorted(denials.keys), denials.closes_unix)


def read_part(document: Mapping[str, Any], parts: int) -> tuple[int, CredentialPart]:
    """Return the number and the content of a part. Raises UnreadablePartError."""
    uids, closes_unix = _read(document)
    accounts = _data(document).get(_ACCOUNTS, "").split()
    number = int(str(document["metadata"]["name"])[-2:])
    found = frozenset(map(Credential, uids, accounts))
    if not len(found) == len(uids) == len(accounts) or not all(
        each.is_valid and part_of(each.uid, parts) == number for each in found
    ):
        raise UnreadablePartError("it has other than pairs of UIDs of its range")
    return number, CredentialPart(credentials=found, closes_unix=closes_unix)


def read_uids(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the first UIDs of a part, also of one that an earlier version has published."""
    with suppress(UnreadablePartError):
        return frozenset(filter(UID.fullmatch, _read(document)[0]))
    return frozenset()


def read_published_denials(document: Mapping[str, Any]) -> Denials:
    """Return the denials. Raises UnreadablePartError."""
    keys, closes_unix = _read(document)
    if len(keys) > LIMIT or not all(map(KEY.fullmatch, keys)):
        raise UnreadablePartError("it has too many denials, or other entries")
    return Denials(keys=frozenset(keys), closes_unix=closes_unix)


def read_object(document: Mapping[str, Any], before: Published) -> Published:
    """Return what is published with a part, or the denials. Raises UnreadablePartError."""
    name = document["metadata"]["name"]
    if name not in NAMES:
        raise UnreadablePartError("it is neither a part nor the denials")
    if name == DENIALS:
        return replace(before, denials=read_published_denials(document))
    return before.with_part(*read_part(document, len(before.parts)))


def closing_time(document: Mapping[str, Any]) -> int:
    """Return from when on it refuses every token. Raises UnreadablePartError."""
    return _read(document)[1]


def read_room(document: Mapping[str, Any]) -> int:
    """Return how many credentials of one namespace the set takes. Raises UnreadablePartError."""
    text = _data(document).get(_ROOM, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UnreadablePartError("it does not say how many credentials a namespace may have")
    return int(text)


def read_lacking(document: Mapping[str, Any]) -> str:
    """Return the names of the gates that do not have it yet, or "". Raises UnreadablePartError."""
    return _data(document).get(LACKING, "")


def _config_map(name: str, namespace: str, entries: Sequence[str], closes_unix: int) -> Object:
    data = {_CLOSES: rfc3339(utc(closes_unix)), _ENTRIES: "\n".join(entries)}
    return new_object("v1", "ConfigMap", name, namespace, labels={PUBLISHED: "true"}, data=data)


def _read(document: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the entries and the closing time. Raises UnreadablePartError."""
    data = _data(document)
    try:
        closes = datetime.strptime(data[_CLOSES], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return data[_ENTRIES].split(), int(closes.timestamp())
    except (KeyError, ValueError):
        raise UnreadablePartError("it has no entries or no closing time") from None


def _data(document: Mapping[str, Any]) -> Mapping[str, str]:
    data = document.get("data")
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise UnreadablePartError("it has no data")
    if sum(map(len, data.values())) > LIMIT_BYTES:
        raise UnreadablePartError("it is too large")
    return data
