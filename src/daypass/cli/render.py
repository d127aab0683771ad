"""`daypass render`: the manifests of a config."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.cli import options
from daypass.cli.console import log, write
from daypass.cli.output import KubernetesList, write_changes, write_objects

if TYPE_CHECKING:
    from daypass.config import Config

SUMMARY = "write what would be applied, as YAML or a kustomize tree"
EPILOG = """\
examples:
  daypass render                               YAML on stdout
  daypass render | kubectl apply --server-side -f -
  daypass render --directory deploy            a kustomize tree: base/ and domains/NAME/
  daypass render --directory deploy --check    exit code 3 if config, deploy/ and git differ
  daypass render --alerts > alerts.yaml        for a Prometheus without its Operator
  daypass render --dashboard > daypass.json    for Grafana's import

The same config gives the same bytes, without any secret. stderr lists what must exist in addition.
"""
OUTPUT = KubernetesList


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="write a kustomize tree into this folder; remove what is no longer rendered",
    )
    what.add_argument(
        "--alerts", action="store_true", help="only the alerts: a file of rules for Prometheus"
    )
    what.add_argument("--dashboard", action="store_true", help="only the dashboard for Grafana")
    parser.add_argument(
        "--check",
        action="store_true",
        help="with --directory: write nothing; exit code 3 if the folder or git differs",
    )
    options.add_output(
        parser,
        "yaml (default), or json: a List",
        choices=("yaml", "json"),
        has_default=False,
    )


def run(args: argparse.Namespace) -> int:
    """Render; return 0, or 3 if --check finds a difference."""
    _check_options(args)
    if args.alerts or args.dashboard:
        from daypass.render.monitoring import alerts_text, dashboard_text

        write(alerts_text() if args.alerts else dashboard_text())
        return 0
    from daypass.deploy.facts import read_facts
    from daypass.render.manifests import objects_of, render_folders, render_tree
    from daypass.render.prerequisites import prerequisite_notes

    config = options.load_config(args.config)
    folders = render_folders(config, read_facts(config))
    if args.check:
        return _check(args, render_tree(folders), config)
    if args.directory is None:
        write_objects(objects_of(folders), args.output)
    else:
        _write(args.directory, render_tree(folders))
    if notes := prerequisite_notes(config):
        log("these must exist or be set in addition:", "\n".join(notes))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    if args.check and args.directory is None:
        raise UsageError("--check needs a folder", "name it with --directory DIR")
    if args.output is not None and (args.alerts or args.dashboard):
        raise UsageError("--alerts and --dashboard have a format of their own", "leave -o out")
    if args.output is not None and args.directory is not None:
        raise UsageError(f"-o {args.output} prints to stdout", "leave --directory out")


def _check(args: argparse.Namespace, tree: dict[str, str], config: "Config") -> int:
    from daypass.deploy.repository import drifts, not_committed, not_in_git

    folder = args.directory
    found = drifts(folder, tree)
    uncommitted = not_in_git(folder, (args.config, *config.cluster.files), tree)
    write_changes("".join(drift.diff() for drift in found))
    if found:
        count = f"{len(found)} files" if len(found) > 1 else "a file"
        log(
            f"in {folder}, {count} would change: it differs from the config",
            command("render", "--directory", str(folder)),
        )
    if uncommitted:
        log(*not_committed(uncommitted))
    return 3 if found or uncommitted else 0


def _write(folder: Path, tree: dict[str, str]) -> None:
    from daypass.deploy.repository import write as write_tree

    for drift in write_tree(folder, tree):
        log(f"{'removed' if drift.rendered is None else 'written'} {folder / drift.path}")
