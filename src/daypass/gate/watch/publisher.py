"""Where a watch publishes: objects of a cluster, or Envoy's files on one machine."""

from __future__ import annotations

from typing import Protocol

from daypass.gate.signing_keys import SigningKeys
from daypass.published.credentials import CredentialPart
from daypass.published.denials import Denials
from daypass.published.snapshot import Published


class Publisher(Protocol):
    """Puts parts in force. Every method raises OSError or DaypassError if it fails.

    `parts`: how many parts the set has. `pace_seconds`: between two rounds of writing. Used by one
    thread.
    """

    parts: int
    pace_seconds: float

    def take_over(self) -> Published:
        """Become the only writer: after this, no earlier leader can write.

        Returns what is in force. What is not known for sure counts as closed and empty.
        """

    def publish_part(self, number: int, part: CredentialPart) -> None:
        """Put a part in force, in place of the one before."""

    def publish_denials(self, denials: Denials) -> None:
        """Put denials in force, in place of those before."""

    def publish_keys(self, keys: SigningKeys) -> None:
        """Put other signing keys in force."""

    def restore(self) -> list[str]:
        """Write objects again that someone else has changed or deleted; return their names.

        It is called often, and looks at a few of them each time.
        """
