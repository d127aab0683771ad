"""`daypass identity unauthorize`: remove the grants of an identity in namespaces."""

from argparse import ArgumentParser, Namespace

from daypass.cli import log, options
from daypass.cli.identity.authorize import ROLES, cluster_role_of, split
from daypass.cli.output import did, write_result

SUMMARY = "remove grants that authorize created"
EPILOG = """examples:
  daypass identity unauthorize bot -n team --in alice,bob
  daypass identity unauthorize bot -n team --in alice --role edit
  daypass identity unauthorize bot -n team --everywhere

Grants by others stay; `daypass identity show` shows them.
"""


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--in", dest="places", metavar="NS[,NS]", action="append", help="in these namespaces"
    )
    where.add_argument("--everywhere", action="store_true", help="in every namespace")
    role = parser.add_mutually_exclusive_group()
    role.add_argument("--role", choices=ROLES, help="only this role")
    role.add_argument("--cluster-role", metavar="NAME", help="only this ClusterRole")
    options.add_dry_run(parser)
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    namespaces = None if args.everywhere else split(args.places)
    with options.open_identity(args) as (cluster, identity):
        from daypass.identity.grants import unauthorize

        removed = unauthorize(
            cluster,
            identity,
            namespaces,
            cluster_role=cluster_role_of(args.role, args.cluster_role),
        )
        write_result(
            args,
            {
                "namespace": identity.namespace,
                "name": identity.name,
                "dryRun": args.dry_run,
                "removed": removed,
            },
        )
        for each in removed:
            log(f"{did(args.dry_run, 'remove', 'removed')} {each}")
        if not removed:
            where = "anywhere" if namespaces is None else f"in {', '.join(namespaces)}"
            log(f"{identity} has no such grant {where}")
        return 0
