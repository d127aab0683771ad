"""`daypass identity list`: identities with their grants, tokens and health."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Finding, Level, exit_code
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass.cli import log, options, write
from daypass.cli.output import as_text, columns, watch

if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass.cli.output_data import IdentityData
    from daypass.identity.health import IdentityHealth
    from daypass.identity.model import Warn
    from daypass.identity.records import ClusterObjects
    from daypass.kube.cluster import Cluster

SUMMARY = "who has access to what, and what is wrong with it"
EPILOG = """examples:
  daypass identity list -n team
  daypass identity list -A -o wide
  daypass identity list -A --check --unused-after 30d     exit code 3 if there is a problem

GRANTS are of all RoleBindings: alice=edit is Kubeflow's edit in the namespace alice,
alice=model/iris the right to call a model, *=clusterrole/x a ClusterRoleBinding. MODELS are
those that it may call by any of them: alice/* all of alice. No token is read.
"""
_SHOWN_GRANTS = 2
_NOTHING = "-"
_UNKNOWN = "unknown"
"""The last use of an anchor: the API server notes none. The models of a role that can't be read."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-A", "--all-namespaces", action="store_true", help="the identities of all namespaces"
    )
    options.add_output(
        parser,
        "default: table; wide: doors, all grants, models, health in sentences",
        choices=("table", "wide", "json", "yaml"),
    )
    parser.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="print again after each change; json: one line each time",
    )
    options.add_health(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print the inventory; return 3 if --check finds a problem."""
    if args.watch and args.check:
        raise UsageError("--watch never ends, so --check has no result", "leave one out")
    with options.open_cluster(args) as cluster:
        namespace = None if args.all_namespaces else cluster.namespace
        if args.watch:

            def look(warn: Warn) -> str:
                examined = find_health(args, cluster, namespace, warn)[1]
                return _text(cluster, examined, args.output, json_indent=None)

            watch(args.output, cluster.clock, cluster.sleep, look)
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

    objects, unused = list_objects(cluster, namespace, warn=warn), args.unused_after
    return objects, examine(objects, cluster.clock, namespace=namespace, unused_seconds=unused)


def _text(
    cluster: Cluster,
    examined: Sequence[IdentityHealth],
    output: str,
    *,
    json_indent: int | None = 2,
) -> str:
    if output in ("json", "yaml"):
        whole = {"identities": [identity_json(each) for each in examined]}
        return as_text(whole, output, indent=json_indent)
    if not examined:
        return ""
    return table(examined, cluster.clock, wide=output == "wide")


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
    grants = [role.display for role in sorted(record.roles)]
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


def identity_json(health: IdentityHealth) -> IdentityData:
    from daypass.identity.inference import EVERY_MODEL
    from daypass.identity.records import EVERYWHERE

    record, annotations = health.record, health.record.annotations
    return {
        "namespace": record.name.namespace,
        "name": record.name.name,
        "exists": record.account is not None,
        "federated": record.is_federated,
        "users": list(record.users or ()),
        "door": annotations.get(labels.DOOR),
        "audience": annotations.get(labels.AUDIENCE),
        "created": record.created or None,
        "deadline": annotations.get(labels.DEADLINE),
        "lastUsed": health.last_used,
        "grants": [
            {
                "namespace": None if role.namespace == EVERYWHERE else role.namespace,
                "role": role.role,
                "kind": role.role_kind,
                "binding": role.binding,
                "daypass": role.is_ours,
                "authorizationPolicy": role.has_policy,
                "models": None
                if role.models is None
                else [
                    {"resource": plural, "name": None if name == EVERY_MODEL else name}
                    for plural, name in role.models
                ],
            }
            for role in sorted(record.roles)
        ],
        "tokens": [
            {
                "secret": secret.name,
                "anchor": secret.is_anchor,
                "created": secret.created,
                "lastUsed": secret.last_used,
                "retireAfter": secret.retire_after,
                "daypass": secret.is_ours,
                "live": secret in health.live,
            }
            for secret in record.secrets
        ],
        "findings": [
            {"code": each.check, "problem": is_problem(each), "text": each.sentence}
            for each in health.findings
        ],
    }
