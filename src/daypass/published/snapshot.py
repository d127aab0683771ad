"""All that is published, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace

from daypass.published.credentials import CredentialPart, CredentialSet
from daypass.published.denials import Denials


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The credentials that exist, and what is denied by hand."""

    credentials: CredentialSet
    denials: Denials

    @classmethod
    def closed(cls, parts: int) -> Published:
        """Return what refuses every token."""
        return cls(credentials=CredentialSet.closed(parts), denials=Denials())

    def with_part(self, number: int, part: CredentialPart) -> Published:
        """Return the same with another part."""
        parts = self.credentials.parts
        changed = CredentialSet(parts=(*parts[:number], part, *parts[number + 1 :]))
        return replace(self, credentials=changed)

    def with_denials(self, denials: Denials) -> Published:
        """Return the same with other denials."""
        return replace(self, denials=denials)
