"""`daypass identity unauthorize`: remove the grants of an identity in namespaces."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass.cli import log, options, warn
from daypass.cli.identity.authorize import ROLES, named_grant, parse_models, split
from daypass.cli.output import did, write_result

if TYPE_CHECKING:
    from daypass._core.objects import Object

SUMMARY = "remove grants that authorize created"
EPILOG = """examples:
  daypass identity unauthorize bot -n team --in alice,bob
  daypass identity unauthorize bot -n team --in alice --role edit
  daypass identity unauthorize bot -n team --model alice/iris
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
    where.add_argument(
        "--model",
        dest="models",
        metavar="NS/MODEL",
        action="append",
        help="only the right to call this model; may be repeated",
    )
    role = parser.add_mutually_exclusive_group()
    role.add_argument("--role", choices=ROLES, help="only this role")
    role.add_argument("--cluster-role", metavar="NAME", help="only this ClusterRole")
    role.add_argument(
        "--inference-only", action="store_true", help="only the right to call all models"
    )
    options.add_dry_run(parser)
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    models = parse_models(args.models or [])
    namespaces = split(args.places or []) or tuple(dict.fromkeys(it.namespace for it in models))
    with options.open_identity(args) as (cluster, identity):
        from daypass.identity.authorize import unauthorize
        from daypass.identity.grants import ModelGrant

        grant_in = named_grant(args, identity)
        granted = [
            ModelGrant(identity=identity, namespace=model.namespace, model=model.name)
            for model in models
        ]

        def is_meant(document: Object) -> bool:
            if grant_in is not None:
                return grant_in(document["metadata"]["namespace"]).owns(document)
            return not granted or any(grant.owns(document) for grant in granted)

        removed = unauthorize(cluster, identity, namespaces or None, is_meant, warn=warn)
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
            where = f"in {', '.join(namespaces)}" if namespaces else "anywhere"
            log(f"{identity} has no such grant {where}")
        return 0
