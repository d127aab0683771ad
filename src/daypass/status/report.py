"""What `daypass status` finds, as the screen and `-o json` show it. None: it is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from daypass._core.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainState:
    """A public name of the door."""

    name: Annotated[str, "its name in the config"]
    host: Annotated[str, "its host"]
    front: Annotated[str, "the ingress or gateway that serves it"]
    days: Annotated[int | None, "days until its certificate expires; null: not known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What passes the door or a gate; null: not known.

    Where no request ended while it was read, all but the rate is since the start of the process.
    """

    rate: Annotated[float | None, "requests a second"] = None
    refused: Annotated[float | None, "the share of them that is refused, 0 to 1"] = None
    failed: Annotated[float | None, "the share of them that fails (5xx), 0 to 1"] = None
    p50: Annotated[float | None, "seconds within which half of them are answered"] = None
    p99: Annotated[float | None, "seconds within which 99 of 100 are answered"] = None
    reasons: Annotated[Mapping[str, float], "the share that is refused, by reason"] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """The Pods of door, authorizer or watch, or of the gateway that has a gate."""

    name: Annotated[str, "`door`, `authorizer`, `watch`, or `gate` and its name"]
    ready: Annotated[int | None, "how many Pods are ready; null: not known"] = None
    wanted: Annotated[int | None, "how many there are to be; null: not known"] = None
    image: Annotated[str, "the image that they run; empty: not known"] = ""
    traffic: Annotated[Traffic, "what passes it"] = Traffic()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedState:
    """What gates know: the set of credentials that exist, and the API server's signing keys."""

    leader: Annotated[str | None, "the Pod of the watch that publishes; empty: none"] = None
    credentials: Annotated[int | None, "how many credentials there are; null: not known"] = None
    age: Annotated[float | None, "seconds since the oldest listing; null: not known"] = None
    closes: Annotated[float | None, "seconds until the first part closes; null: not known"] = None
    keys: Annotated[float | None, "seconds since keys were read; null: not known"] = None
    lacking: Annotated[str, "the gates that do not have all of it; empty: none"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitiesState:
    """All identities, and those that need a look, as NAMESPACE/NAME."""

    total: Annotated[int, "how many there are"]
    overdue: Annotated[Sequence[str], "whose time is over, and whose tokens still work"] = ()
    expiring: Annotated[Sequence[str], "that expire within 14 days, with the day"] = ()
    unused: Annotated[Sequence[str], "with a long-lived token that is unused for 90 days"] = ()
    federated: Annotated[int, "how many have an anchor, whose last use is not known"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of door, gates and identities."""

    version: Annotated[str, "the version of this daypass"]
    place: Annotated[str, "the API server, or the state folder on this machine"]
    metrics: Annotated[str, "where the rates come from; empty: they are not known"]
    findings: Annotated[Sequence[Finding], "failure: is wrong; others: worth a look, not known"]
    domains: Annotated[Sequence[DomainState], "the public names of the door"]
    parts: Annotated[Sequence[PartState], "what is installed"]
    published: Annotated[PublishedState | None, "what gates know; null: there is none"] = None
    identities: Annotated[IdentitiesState | None, "the identities; null: not known"] = None
    drift: Annotated[Sequence[str] | None, "what differs from the config; null: not known"] = None
