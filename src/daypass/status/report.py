"""What `daypass status` finds, as the screen and `-o json` show it, and what of it is wrong.

None: it is not known. Each finding has the command that mends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from daypass._core.findings import Finding, Level, failure, warning
from daypass._core.hints import command, kubectl
from daypass._core.text import printable
from daypass.gate.watch.schedule import RENEWED_AT
from daypass.render.names import GATE_WATCH


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
    target: Annotated[str, "the API server, or the state folder on this machine"]
    findings: Annotated[Sequence[Finding], "failure: is wrong; others: worth a look, not known"]
    domains: Annotated[Sequence[DomainState], "the public names of the door"]
    components: Annotated[Sequence[ComponentState], "what is installed"] = ()
    published: Annotated[PublishedState | None, "what gates know; null: there is none"] = None
    identities: Annotated[IdentitiesState | None, "the identities; null: not known"] = None
    drift: Annotated[Sequence[str] | None, "what differs from the config; null: not known"] = None


SOON_DAYS = 14
_NAMED = 2


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order in which they are shown."""
    severity = (Level.FAILURE, Level.WARNING, Level.SKIPPED)
    return sorted(findings, key=lambda each: severity.index(each.level))


def judge_certificate(host: str, days: int | None, renewal: str) -> Iterator[Finding]:
    """Find a certificate that has expired or soon will."""
    if days is not None and days < SOON_DAYS:
        when = f"expires in {days} days" if days >= 0 else "has expired"
        yield failure("certificate", f"the certificate of {host} {when}", renewal)


def judge_component(state: ComponentState, namespace: str, selector: str) -> Iterator[Finding]:
    """Find Pods that are missing. `namespace`, `selector`: of the Pods."""
    if state.ready is not None and state.wanted is not None and state.ready < max(state.wanted, 1):
        pods = kubectl("describe", "pods", "-n", namespace, "-l", selector)
        fact = f"{state.name}: {state.ready} of {state.wanted} Pods are ready"
        if state.wanted == 0:
            fact = f"{state.name}: no Pod in {namespace} has the labels {selector}"
        yield (warning if state.ready else failure)("replicas", fact, pods)


def judge_published(
    state: PublishedState, close_after_seconds: int, home: str
) -> Iterator[Finding]:
    """Find out whether gates are closed, or soon will be."""
    logs = kubectl("logs", "-n", home, f"deployment/{GATE_WATCH}", "--tail", "20")
    once = f"{logs}\npublish it once by hand: {command('gate', 'watch', '--once')}"
    if state.leader == "":
        yield failure("watch", "no Pod of the gate's watch publishes", once)
    if state.closes is not None and state.closes <= 0:
        yield failure("closed", "gates refuse tokens: what they know is out of date", once)
    elif state.closes is not None and state.closes < close_after_seconds * RENEWED_AT / 2:
        fact = f"what the gates know is not renewed: they close in {state.closes:.0f} s"
        yield failure("closing", fact, once)
    if state.lacking:
        fact = f"not all that is published has arrived at {printable(state.lacking)}"
        yield failure("publication", fact, once)


def judge_identities(state: IdentitiesState | None) -> Iterator[Finding]:
    """Find identities whose time is over; note those that soon expire, or are unused."""
    if state is None:
        return
    if state.overdue:
        fact = f"the API server still accepts what has expired: {_names(state.overdue)}"
        yield failure("deadline", fact, command("identity", "delete", "--expired", "-A"))
    if state.expiring:
        fact = f"expire within {SOON_DAYS} days: {_names(state.expiring)}"
        yield warning("deadline", fact, command("identity", "list", "-A"))
    if state.unused:
        from daypass.identity.health import UNUSED_DAYS  # here: it needs the extra `admin`

        fact = f"unused for {UNUSED_DAYS} days: {_names(state.unused)}"
        yield warning("unused", fact, command("identity", "list", "-A", "--check"))


def judge_drift(drift: Sequence[str] | None) -> Iterator[Finding]:
    """Find objects that differ from the config."""
    if drift:
        yield failure("drift", f"differ from the config: {_names(drift)}", command("apply"))


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(printable(each, 80) for each in names[:_NAMED])
    return f"{shown}, and {more} more" if more > 0 else shown
