"""All that is published, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from daypass.published.credentials import CredentialSet
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
