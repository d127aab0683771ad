"""What `daypass status` finds, as the screen and `-o json` show it. None: it is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
class ComponentState:
    """The Pods of door, authorizer or watch, or of the gateway that has a gate."""

    name: Annotated[str, "`door`, `authorizer`, `watch`, or `gate` and its name"]
    ready: Annotated[int | None, "how many Pods are ready; null: not known"] = None
    wanted: Annotated[int | None, "how many there are to be; null: not known"] = None
    image: Annotated[str, "the image that they run; empty: not known"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedState:
    """What gates know: the set of credentials that exist."""

    leader: Annotated[str | None, "the Pod of the watch that publishes; empty: none"] = None
    credentials: Annotated[int | None, "how many credentials there are; null: not known"] = None
    age: Annotated[float | None, "seconds since the oldest listing; null: not known"] = None
    closes: Annotated[float | None, "seconds until the first shard closes; null: not known"] = None
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
    findings: Annotated[Sequence[Finding], "failure: is wrong; others: worth a look, not known"]
    domains: Annotated[Sequence[DomainState], "the public names of the door"]
    components: Annotated[Sequence[ComponentState], "what is installed"] = ()
    published: Annotated[PublishedState | None, "what gates know; null: there is none"] = None
    identities: Annotated[IdentitiesState | None, "the identities; null: not known"] = None
    drift: Annotated[Sequence[str] | None, "what differs from the config; null: not known"] = None
