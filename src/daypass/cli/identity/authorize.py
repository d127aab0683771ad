"""`daypass identity authorize`: grant an identity a role in namespaces."""

from argparse import ArgumentParser, Namespace

from daypass._core.errors import UsageError
from daypass.cli import log, options, warn
from daypass.cli.output import did, write_objects

SUMMARY = "give an identity a role in namespaces (profiles)"
EPILOG = """examples:
  daypass identity authorize bot -n team --in alice,bob --role view
  daypass identity authorize bot -n team --in alice --role edit --yes
  daypass identity authorize bot -n team --in alice \\
    --cluster-role kubeflow-pipelines-edit

In each namespace it creates a RoleBinding and an AuthorizationPolicy of Istio, like Kubeflow's own
access management. Kubeflow's UI lists them.
"""
ROLES = ("view", "edit", "admin")


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser)
    parser.add_argument(
        "--in",
        dest="places",
        metavar="NS[,NS]",
        action="append",
        required=True,
        help="the namespaces (profiles)",
    )
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("--role", choices=ROLES, help="Kubeflow's role (ClusterRole kubeflow-ROLE)")
    role.add_argument("--cluster-role", metavar="NAME", help="any other ClusterRole")
    options.add_yes(parser, "even if the role can create tokens, read Secrets or impersonate")
    parser.add_argument(
        "--principal",
        metavar="P",
        action="append",
        help="the workload that may set the user header, instead of Kubeflow's ingress gateway; may"
        " be repeated",
    )
    parser.add_argument(
        "--user-header", metavar="H", help="the user header (default: kubeflow-userid)"
    )
    parser.add_argument(
        "--no-istio", action="store_true", help="the RoleBinding alone: there is no Istio"
    )
    options.add_dry_run(parser)
    options.add_output(parser, "with --dry-run: print the objects")
    options.add_cluster(parser)


def split(places: list[str]) -> tuple[str, ...]:
    """Return the namespaces of `--in`, each once. Raises UsageError for an invalid name."""
    from daypass._core.k8s_names import is_label

    names = [name.strip() for each in places for name in each.split(",")]
    for name in names:
        if not is_label(name):
            raise UsageError(f"{name[:80]!r} is not a namespace", "write --in alice,bob")
    return tuple(dict.fromkeys(names))


def cluster_role_of(role: str | None, cluster_role: str | None) -> str | None:
    """Return the ClusterRole that --role or --cluster-role names."""
    return cluster_role if role is None else f"kubeflow-{role}"


def _check_proof(principals: list[str], header: str) -> None:
    """Raise UsageError for a principal or header that matches everything or nothing."""
    if any(not principal.strip() or "*" in principal for principal in principals):
        raise UsageError(
            "a principal with * or without a name matches any workload",
            "name one workload, such as cluster.local/ns/NS/sa/NAME",
        )
    if not header.isascii() or not header.replace("-", "").isalnum():
        raise UsageError(f"{header[:40]!r} is not a header name", "such as kubeflow-userid")


def run(args: Namespace) -> int:
    options.check_output(args)
    namespaces = split(args.places)
    _check_proof(args.principal or [], args.user_header or "x")
    with options.open_identity(args) as (cluster, identity):
        from daypass.identity.grants import INGRESS_GATEWAY, USER_HEADER, apply, plan

        planned = plan(
            cluster,
            identity,
            namespaces,
            cluster_role_of(args.role, args.cluster_role) or "",
            principals=tuple(args.principal or (INGRESS_GATEWAY,)),
            header=args.user_header or USER_HEADER,
            istio=not args.no_istio,
            accept_risks=args.yes,
            warn=warn,
        )
        documents = apply(cluster, planned)
        if args.output != "text":
            write_objects(documents, args.output)
        done = did(args.dry_run, "grant", "granted")
        for namespace in namespaces:
            names = [each for each in documents if each["metadata"]["namespace"] == namespace]
            kinds = " and ".join(each["kind"] for each in names)
            role = args.role or args.cluster_role
            log(f"{done} {identity} {role} in {namespace}: {kinds} {names[0]['metadata']['name']}")
        return 0
