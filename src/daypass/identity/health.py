"""What is wrong with an identity, or worth a look.

A problem is something that nobody meant to be so; it is what `--check` counts. A note is something
that somebody meant, and that one wants to see all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from daypass._core import labels
from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.labels import KUBE_SYSTEM
from daypass._core.timestamps import parse_rfc3339
from daypass.identity.grants import user_of
from daypass.identity.inventory import (
    EVERYWHERE,
    IdentityRecord,
    Objects,
    TokenUsage,
    entries,
    policy_proves,
)
from daypass.identity.model import age_seconds, identity_objects, is_past
from daypass.identity.namespaces import unwatched
from daypass.identity.role_risks import reasons, rules_of
from daypass.identity.tokens import is_unfinished
from daypass.kube.resources import Object, name_of

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding:
    """A word for it, what it is, and whether it is a problem or a note."""

    code: str
    text: str
    is_problem: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """An identity, and what is found."""

    entry: IdentityRecord
    live: tuple[TokenUsage, ...]
    findings: tuple[HealthFinding, ...]

    @property
    def has_problems(self) -> bool:
        """Whether anything is as nobody meant it."""
        return any(finding.is_problem for finding in self.findings)

    @property
    def last_used(self) -> str | None:
        """The last day on which one of its long-lived tokens was used, as far as is known."""
        return max(
            (token.last_used for token in self.entry.tokens if token.last_used), default=None
        )


def examine(
    objects: Objects, clock: Clock, *, namespace: str | None = None, unused_seconds: int
) -> list[Examined]:
    """Every identity of a namespace or (None) of all, with its health.

    `unused_seconds`: how long a token may lie unused.
    """
    held = None
    if objects.namespaces is not None:
        held = {
            name_of(each)
            for each in objects.namespaces
            if (each["metadata"].get("labels") or {}).get(labels.POLICY) == labels.POLICY_ENFORCED
        }
    found = entries(objects, namespace)
    risks = _risks(objects.cluster_roles or (), found)
    examined = []
    for entry in found:
        live = _live(entry)
        findings = [
            *_of_parts(entry),
            *_of_times(entry, live, clock, unused_seconds),
            *_of_tokens(entry, live, objects),
            *_of_rights(entry, risks),
            *_of_policy(entry, held, objects.policy_bindings),
            *_of_gate(entry, objects),
        ]
        examined.append(Examined(entry=entry, live=live, findings=tuple(findings)))
    return examined


def _live(entry: IdentityRecord) -> tuple[TokenUsage, ...]:
    """Long-lived tokens that count: of this very ServiceAccount, whoever made their Secrets."""
    if entry.account is None:
        return ()
    return tuple(
        token
        for token in entry.tokens
        if token.secret.account_uid in ("", entry.account.uid) and not token.is_invalid
    )


def _of_parts(entry: IdentityRecord) -> Iterator[HealthFinding]:
    bindings = [f"rolebindings/{each.binding} in {each.namespace}" for each in entry.rights]
    policies = [
        f"authorizationpolicies/{name_of(each)} in {each['metadata']['namespace']}"
        for each in entry.policies
    ]
    left = ", ".join([*bindings, *policies, *entry.parts])
    if entry.account is None and left:
        undo = command("identity", "delete", entry.name.name, "-n", entry.name.namespace)
        yield HealthFinding(
            code="orphan", text=f"its ServiceAccount is gone, and left: {left}; {undo}"
        )
    bound = {(each.namespace, each.binding) for each in entry.rights if each.is_ours}
    for right in entry.rights:
        if right.has_policy is False:
            yield HealthFinding(
                code="half-grant", text=f"{right.shown} has no AuthorizationPolicy: authorize again"
            )
    for policy in entry.policies:
        place, name = policy["metadata"]["namespace"], name_of(policy)
        if (place, name) not in bound:
            yield HealthFinding(
                code="half-grant",
                text=f"authorizationpolicies/{name} in {place} has no RoleBinding: authorize again,"
                " or unauthorize",
            )
        if not policy_proves(policy, entry.name):
            yield HealthFinding(
                code="open-policy",
                text=f"authorizationpolicies/{name} in {place} was changed: it lets in others, or"
                " takes the user's name from anybody",
            )
    for binding in entry.misplaced:
        place = binding["metadata"]["namespace"]
        yield HealthFinding(
            code="misplaced",
            text=f"rolebindings/{name_of(binding)} in {place} bears its mark and binds others, too",
        )


def _of_times(
    entry: IdentityRecord, live: tuple[TokenUsage, ...], clock: Clock, unused_seconds: int
) -> Iterator[HealthFinding]:
    deadline = entry.account.annotations.get(labels.DEADLINE) if entry.account else None
    reap = command("identity", "reap", "-n", entry.name.namespace)
    yield from _unreadable("it is to end", deadline)
    if is_past(deadline, clock):
        if live or entry.rights or entry.asks_itself:
            text = f"its deadline was {deadline}: {reap}"
            yield HealthFinding(code="deadline-passed", text=text)
        else:
            yield HealthFinding(code="ended", text=f"it ended on {deadline}", is_problem=False)
    for token in live:
        secret = token.secret
        yield from _unreadable(f"Secret {secret.name} is to go", secret.retire_after)
        if is_past(secret.retire_after, clock):
            text = f"Secret {secret.name} was to go at {secret.retire_after}: {reap}"
            yield HealthFinding(code="retirement-overdue", text=text)
        since = f"{token.last_used}T23:59:59Z" if token.last_used else secret.created
        idle = age_seconds(since, clock)
        if secret.retire_after is None and idle >= unused_seconds:
            days = f"{idle // DAY_SECONDS:.0f} days"
            text = f"the token of Secret {secret.name} is unused for {days}"
            yield HealthFinding(code="unused", text=text)


def _unreadable(what: str, moment: str | None) -> Iterator[HealthFinding]:
    if moment and parse_rfc3339(moment) is None:
        text = f"{what} at {moment[:40]!r}, which is no moment: it never does"
        yield HealthFinding(code="unreadable-time", text=text)


def _of_tokens(
    entry: IdentityRecord, live: tuple[TokenUsage, ...], objects: Objects
) -> Iterator[HealthFinding]:
    current = [token.secret for token in live if token.secret.retire_after is None]
    ours = [secret for secret in current if secret.is_ours]
    for secret in current:
        if not secret.is_ours:
            text = f"Secret {secret.name} holds a token, and daypass did not make it"
            yield HealthFinding(code="foreign-token", text=text)
    if len(ours) > 1:
        broken = any(is_unfinished(secret, ours) for secret in ours)
        code = "rotation-unfinished" if broken else "several-tokens"
        names = ", ".join(sorted(secret.name for secret in ours))
        yield HealthFinding(code=code, text=f"{len(ours)} tokens are live: {names}")
    for name in sorted({token.secret.name for token in live} & set(entry.listed_secrets)):
        yield HealthFinding(
            code="listed-token",
            text=f"Secret {name} is listed in ServiceAccount.secrets: the cluster's cleaner takes"
            " it away when it is not used",
        )
    if entry.account is None or objects.secrets is None or entry.is_federated:
        return
    if not live:
        text = "it has no long-lived token: revoked, or never finished"
        yield HealthFinding(code="no-token", text=text, is_problem=False)
    elif not entry.asks_itself or (objects.roles is not None and entry.own_role is None):
        again = command("identity", "create", entry.name.name, "-n", entry.name.namespace)
        text = f"it may not ask for its own tokens; this makes up for it: {again}"
        yield HealthFinding(code="no-token-right", text=text)


def _of_rights(
    entry: IdentityRecord, risks: Mapping[str, tuple[str, ...]]
) -> Iterator[HealthFinding]:
    expected = identity_objects(entry.name.namespace, entry.name.name, "")[1]["rules"]
    if entry.own_role is not None and entry.own_role.get("rules") != expected:
        text = f"roles/{name_of(entry.own_role)} allows something else than its own TokenRequests"
        yield HealthFinding(code="more-rights", text=text)
    for right in sorted(entry.rights):
        why = risks.get(right.role, ()) if right.role_kind == "ClusterRole" else ()
        leads = f": it {', '.join(why)}" if why else ""
        if not right.is_ours and entry.account is not None:
            kind = "clusterrolebindings" if right.namespace == EVERYWHERE else "rolebindings"
            text = f"{right.shown} by {kind}/{right.binding}, which is not daypass'{leads}"
            yield HealthFinding(code="more-rights", text=text)
        elif why:
            yield HealthFinding(code="risky-role", text=f"{right.shown}{leads}", is_problem=False)


def _of_policy(
    entry: IdentityRecord, held: set[str] | None, installed: Sequence[Object] | None
) -> Iterator[HealthFinding]:
    place = entry.name.namespace
    if user_of(entry.name).startswith(KUBE_SYSTEM):
        text = "the policy lets ServiceAccounts of kube-system do as they like"
        yield HealthFinding(code="no-policy", text=text)
    elif installed is not None and not installed and entry.account is not None:
        text = "no policy is installed in the cluster, which its namespace could be held to: "
        yield HealthFinding(code="no-policy", text=text + command("policy", "apply"))
    elif held is not None and entry.account is not None and place not in held:
        label = f"{labels.POLICY}={labels.POLICY_ENFORCED}"
        text = f"namespace {place} is not held to the policy: label it {label}"
        yield HealthFinding(code="no-policy", text=text)


def _of_gate(entry: IdentityRecord, objects: Objects) -> Iterator[HealthFinding]:
    if not objects.gates or objects.roles is None or entry.account is None:
        return
    place = entry.name.namespace
    if unwatched(place, objects.roles, objects.bindings):
        again = command("identity", "create", entry.name.name, "-n", place)
        text = f"the gate may not look at {place}, and takes no token of it: {again}"
        yield HealthFinding(code="not-watched", text=text)


def _risks(
    cluster_roles: Sequence[Object], found: Sequence[IdentityRecord]
) -> dict[str, tuple[str, ...]]:
    """What those ClusterRoles lead to that anybody has."""
    held = {right.role for entry in found for right in entry.rights}
    return {
        name_of(role): reasons(rules_of(role, cluster_roles))
        for role in cluster_roles
        if name_of(role) in held
    }
