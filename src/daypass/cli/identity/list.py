"""`daypass identity list`: identities with their grants, tokens and health."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, Level, exit_code
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass.cli import options
from daypass.cli.console import log, write
from daypass.cli.output import as_text, columns
from daypass.identity.roles import BoundRole

if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass.identity.accounts import Warn
    from daypass.identity.health import IdentityHealth
    from daypass.identity.records import ClusterObjects
    from daypass.kube.cluster import Cluster

SUMMARY = "who has access to what, and what is wrong with it"
EPILOG = """examples:
  daypass identity list -n team
  daypass identity list -A -o wide
  daypass identity list -A --check     exit code 3 if there is a problem

GRANTS are of all RoleBindings: alice=edit is Kubeflow's edit in the namespace alice,
alice=model/iris the right to call a model, *=clusterrole/x a ClusterRoleBinding. MODELS are
those that it may call by any of them: alice/* all of alice. No token is read.
"""
_SHOWN_GRANTS = 2
_NOTHING = "-"
_UNKNOWN = "unknown"
"""The last use of an anchor: the API server notes none. The models of a role that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretOutput:
    """A long-lived token of an identity, or its anchor."""

    secret: Annotated[str, "the name of its Secret"]
    anchor: Annotated[bool, "whether it is an anchor of a federated identity, without a token"]
    created: Annotated[str, "when it was created (RFC 3339)"]
    last_used: Annotated[
        str | None, "the date of its last use; null: never, or of an anchor: unknown"
    ]
    retire_after: Annotated[
        str | None, "from when a replaced token may be deleted (RFC 3339); null: not replaced"
    ]
    daypass: Annotated[bool, "whether daypass created it"]
    live: Annotated[bool, "whether the API server accepts it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOutput:
    """One identity."""

    namespace: Annotated[str, "its namespace"]
    name: Annotated[str, "its name, and that of its ServiceAccount"]
    exists: Annotated[bool, "whether its ServiceAccount exists"]
    federated: Annotated[bool, "whether it is for users with tokens of another issuer"]
    users: Annotated[Sequence[str], "the users of another issuer that may request its tokens"]
    door: Annotated[str | None, "the URL of its door; null: not known"]
    audience: Annotated[str | None, "the audience of its tokens; null: not known"]
    created: Annotated[str | None, "when its ServiceAccount was created (RFC 3339)"]
    deadline: Annotated[str | None, "when it expires (RFC 3339); null: never"]
    last_used: Annotated[
        str | None, "the last date on which a token was used; null: never, or unknown"
    ]
    grants: Annotated[Sequence[BoundRole], "its roles"]
    tokens: Annotated[Sequence[SecretOutput], "its long-lived tokens and anchors"]
    findings: Annotated[Sequence[Finding], "its problems (failure), and notes about it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """The identities of a namespace, or of all."""

    identities: Annotated[Sequence[IdentityOutput], "the identities, by namespace and name"]


OUTPUT = Identities


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-A", "--all-namespaces", action="store_true", help="the identities of all namespaces"
    )
    options.add_output(
        parser,
        "default: table; wide: doors, all grants, models, health in sentences",
        choices=("table", "wide", "json", "yaml"),
    )
    options.add_check(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print the inventory; return 3 if --check finds a problem."""
    with options.open_cluster(args) as cluster:
        namespace = None if args.all_namespaces else cluster.namespace
        objects, examined = find_health(args, cluster, namespace, log)
        see_all = "see all: " + command("identity", "list", "-A")
        if namespace and not examined and objects.namespaces == []:
            raise DaypassError(f"there is no namespace {namespace}", see_all)
        write(_text(cluster, examined, args.output))
        if not examined and namespace:
            log(f"no identity in {namespace}", see_all)
        elif not examined:
            log("no identity in any namespace")
        return exit_code(*(each.findings for each in examined)) if args.check else 0


def find_health(
    args: Namespace, cluster: Cluster, namespace: str | None, warn: Warn
) -> tuple[ClusterObjects, list[IdentityHealth]]:
    """Return what a namespace or (None) the cluster holds, and the health of its identities."""
    from daypass.identity.health import examine
    from daypass.identity.records import list_objects

    objects = list_objects(cluster, namespace, warn=warn)
    return objects, examine(objects, cluster.clock, namespace=namespace)


def _text(cluster: Cluster, examined: Sequence[IdentityHealth], output: str) -> str:
    if output in ("json", "yaml"):
        return as_text(Identities(identities=[*map(identity_output, examined)]), output)
    return table(examined, cluster.clock, wide=output == "wide") if examined else ""


def table(examined: Sequence[IdentityHealth], clock: Clock, *, wide: bool = False) -> str:
    """Return identities in columns as wide as their contents, without control characters."""
    rows = [table_row(each, clock, wide=wide) for each in examined]
    styles = [
        "failure" if exit_code(each.findings) else "warning" if each.findings else "ok"
        for each in examined
    ]
    return columns(rows, styles)


def table_row(health: IdentityHealth, clock: Clock, *, wide: bool = False) -> dict[str, str]:
    """Return the cells of an identity by their headings.

    `wide`: with the door, all grants, the models that it may call, the time of the deadline, and
    findings as sentences.
    """
    from daypass._core.clock import age_seconds

    record, annotations = health.record, health.record.annotations
    grants = [role.display for role in record.roles]
    if not wide and len(grants) > _SHOWN_GRANTS:
        grants[_SHOWN_GRANTS - 1 :] = [f"and {len(grants) - _SHOWN_GRANTS + 1} more"]
    worst_first = sorted(health.findings, key=lambda finding: not is_problem(finding))
    findings = [finding.sentence if wide else finding.check for finding in worst_first]
    age = display_age(age_seconds(record.created, clock)) if record.created else _NOTHING
    models = [
        *record.models,
        *([_UNKNOWN] if any(it.models is None for it in record.roles) else []),
    ]
    is_unknown = any(secret.is_anchor for secret in health.live)
    deadline = annotations.get(labels.DEADLINE, _NOTHING)
    return {
        "NAMESPACE": record.name.namespace,
        "NAME": record.name.name,
        "GRANTS": ", ".join(grants) or _NOTHING,
        **({"MODELS": ", ".join(models) or _NOTHING} if wide else {}),
        **({"DOOR": annotations.get(labels.DOOR, _NOTHING)} if wide else {}),
        "AGE": age,
        "LAST USED": health.last_used or (_UNKNOWN if is_unknown else _NOTHING),
        "DEADLINE": deadline if wide else deadline.partition("T")[0],
        "HEALTH": ("; " if wide else ", ").join(dict.fromkeys(findings)) or "ok",
    }


def is_problem(finding: Finding) -> bool:
    """Return whether a finding is a problem; else it is a note."""
    return finding.level is Level.FAILURE


def display_age(seconds: float) -> str:
    """Return an age roughly as kubectl shows it: 12s, 5m, 3h, 12d, 2y."""
    for unit, length, until in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(seconds, 0) // length:.0f}{unit}"
    days = seconds // 86_400
    return f"{days:.0f}d" if days < 730 else f"{days // 365:.0f}y"


def identity_output(health: IdentityHealth) -> IdentityOutput:
    """Return an identity for programs."""
    record, annotations = health.record, health.record.annotations
    tokens = [
        SecretOutput(
            secret=secret.name,
            anchor=secret.is_anchor,
            created=secret.created,
            last_used=secret.last_used,
            retire_after=secret.retire_after,
            daypass=secret.is_ours,
            live=secret in health.live,
        )
        for secret in record.secrets
    ]
    return IdentityOutput(
        namespace=record.name.namespace,
        name=record.name.name,
        exists=record.account is not None,
        federated=record.is_federated,
        users=record.users or (),
        door=annotations.get(labels.DOOR),
        audience=annotations.get(labels.AUDIENCE),
        created=record.created or None,
        deadline=annotations.get(labels.DEADLINE),
        last_used=health.last_used,
        grants=record.roles,
        tokens=tokens,
        findings=health.findings,
    )
