"""The published set as ConfigMaps, which the authorizer and commands read: one for each shard.

They have a label of their own, so that one watch follows all of them. What is read is bounded and
checked: an unreadable shard counts as closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from daypass._core.clock import rfc3339, utc
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import Object, new_object
from daypass.rules.denials import KEY, LIMIT, Denials
from daypass.rules.published import (
    DENIALS,
    NAMES,
    Published,
    Shard,
    is_credential,
    shard_name,
    shard_of,
)

LIMIT_BYTES = 1024 * 1024
"""Of a ConfigMap's data, as the API server has it."""
_CLOSES, _ENTRIES, _ROOM = "closesAt", "entries", "credentialsPerNamespace"
LACKING = "lackingAt"
"""The gates whose gateways do not have it yet, for commands."""


class UnreadableShardError(ValueError):
    """A ConfigMap is no published shard of this format."""


def shard_config_map(number: int, shard: Shard, namespace: str, *, room: int) -> Object:
    """Return a shard's ConfigMap; the same shard gives the same bytes.

    `room`: how many credentials of one namespace the set takes, for commands that create them.
    """
    entries = sorted(shard.credentials)
    found = _config_map(shard_name(number), namespace, entries, shard.closes_unix)
    found["data"][_ROOM] = str(room)
    return found


def denials_config_map(denials: Denials, namespace: str) -> Object:
    """Return the denials' ConfigMap; the same denials give the same bytes."""
    return _config_map(DENIALS, namespace, sorted(denials.keys), denials.closes_unix)


def read_shard(document: Mapping[str, Any], shards: int) -> tuple[int, Shard]:
    """Return the number and the content of a shard. Raises UnreadableShardError."""
    found, closes_unix = _read(document)
    number = int(str(document["metadata"]["name"])[-2:])
    if not all(is_credential(each) and shard_of(each, shards) == number for each in found):
        raise UnreadableShardError("it has other than pairs of UIDs of its range")
    return number, Shard(credentials=frozenset(found), closes_unix=closes_unix)


def read_published_denials(document: Mapping[str, Any]) -> Denials:
    """Return the denials. Raises UnreadableShardError."""
    keys, closes_unix = _read(document)
    if len(keys) > LIMIT or not all(map(KEY.fullmatch, keys)):
        raise UnreadableShardError("it has too many denials, or other entries")
    return Denials(keys=frozenset(keys), closes_unix=closes_unix)


def read_object(document: Mapping[str, Any], before: Published) -> Published:
    """Return what is published with a shard, or the denials. Raises UnreadableShardError."""
    name = document["metadata"]["name"]
    if name not in NAMES:
        raise UnreadableShardError("it is neither a shard nor the denials")
    if name == DENIALS:
        return replace(before, denials=read_published_denials(document))
    return before.with_shard(*read_shard(document, len(before.shards)))


def closing_time(document: Mapping[str, Any]) -> int:
    """Return from when on it refuses every token. Raises UnreadableShardError."""
    return _read(document)[1]


def read_room(document: Mapping[str, Any]) -> int:
    """Return how many credentials of one namespace the set takes. Raises UnreadableShardError."""
    text = _data(document).get(_ROOM, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UnreadableShardError("it does not say how many credentials a namespace may have")
    return int(text)


def read_lacking(document: Mapping[str, Any]) -> str:
    """Return the names of the gates that do not have it yet, or "". Raises UnreadableShardError."""
    return _data(document).get(LACKING, "")


def _config_map(name: str, namespace: str, entries: Sequence[str], closes_unix: int) -> Object:
    data = {_CLOSES: rfc3339(utc(closes_unix)), _ENTRIES: "\n".join(entries)}
    return new_object("v1", "ConfigMap", name, namespace, labels={PUBLISHED: "true"}, data=data)


def _read(document: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the entries and the closing time. Raises UnreadableShardError."""
    data = _data(document)
    try:
        closes = datetime.strptime(data[_CLOSES], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return data[_ENTRIES].split(), int(closes.timestamp())
    except (KeyError, ValueError):
        raise UnreadableShardError("it has no entries or no closing time") from None


def _data(document: Mapping[str, Any]) -> Mapping[str, str]:
    data = document.get("data")
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise UnreadableShardError("it has no data")
    if sum(map(len, data.values())) > LIMIT_BYTES:
        raise UnreadableShardError("it is too large")
    return data
