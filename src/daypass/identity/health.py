"""What `identity list --check` finds about identities.

A failure is a state that nobody intended, a warning an intended one that is worth showing: messages
call them problems and notes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from daypass._core.clock import Clock, age_seconds, deadline_unix, parse_rfc3339
from daypass._core.findings import Finding, failure, warning
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass.identity.credential_secrets import CredentialSecret, is_rotation_unfinished
from daypass.identity.enforcement import enforced_in, watched_by
from daypass.identity.grants import grant_name
from daypass.identity.records import ClusterObjects, IdentityRecord, identity_records
from daypass.kube.resources import AUTHORIZATION_POLICIES, ROLES
from daypass.render.names import GATE_WATCH

UNUSED_DAYS = 90
"""A token that was not used for so long is a problem."""
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityHealth:
    """An identity, its live tokens, and the findings about it."""

    record: IdentityRecord
    live: tuple[CredentialSecret, ...]
    findings: tuple[Finding, ...]

    @property
    def last_used(self) -> str | None:
        """The last date on which one of its long-lived tokens was used, if it is known."""
        return max((each.last_used for each in self.record.secrets if each.last_used), default=None)


def examine(
    objects: ClusterObjects, clock: Clock, *, namespace: str | None = None
) -> list[IdentityHealth]:
    """Return the health of every identity of a namespace or (None) of all.

    `accounts` and Secrets of the objects are enough for findings about deadlines and last uses.
    """
    records = identity_records(objects, namespace)
    labelled = None if objects.namespaces is None else enforced_in(objects.namespaces)
    gates = set(map(name_of, objects.gates or ()))
    watched = _watched(objects, gates)
    found = []
    for record in records:
        live = _live_tokens(record)
        findings = [
            *_check_grants(record),
            *_check_times(record, live, clock),
            *_check_tokens(record, live, objects),
            *_check_policy(record, labelled, objects.policy_bindings),
            *_check_gate(record, live, gates, watched),
        ]
        found.append(IdentityHealth(record=record, live=live, findings=tuple(findings)))
    return found


def _live_tokens(record: IdentityRecord) -> tuple[CredentialSecret, ...]:
    """Return the long-lived tokens that the API server accepts, foreign ones too."""
    if record.account is None:
        return ()
    return tuple(
        secret
        for secret in record.secrets
        if secret.account_uid in ("", record.account.uid) and not secret.is_invalid
    )


def _repair(record: IdentityRecord, *options: str) -> str:
    """Return the command that creates what an identity lacks."""
    if record.is_federated:
        return command("identity", "federate", "--help")
    name = record.name
    return command("identity", "create", name.name, "-n", name.namespace, *options)


def _check_grants(record: IdentityRecord) -> Iterator[Finding]:
    if record.account is None:
        remove = command("identity", "delete", record.name.name, "-n", record.name.namespace)
        yield failure("orphan", "its ServiceAccount was deleted, but not its roles", remove)
    if record.account is not None and not record.account.is_ours:
        fact = "its ServiceAccount has lost daypass's label or annotation"
        yield failure("unmarked", fact, _repair(record, "--adopt"))
    bound = set()
    for role in record.roles:
        if role.daypass:
            bound.add((role.namespace, role.binding))
            lacks = "AuthorizationPolicy" if role.authorization_policy is False else ""
            if not role.exists and role.kind == "Role":
                lacks = "Role"
            if lacks:
                yield failure("half-grant", f"{role.display} has no {lacks}", "authorize it again")
    granted = [(AUTHORIZATION_POLICIES, each) for each in record.policies]
    granted += [(ROLES, each) for each in record.granted_roles]
    for resource, document in granted:
        namespace = document["metadata"]["namespace"]
        if (namespace, grant_name(document)) not in bound:
            fact = f"{resource.named(namespace, name_of(document))} has no RoleBinding"
            yield failure("half-grant", fact, "authorize it again, or unauthorize it")


def _check_times(
    record: IdentityRecord, live: tuple[CredentialSecret, ...], clock: Clock
) -> Iterator[Finding]:
    deadline = record.annotations.get(labels.DEADLINE)
    end = command("identity", "delete", "--expired", "-n", record.name.namespace)
    yield from _check_time("its deadline", deadline)
    if _has_passed(deadline, clock):
        if live or record.roles or record.can_request_tokens:
            fact = f"its deadline was {deadline}: the API server still accepts its tokens"
            yield failure("deadline-passed", fact, end)
        else:
            yield warning("ended", f"it expired on {deadline}")
    for secret in live:
        yield from _check_time(f"the end of Secret {secret.name}", secret.retire_after)
        if _has_passed(secret.retire_after, clock):
            fact = f"Secret {secret.name} was retired at {secret.retire_after}"
            yield failure("retirement-overdue", f"{fact}: the API server still accepts it", end)
        since = f"{secret.last_used}T23:59:59Z" if secret.last_used else secret.created
        unused = age_seconds(since, clock)
        is_current = secret.retire_after is None and not secret.is_anchor
        if is_current and unused >= UNUSED_DAYS * _DAY_SECONDS:
            days = f"{unused // _DAY_SECONDS:.0f} days"
            yield failure("unused", f"the token of Secret {secret.name} is unused for {days}")


def _has_passed(time: str | None, clock: Clock) -> bool:
    """Return whether a time has passed that can be read."""
    return -math.inf < deadline_unix(time) <= clock.unix()


def _check_time(what: str, time: str | None) -> Iterator[Finding]:
    if time is not None and parse_rfc3339(time) is None:
        fact = f"{what} is {time[:40]!r}, which is not a valid time: gates refuse its tokens"
        yield failure("unreadable-time", fact, "write it as 2026-11-24T16:00:00Z")


def _check_tokens(
    record: IdentityRecord, live: tuple[CredentialSecret, ...], objects: ClusterObjects
) -> Iterator[Finding]:
    current = [secret for secret in live if secret.retire_after is None]
    ours = [secret for secret in current if secret.is_ours]
    for secret in current:
        if not secret.is_ours:
            fact = f"Secret {secret.name} holds a token, and daypass did not create it"
            yield failure("foreign-token", fact)
    if len(ours) > 1:
        unfinished = any(is_rotation_unfinished(secret, ours) for secret in ours)
        code = "rotation-unfinished" if unfinished else "several-tokens"
        names = ", ".join(sorted(secret.name for secret in ours))
        rotate = command("identity", "rotate", record.name.name, "-n", record.name.namespace)
        yield failure(code, f"{len(ours)} of its Secrets are live: {names}", rotate)
    if record.account is None or objects.secrets is None:
        return
    if record.is_federated:
        if not any(secret.is_anchor for secret in ours):
            fact = "it has no anchor that tokens are bound to: it was revoked, or never completed"
            if ours:
                fact = "it is federated, and has a long-lived token in place of an anchor"
            yield (failure if ours else warning)("no-anchor", fact, _repair(record))
    elif not live:
        yield warning("no-token", "it has no long-lived token: it was revoked, or never completed")
    elif not record.can_request_tokens or (objects.roles is not None and not record.has_own_role):
        yield failure("no-token-right", "it may not request its own tokens", _repair(record))


def _check_policy(
    record: IdentityRecord, labelled: set[str] | None, installed: Sequence[Object] | None
) -> Iterator[Finding]:
    namespace = record.name.namespace
    if record.name.user.startswith(labels.KUBE_SYSTEM):
        yield failure("no-policy", "the policy does not apply to ServiceAccounts of kube-system")
    elif record.account is None:
        return
    elif installed is not None and not installed:
        apply = command("apply")
        yield failure("no-policy", "no policy is installed in the cluster", apply)
    elif labelled is not None and namespace not in labelled:
        fact = f"the policy is not enforced in namespace {namespace}"
        yield failure("no-policy", fact, f"label it {labels.POLICY_SELECTOR}")


def _check_gate(
    record: IdentityRecord,
    live: tuple[CredentialSecret, ...],
    gates: Set[str],
    watched: Set[str] | None,
) -> Iterator[Finding]:
    namespace = record.name.namespace
    for secret in live:
        if gates and secret.is_ours and not secret.is_known:
            rotate = command("identity", "rotate", record.name.name, "-n", namespace)
            fact = f"Secret {secret.name} lost daypass's label: no gate knows it"
            yield failure("unknown-to-gate", fact, rotate)
    if record.account is not None and watched is not None and namespace not in watched:
        fact = f"the gate may not watch {namespace}, and accepts no token of it"
        yield failure("not-watched", fact, _repair(record))


def _watched(objects: ClusterObjects, gates: Set[str]) -> Set[str] | None:
    """Return the namespaces that a gate may watch; None if there is no gate, or it is not known."""
    if not gates or objects.roles is None:
        return None
    roles = {each["metadata"]["namespace"] for each in objects.roles if name_of(each) == GATE_WATCH}
    return roles & watched_by(gates, objects.bindings)
