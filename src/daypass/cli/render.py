"""`daypass render`: the manifests of a config."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import MissingExtraError, UsageError
from daypass._core.hints import Placeholder, command, kubectl
from daypass.cli import log, put_text, write
from daypass.cli.options import add_cluster_options

if TYPE_CHECKING:
    from daypass.render.objects import Object

SUMMARY = "write what would be applied to a cluster, as YAML or as a kustomize tree"
EPILOG = """\
examples:
  daypass render                               YAML on stdout
  daypass render | kubectl apply --server-side -f -
  daypass render --output deploy               a kustomize tree: base/ and domains/NAME/
  daypass render --output deploy --check       ends with 3 if deploy/ is not what the config says,
                                               or git has not what is in deploy/
  daypass render --output deploy --check --cluster       or the cluster is not what the config says
  daypass render --domain ekf                  only what publishes this domain

The same config gives the same bytes. No secret is in them: what has to be there beside them, and
who brings it, is told on stderr.
"""
ONE_FILE = "manifests.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `daypass render`."""
    parser.add_argument(
        "--config", type=Path, default=Path("daypass.yaml"), metavar="FILE",
        help="the config file (default: daypass.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help="write into this folder; what was rendered before and is no more is removed",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="write nothing; show what --output would change and what git has not, and end with 3 "
        "if there is anything",
    )  # fmt: skip
    parser.add_argument(
        "--cluster", action="store_true", help="with --check: compare with the cluster as well"
    )
    parser.add_argument("--domain", metavar="NAME", help="only the objects of this domain's front")
    add_cluster_options(parser)
    parser.add_argument(
        "--format", choices=("tree", "yaml"),
        help=f"tree: kustomize (default with --output); yaml: one stream, or DIR/{ONE_FILE}",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Render; 0, or 3 where --check finds a difference."""
    _verify(args)
    try:
        from daypass.config import load
        from daypass.render.cluster_facts import read_facts
        from daypass.render.manifests import MARK, render_objects, render_parts, render_tree
        from daypass.render.prerequisites import prerequisite_notes
        from daypass.render.yaml import stream
    except ModuleNotFoundError as error:
        raise MissingExtraError("daypass render", "admin") from error

    if args.cluster:
        return _check_all(args)
    config = load(args.config)
    facts = read_facts(config)
    if args.output is None:
        if args.domain is not None:
            write(stream(_of_domain(render_parts(config, facts), args.domain)))
            return 0
        write(stream(render_objects(config, facts)))
    else:
        if args.format == "yaml":
            tree = {ONE_FILE: MARK + stream(render_objects(config, facts))}
        else:
            tree = render_tree(config, facts)
        if args.check:
            return _check(args, tree)
        _write(args.output, tree)
    log("beside these have to be there, or to be set:", "\n".join(prerequisite_notes(config)))
    return 0


def _verify(args: argparse.Namespace) -> None:
    if args.output is None and (args.check or args.format == "tree"):
        option = "--check" if args.check else "--format tree"
        raise UsageError(f"{option} needs a folder", "name it with --output DIR")
    if args.cluster and (not args.check or args.format == "yaml"):
        raise UsageError(
            "--cluster goes with --check of a tree",
            command("render", "--output", Placeholder("DIR"), "--check", "--cluster"),
        )
    if args.output is not None and args.domain is not None:
        raise UsageError(
            "--domain goes to stdout: a tree has a folder for each domain anyway",
            kubectl("kustomize", f"{args.output}/domains/{args.domain}"),
        )


def _of_domain(parts: "dict[str, list[Object]]", name: str) -> "list[Object]":
    part = parts.get(f"domains/{name}")
    if part is None:
        known = [folder.removeprefix("domains/") for folder in parts if "/" in folder]
        raise UsageError(
            f"no domain {name!r} of this config is in a cluster", f"there is: {', '.join(known)}"
        )
    return part


def _check_all(args: argparse.Namespace) -> int:
    from daypass.cli import diff

    args.tree, args.output = args.output, "text"
    return diff.run(args)


def _check(args: argparse.Namespace, tree: dict[str, str]) -> int:
    from daypass.deploy.git import not_in_git
    from daypass.render.output_tree import drifts

    folder: Path = args.output
    found = drifts(folder, tree)
    for drift in found:
        put_text(drift.diff())
    if found:
        count = f"{len(found)} files" if len(found) > 1 else "a file"
        log(
            f"in {folder}, {count} would change: it is not what the config says",
            command("render", "--output", str(folder)),
        )
    loose = not_in_git(folder, args.config, tree)
    for path in loose:
        log(f"git does not have {path} as it is")
    return 3 if found or loose else 0


def _write(folder: Path, tree: dict[str, str]) -> None:
    from daypass.render.output_tree import write

    for drift in write(folder, tree):
        what = "removed" if drift.rendered is None else "written"
        log(f"{what} {folder / drift.path}")
