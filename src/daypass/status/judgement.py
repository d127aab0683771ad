"""What is wrong, each with the command that mends it; and what is worth a look."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from daypass._core.findings import Finding, Level, failure, warning
from daypass._core.hints import command, kubectl
from daypass._core.text import printable
from daypass.gate.watch.schedule import RENEWED_AT
from daypass.render.names import GATE_WATCH
from daypass.rules.reasons import Reason
from daypass.status.report import IdentitiesState, PartState, PublishedState

SOON_DAYS = 14
UNUSED_DAYS = 90
_SLOW_SECONDS = 1.0
_FAILED, _FEW, _MOST = 0.01, 0.05, 0.5
"""Shares of all requests. Few signatures are unknown to a gate that has the newest keys."""
_OLD_KEYS_SECONDS = 300.0
_NAMED = 2
_SCANS = {Reason.NO_TOKEN, "not-published", "method-not-allowed"}
"""Reasons of requests by strangers, which may be all that has come since the start."""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order in which they are shown."""
    severity = (Level.FAILURE, Level.WARNING, Level.SKIPPED)
    return sorted(findings, key=lambda each: severity.index(each.level))


def judge_certificate(host: str, days: int | None, renewal: str) -> Iterator[Finding]:
    """Find a certificate that has expired or soon will."""
    if days is not None and days < SOON_DAYS:
        when = f"expires in {days} days" if days >= 0 else "has expired"
        yield failure("certificate", f"the certificate of {host} {when}", renewal)


def judge_part(part: PartState, home: str, selector: str) -> Iterator[Finding]:
    """Find Pods that are missing, and traffic that fails, waits or is refused.

    `home`, `selector`: namespace and labels of the Pods; "" on one machine.
    """
    where = ("-n", home, "-l", selector, "--prefix", "--tail", "20")
    logs = kubectl("logs", *where) if home else ""
    if part.ready is not None and part.wanted is not None and part.ready < max(part.wanted, 1):
        pods = kubectl("describe", "pods", "-n", home, "-l", selector)
        fact = f"{part.name}: {part.ready} of {part.wanted} Pods are ready"
        if part.wanted == 0:
            fact = f"{part.name}: no Pod in {home} has the labels {selector}"
        yield (warning if part.ready else failure)("replicas", fact, pods)
    traffic, is_door = part.traffic, part.name == "door"
    if traffic.failed is not None and traffic.failed > _FAILED:
        fact = f"{part.name}: {traffic.failed:.1%} of the requests fail"
        page = "reference/gate-refusals.md#when-something-fails"
        yield failure("failures", fact, logs if is_door and home else f"docs/{page}")
    if is_door and traffic.p99 is not None and traffic.p99 > _SLOW_SECONDS:
        fact = f"the API server is slow: 1 of 100 exchanges takes {traffic.p99:.1f} s or more"
        yield failure("latency", fact, kubectl("get", "--raw", "/readyz?verbose"))
    reason = max(traffic.reasons, key=lambda name: traffic.reasons[name], default="")
    is_about_keys = not is_door and reason in (Reason.SIGNATURE, Reason.UNKNOWN)
    if traffic.refused is not None and traffic.refused > (_FEW if is_about_keys else _MOST):
        why = f", most with the reason {reason}" if reason else ""
        fact = f"{part.name}: {traffic.refused:.0%} of the requests are refused{why}"
        hint = _what_to_do(reason, is_door=is_door, home=home, logs=logs)
        yield (warning if reason in _SCANS else failure)("refusals", fact, hint)


def _what_to_do(reason: str, *, is_door: bool, home: str, logs: str) -> str:
    """Return what to do about refusals, by their reason."""
    page = f"each reason: docs/reference/messages.md#the-{'door' if is_door else 'gate'}"
    once = command("gate", "watch", "--once") if home else f"look at what `{command('up')}` logs"
    if is_door:
        return f"{logs}\n{page}".lstrip("\n")
    if reason == Reason.SIGNATURE:
        return f"the API server's keys have changed: renew the file in cluster.keys, or\n{once}"
    if reason == Reason.UNKNOWN:
        return once
    if reason == Reason.UNKNOWN_CREDENTIAL:
        listed = command("identity", "list", "-A", "--check")
        return f"revoked, or of a namespace that is not watched: {listed}"
    return page


def judge_gateway(
    gate: str, pods: Collection[str], with_gate: Collection[str]
) -> Iterator[Finding]:
    """Find Pods whose Envoy does not have the gate's filters, while another one has."""
    without = sorted({*pods} - {*with_gate})
    if without and {*pods} & {*with_gate}:
        fact = f"gate {gate}: without its filters, all requests may pass: {_names(without)}"
        yield failure("bypass", fact, f"does a forged token pass? {command('verify')}")


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
    if state.keys is not None and state.keys > _OLD_KEYS_SECONDS:
        yield failure("signing-keys", f"signing keys were last read {state.keys:.0f} s ago", once)
    if state.lacking:
        fact = f"not all that is published has arrived at {printable(state.lacking)}"
        yield failure("publication", fact, once)


def judge_identities(state: IdentitiesState | None) -> Iterator[Finding]:
    """Find identities whose time is over; note those that soon expire, or are unused."""
    if state is None:
        return
    if state.overdue:
        fact = f"tokens still work after their deadline: {_names(state.overdue)}"
        yield failure("deadline", fact, command("identity", "reap", "-A"))
    if state.expiring:
        fact = f"expire within {SOON_DAYS} days: {_names(state.expiring)}"
        yield warning("deadline", fact, command("identity", "list", "-A"))
    if state.unused:
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
