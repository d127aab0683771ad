"""`daypass identity unauthorize`: remove the grants of an identity in namespaces."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.identity.authorize import add_grant, grant_in, named_models, named_namespaces
from daypass.cli.output import did, write_result

if TYPE_CHECKING:
    from daypass._core.kubernetes.objects import Object

SUMMARY = "remove grants that authorize created"
EPILOG = """examples:
  daypass identity unauthorize bot -n team --in alice,bob
  daypass identity unauthorize bot -n team --in alice --role edit
  daypass identity unauthorize bot -n team --model alice/iris
  daypass identity unauthorize bot -n team --everywhere

Without a role or a model, all grants there go. Grants by others stay; `daypass identity show` shows
them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized:
    """The grants that were removed."""

    namespace: Annotated[str, "the namespace of the identity"]
    name: Annotated[str, "its name"]
    removed: Annotated[Sequence[str], "the objects, as `resource/name in namespace`"]


OUTPUT = Unauthorized


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser)
    add_grant(parser, everywhere=True)
    options.add_dry_run(parser)
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    models = named_models(args)
    namespaces = named_namespaces(args) or sorted({namespace for namespace, _ in models})
    with options.open_identity(args) as (cluster, identity):
        from daypass.identity.authorize import unauthorize
        from daypass.identity.grants import model_grant

        granted = [model_grant(identity, *model) for model in models]

        def is_meant(document: Object) -> bool:
            grant = grant_in(args, identity, document["metadata"]["namespace"])
            meant = granted if grant is None else [grant]
            return not meant or any(grant.owns(document) for grant in meant)

        removed = unauthorize(cluster, identity, namespaces or None, is_meant, warn=warn)
        write_result(
            args,
            Unauthorized(namespace=identity.namespace, name=identity.name, removed=removed),
        )
        for each in removed:
            log(f"{did(args.dry_run, 'remove', 'removed')} {each}")
        if not removed:
            where = f"in {', '.join(namespaces)}" if namespaces else "anywhere"
            log(f"{identity} has no such grant {where}")
        return 0
