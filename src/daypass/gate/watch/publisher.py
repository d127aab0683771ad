"""Where a watch publishes: objects of a cluster, or Envoy's files on one machine."""

from __future__ import annotations

from typing import Protocol

from daypass.gate.signing_keys import SigningKeys
from daypass.rules.published import Published


class Publisher(Protocol):
    """Puts parts in force. A method raises OSError or DaypassError if it fails; then its caller has
    to take over again.

    `parts`: how many parts the set has. `pace_seconds`: for how long a round of writing lasts, and
    the pause after it. `clock_ahead_seconds`: how far this clock is ahead of the API server's. Used
    by one thread.
    """

    parts: int
    pace_seconds: float

    @property
    def clock_ahead_seconds(self) -> float: ...

    def take_over(self) -> Published:
        """Become the only writer: after this, no earlier leader can write, nor can what an earlier
        call has sent.

        Returns what is in force. What is not known for sure counts as closed and empty.
        """

    def publish(self, number: int | None, wanted: Published) -> None:
        """Put a part of this in force or, without a number, its denials."""

    def publish_keys(self, keys: SigningKeys) -> None:
        """Put other signing keys in force."""

    def check(self) -> None:
        """Fail if others have changed what is in force: look at some of it, in turn."""

    def warn(self, namespace: str) -> None:
        """Report in a namespace that its newest credentials are left out."""
