"""What a watch knows about a cluster at a time, as a value. It has no memory of anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daypass.rules.denials import Denial


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedNamespace:
    """What counts of a namespace: UIDs, without those beyond the limit.

    `listed_at`: when the oldest listing began that they rely on (monotonic).
    """

    uids: frozenset[str]
    listed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What exists. Times are seconds of the monotonic clock.

    - `namespaces`: Secrets of identities, by namespace with the label, once they were listed.
    - `accounts`: ServiceAccounts, the same; if tokens that are bound to no Secret may pass.
    - `listed_at`: when the older of the listings of namespaces and of denials began; None until
      both have succeeded.
    - `progress_at`: when something was listed for the first time, most recently; None before.
    - `is_complete`: every namespace with the label was listed, or may not be.
    - `unwatched`: those of which credentials may be missing, and why.
    - `left_out`: how many credentials of a namespace are beyond the limit, by namespace.
    """

    namespaces: Mapping[str, ObservedNamespace] = field(default_factory=dict)
    accounts: Mapping[str, ObservedNamespace] = field(default_factory=dict)
    denials: tuple[Denial, ...] = ()
    listed_at: float | None = None
    progress_at: float | None = None
    is_complete: bool = False
    unwatched: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
