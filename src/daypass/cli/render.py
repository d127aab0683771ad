"""`daypass render`: the manifests of a config."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.text import did_you_mean
from daypass.cli import deployment, log, options, write
from daypass.cli.output import as_text, did, write_changes, write_objects
from daypass.render.names import ONE_FILE

if TYPE_CHECKING:
    from daypass._core.kubernetes.objects import Object
    from daypass.config import Config

SUMMARY = "write what would be applied, as YAML or a kustomize tree"
EPILOG = """\
examples:
  daypass render                               YAML on stdout
  daypass render | kubectl apply --server-side -f -
  daypass render --directory deploy            a kustomize tree: base/ and domains/NAME/
  daypass render --directory deploy --check    exit code 3 if config, deploy/ and git differ
  daypass render --domain kubeflow
  daypass render --chart charts/daypass        a Helm chart, with values for the pods alone
  daypass render --alerts > alerts.yaml        for a Prometheus without its Operator
  daypass render --dashboard > daypass.json    for Grafana's import

The same config gives the same bytes, without any secret. stderr lists what must exist in addition.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="write a kustomize tree into this folder; remove what is no longer rendered",
    )
    folder.add_argument(
        "--chart", type=Path, metavar="DIR", help="write a Helm chart into this folder"
    )
    folder.add_argument(
        "--alerts", action="store_true", help="only the alerts: a file of rules for Prometheus"
    )
    folder.add_argument("--dashboard", action="store_true", help="only the dashboard for Grafana")
    options.add_dry_run(parser, server=False)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit code 3 if the folder or git differs",
    )
    parser.add_argument("--cluster", action="store_true", help="with --check: or the cluster")
    parser.add_argument("--domain", metavar="DOMAIN", help="only this domain's ingress or gateway")
    options.add_cluster(parser)
    options.add_output(
        parser,
        f"with --directory: tree (default), or yaml for DIR/{ONE_FILE}; json: a List, or what"
        " --check finds",
        choices=("tree", "yaml", "json"),
        has_default=False,
    )


def run(args: argparse.Namespace) -> int:
    """Render; return 0, or 3 if --check finds a difference."""
    _check_options(args)
    if args.alerts or args.dashboard:
        from daypass.render.monitoring.alerts_and_dashboard import alerts_text, dashboard_text

        write(alerts_text() if args.alerts else dashboard_text())
        return 0
    if args.cluster:
        return _check_all(args)
    from daypass.render.chart import render_chart
    from daypass.render.cluster_facts import read_facts
    from daypass.render.manifests import MARK, objects_of, render_parts, render_tree
    from daypass.render.prerequisites import prerequisite_notes
    from daypass.render.yaml import stream

    config = options.load_config(args.config)
    facts = read_facts(config)
    parts = render_parts(config, facts)
    folder: Path | None = args.chart or args.directory
    if folder is None:
        if args.domain is not None:
            write_objects(_of_domain(parts, args.domain), args.output)
            return 0
        write_objects(objects_of(parts), args.output)
    else:
        if args.chart is not None:
            tree = render_chart(config, facts)
        elif args.output == "yaml":
            tree = {ONE_FILE: MARK + stream(objects_of(parts))}
        else:
            tree = render_tree(parts)
        if args.check:
            return _check(args, folder, tree, config)
        _write(args, folder, tree)
    if notes := prerequisite_notes(config):
        log("these must exist or be set in addition:", "\n".join(notes))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    if args.alerts or args.dashboard:
        if args.check or args.cluster or args.domain is not None or args.output is not None:
            alerts, dashboard = command("render", "--alerts"), command("render", "--dashboard")
            raise UsageError(
                f"{'--alerts' if args.alerts else '--dashboard'} is the same for every config, and"
                " goes to stdout alone",
                alerts if args.alerts else dashboard,
            )
        return
    if args.chart is not None:
        if args.cluster or args.domain is not None or args.output is not None:
            raise UsageError(
                "--chart can be combined with --config, --check and --dry-run alone",
                command("render", "--chart", str(args.chart)),
            )
        return
    if args.directory is None and (args.check or args.output == "tree"):
        option = "--check" if args.check else "-o tree"
        raise UsageError(f"{option} needs a folder", "name it with --directory DIR")
    if args.directory is not None and args.output == "json" and not args.check:
        raise UsageError("-o json prints to stdout", "leave --directory out")
    if args.cluster and (not args.check or args.output == "yaml"):
        raise UsageError(
            "--cluster goes with --check of a tree",
            command("render", "--directory", Placeholder("DIR"), "--check", "--cluster"),
        )
    if args.directory is not None and args.domain is not None:
        raise UsageError(
            "--domain goes to stdout: a tree has a folder for each domain anyway",
            kubectl("kustomize", f"{args.directory}/domains/{args.domain}"),
        )


def _of_domain(parts: "dict[str, list[Object]]", name: str) -> "list[Object]":
    from daypass.render.manifests import domain_of

    domains = {domain_of(folder): part for folder, part in parts.items()}
    if not name or name not in domains:
        known = [*filter(None, domains)]
        raise UsageError(
            f"no domain {name[:80]!r} of this config is in a cluster",
            did_you_mean(name, known, f"there is: {', '.join(known)}"),
        )
    return domains[name]


def _check_all(args: argparse.Namespace) -> int:
    from daypass.cli import diff

    args.output = args.output if args.output == "json" else "text"
    return diff.run(args)


def _check(args: argparse.Namespace, folder: Path, tree: dict[str, str], config: "Config") -> int:
    from daypass.deploy.git import not_committed, not_in_git
    from daypass.render.output_tree import drifts

    found = drifts(folder, tree)
    uncommitted = not_in_git(folder, (args.config, *config.cluster.files), tree)
    if args.output == "json":
        write(as_text(deployment.files_json(found, uncommitted), "json", indent=None))
    else:
        write_changes("".join(drift.diff() for drift in found))
    if found:
        count = f"{len(found)} files" if len(found) > 1 else "a file"
        log(
            f"in {folder}, {count} would change: it differs from the config",
            command("render", "--chart" if args.chart else "--directory", str(folder)),
        )
    if uncommitted:
        log(*not_committed(uncommitted))
    return 3 if found or uncommitted else 0


def _write(args: argparse.Namespace, folder: Path, tree: dict[str, str]) -> None:
    from daypass.render.output_tree import drifts, write

    for drift in (drifts if args.dry_run else write)(folder, tree):
        verb, done = ("remove", "removed") if drift.rendered is None else ("write", "written")
        log(f"{did(args.dry_run, verb, done)} {folder / drift.path}")
