"""`daypass identity authorize`: grant an identity a role in namespaces, or models."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.output import KubernetesList, did, write_objects

if TYPE_CHECKING:
    from daypass._core.kubernetes.objects import Object
    from daypass.identity.accounts import IdentityName
    from daypass.identity.grants import Grant, TrustedHeader
    from daypass.kube.cluster import Cluster

SUMMARY = "give an identity a role in namespaces, or models to call"
EPILOG = """examples:
  daypass identity authorize bot -n team --in alice,bob --role view
  daypass identity authorize bot -n team --in alice --role edit --yes
  daypass identity authorize bot -n team --in alice \\
    --cluster-role kubeflow-pipelines-edit
  daypass identity authorize bot -n team --model alice/iris --gate serving
  daypass identity authorize bot -n team --in alice --inference-only

In each namespace it creates a RoleBinding and, where Istio is installed, an AuthorizationPolicy,
like Kubeflow's own access management. Kubeflow's UI lists them. For models it creates a Role, too:
`get` on these InferenceServices and LLMInferenceServices, which a gate with `authorize` asks for.
"""
ROLES = ("view", "edit", "admin")
OUTPUT = KubernetesList


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser)
    add_grant(parser)
    parser.add_argument(
        "--ignore-not-found", action="store_true", help="with --model: it may be created later"
    )
    options.add_yes(parser, "even if the role can create tokens, read Secrets or impersonate")
    sender = parser.add_mutually_exclusive_group()
    sender.add_argument(
        "--gate",
        metavar="GATE",
        help="let the gateway of this gate set the user header, instead of Kubeflow's ingress"
        " gateway; with the gate's header",
    )
    sender.add_argument(
        "--principal",
        metavar="P",
        action="append",
        help="the workload that may set the user header, instead of Kubeflow's ingress gateway; may"
        " be repeated",
    )
    parser.add_argument(
        "--user-header", metavar="H", help="the user header (default: kubeflow-userid)"
    )
    options.add_config(parser)
    options.add_dry_run(parser)
    options.add_output(parser, "with --dry-run: print the objects")
    options.add_cluster(parser)


def add_grant(parser: ArgumentParser, *, everywhere: bool = False) -> None:
    """Add what names grants: where they are, and what they give. `everywhere`: --everywhere, too"""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--in", dest="places", metavar="NS[,NS]", action="append", help="the namespaces (profiles)"
    )
    if everywhere:
        where.add_argument("--everywhere", action="store_true", help="every namespace")
    where.add_argument(
        "--model",
        dest="models",
        metavar="NS/MODEL",
        action="append",
        help="a model to call, and nothing else; may be repeated",
    )
    role = parser.add_mutually_exclusive_group()
    role.add_argument("--role", choices=ROLES, help="Kubeflow's role (ClusterRole kubeflow-ROLE)")
    role.add_argument("--cluster-role", metavar="NAME", help="any other ClusterRole")
    role.add_argument(
        "--inference-only", action="store_true", help="all models of the namespaces, and no role"
    )


def named_namespaces(args: Namespace) -> list[str]:
    """Return the namespaces of --in, each once. Raises UsageError for an invalid name."""
    from daypass._core.kubernetes.syntax import is_label

    names = [name.strip() for each in args.places or () for name in each.split(",")]
    for name in names:
        if not is_label(name):
            raise UsageError(f"{name[:80]!r} is not a namespace", "write --in alice,bob")
    return list(dict.fromkeys(names))


def named_models(args: Namespace) -> list[tuple[str, str]]:
    """Return namespace and name of each --model, once. Raises UsageError."""
    from daypass.identity.grants import parse_model

    models = list(dict.fromkeys(map(parse_model, args.models or ())))
    if models and (args.role or args.cluster_role or args.inference_only):
        raise UsageError(
            "--model is the right to call one model, and has no role",
            "leave out --role, --cluster-role and --inference-only, or --model",
        )
    return models


def grant_in(args: Namespace, identity: IdentityName, namespace: str) -> Grant | None:
    """Return what --role, --cluster-role or --inference-only give; None without them."""
    from daypass.identity.grants import model_grant, role_grant
    from daypass.identity.roles import EVERY_MODEL

    if args.inference_only:
        return model_grant(identity, namespace, EVERY_MODEL)
    role = args.cluster_role if args.role is None else f"kubeflow-{args.role}"
    return None if role is None else role_grant(identity, namespace, role)


def run(args: Namespace) -> int:
    options.check_output(args)
    namespaces, models = named_namespaces(args), named_models(args)
    with options.open_identity(args) as (cluster, identity):
        from daypass.identity.authorize import apply, model_grants, plan

        named = (grant_in(args, identity, namespace) for namespace in namespaces)
        grants = [grant for grant in named if grant is not None]
        if namespaces and not grants:
            raise UsageError(
                "no role is named",
                "add --role view, or --inference-only for the right to call all models",
            )
        trusted = _trusted_header(args, cluster)
        grants += model_grants(
            cluster,
            identity,
            models,
            ignore_not_found=args.ignore_not_found,
            warn=warn,
        )
        planned = plan(cluster, grants, trusted=trusted, accept_risks=args.yes, warn=warn)
        documents = apply(cluster, planned)
        if args.output != "text":
            write_objects(documents, args.output)
        for grant in grants:
            _report(args, grant, documents)
        return 0


def _trusted_header(args: Namespace, cluster: Cluster) -> TrustedHeader:
    from daypass.identity.authorize import header_of_gate
    from daypass.identity.grants import TrustedHeader

    trusted = TrustedHeader()
    if args.gate is not None:
        name, gate = options.load_config(args.config).find_gate(args.gate)
        trusted = header_of_gate(cluster, name, gate)
        if (args.models or args.inference_only) and not gate.authorize:
            warn(
                f"gate {name} lets every identity that passes it call every model: it has no"
                " authorize",
                "add it to the gate in the config, and apply that",
            )
    if args.principal:
        trusted = replace(trusted, principals=tuple(args.principal))
    return replace(trusted, header=args.user_header or trusted.header)


def _report(args: Namespace, grant: Grant, documents: Sequence[Object]) -> None:
    from daypass.identity.grants import grant_name

    found = [each for each in documents if grant.owns(each)]
    *kinds, last = dict.fromkeys(each["kind"] for each in found)
    shown = f"{', '.join(kinds)} and {last}" if kinds else last
    log(
        f"{did(args.dry_run, 'grant', 'granted')} {grant.identity} {grant.display} in"
        f" {grant.namespace}: {shown} {grant_name(found[0])}"
    )
