"""Identities that a config leaves without tokens: their door, their audience, their namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from daypass._core.findings import Finding, warning
from daypass._core.hints import Placeholder, command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import name_of
from daypass._core.kubernetes.syntax import RBAC_GROUP
from daypass._core.text import join_names, printable
from daypass.analysis.snapshot import NAMESPACES, ObjectQuery, Snapshot
from daypass.client.door import DoorUrl
from daypass.client.errors import CredentialsError
from daypass.config import Config
from daypass.identity.accounts import Account
from daypass.identity.enforcement import watched_by
from daypass.render.names import GATE_WATCH

_ACCOUNTS = ObjectQuery("", "ServiceAccount", labels=labels.SELECTOR, metadata_only=True)
_WATCHES = ObjectQuery(RBAC_GROUP, "RoleBinding", fields=f"metadata.name={GATE_WATCH}")


def find_stranded(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Yield which identities have another door, an audience that nothing takes, or a namespace that
    the gate does not watch. They are warnings: users who may create ServiceAccounts can cause them.
    """
    accounts = [each for each in map(Account.read, snapshot.of(_ACCOUNTS)) if each.is_ours]
    if others := [each for each in accounts if _is_elsewhere(each, config)]:
        yield warning(
            "identity-door",
            f"the door of {_named(others, labels.DOOR)} is none of this config",
            f"hand over a file with the new one: {_set_again()}",
        )
    enforced = {
        name_of(each): each["metadata"].get("annotations") or {}
        for each in snapshot.of(NAMESPACES)
        if labels.has_policy_label(each)
    }
    yield from _audiences(accounts, enforced, config)
    own_namespace = config.door.namespace
    watched = enforced.keys() & watched_by({own_namespace}, snapshot.of(_WATCHES))
    if config.cluster_gates and (left := {each.name.namespace for each in accounts} - watched):
        yield warning(
            "refused",
            f"the gate refuses every token of {', '.join(sorted(left))}: these namespaces have"
            f" identities, but not both the label {labels.POLICY_SELECTOR} and a RoleBinding"
            f" {GATE_WATCH} for {own_namespace}",
            f"label each of them, and let the gate watch it: {_set_again()}",
        )


def _audiences(
    accounts: Sequence[Account], enforced: Mapping[str, Mapping[str, str]], config: Config
) -> Iterator[Finding]:
    """Find audiences that the policy refuses, or no gate takes. `enforced`: the annotations of the
    namespaces with the policy.
    """
    gates, policy = config.gates.values(), config.policy
    taken = {each for gate in gates for each in (gate.audience, *gate.audiences)}
    refused, useless = list[Account](), list[Account]()
    for account in (each for each in accounts if labels.AUDIENCE in each.annotations):
        here, audience = account.name.namespace, account.annotations[labels.AUDIENCE]
        if policy is not None and policy.mode == "deny" and here in enforced:
            override = enforced[here].get(labels.POLICY_AUDIENCES)
            if audience not in (policy.audiences if override is None else override.split(" ")):
                refused.append(account)
                continue
        if gates and audience not in taken:
            useless.append(account)
    for found, why, key in (
        (refused, "the policy refuses the audience", "policy.audiences, or its namespace's"),
        (useless, "no gate takes the audience", "a gate's audiences"),
    ):
        if found:
            hint = f"add it to {key}, or hand over a file with another: {_set_again()}"
            yield warning("identity-audience", f"{why} of {_named(found, labels.AUDIENCE)}", hint)


def _set_again() -> str:
    """Return how an identity gets other settings."""
    create = command("identity", "create", Placeholder("NAME"), "-n", Placeholder("NAMESPACE"))
    return f"{create}, or again `identity federate`"


def _is_elsewhere(account: Account, config: Config) -> bool:
    """Return whether the door of an identity has no host of a config, or another prefix."""
    with suppress(CredentialsError):
        door = DoorUrl.parse(account.annotations.get(labels.DOOR, ""))
        hosts = {domain.host for domain in config.domains.values()}
        return door.address.host not in hosts or door.path != config.prefix
    return False


def _named(accounts: Sequence[Account], label: str) -> str:
    shown = (f"{e.name} ({printable(e.annotations.get(label, ''), 80)})" for e in accounts)
    return join_names(shown)
