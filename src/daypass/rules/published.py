"""All that is published, as one value, and its names in a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace

from daypass.rules.credentials import (
    CLOSED_PART,
    CLUSTER_PARTS,
    Credential,
    CredentialPart,
    Presence,
    part_of,
)
from daypass.rules.denials import Denials

CREDENTIALS = "daypass-gate-credentials"
"""The published parts; `-00` to `-63` follow."""
DENIALS = "daypass-gate-denials"
"""The published denials."""


def part_name(number: int) -> str:
    """Return the name of a part: of its ConfigMap, and of Envoy's filter."""
    return f"{CREDENTIALS}-{number:02}"


NAMES = (*map(part_name, range(CLUSTER_PARTS)), DENIALS)
"""The names of the ConfigMaps, of Envoy's filters, and of the gateway's objects with their
configs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The set of credentials that exist, its parts in the order of their ranges, and denials."""

    parts: tuple[CredentialPart, ...]
    denials: Denials

    @classmethod
    def closed(cls, parts: int) -> Published:
        """Return what refuses every token."""
        return cls(parts=(CLOSED_PART,) * parts, denials=Denials())

    @property
    def count(self) -> int:
        """How many credentials exist."""
        return sum(len(part.credentials) for part in self.parts)

    def find(self, credential: Credential | None, now_unix: float) -> Presence:
        """Return whether a credential exists. Anything but a pair of UIDs is unknown."""
        if credential is None or not credential.is_valid:
            return Presence.UNKNOWN
        part = self.parts[part_of(credential.uid, len(self.parts))]
        if now_unix >= part.closes_unix:
            return Presence.CLOSED
        return Presence.EXISTS if credential in part.credentials else Presence.UNKNOWN

    def closed_parts(self, now_unix: float) -> frozenset[int]:
        """Return the parts that refuse every token: all, if the denials are out of date."""
        is_closed = self.denials.is_closed(now_unix)
        numbered = enumerate(self.parts)
        return frozenset(n for n, part in numbered if is_closed or now_unix >= part.closes_unix)

    def updated(self, number: int | None, other: Published) -> Published:
        """Return the same with a part of another value or, without a number, with its denials."""
        if number is None:
            return replace(self, denials=other.denials)
        return self.with_part(number, other.parts[number])

    def with_part(self, number: int, part: CredentialPart) -> Published:
        """Return the same with another part."""
        return replace(self, parts=(*self.parts[:number], part, *self.parts[number + 1 :]))
