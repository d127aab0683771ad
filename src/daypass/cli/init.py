"""`daypass init`: start a deployments repository, or adopt an existing one."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.cli import log, options, warn
from daypass.cli.output import write_result
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from daypass.deploy.ekf import BuildError, Overlay
    from daypass.deploy.init.plan import InitPlan
    from daypass.deploy.init.wizard import Questions

_CONFIG_OPTIONS = (
    "front", "tls", "class_name", "gateway", "front_namespace", "dns", "prefix", "audience",
)  # fmt: skip
SUMMARY = "start a deployments repository, or adopt an existing one"
EPILOG = """examples:
  daypass init                           asks for what the cluster does not show
  daypass init deployments --front ingress-nginx --tls outside \\
    --host kubeflow.example.com
  daypass init --no-cluster --dry-run --front istio --tls outside \\
    --host kubeflow.example.com
  daypass init --adopt hosts --ekf-host ekf.example.com     as EKF's guide does
  daypass init --adopt door --ekf-host ekf.example.com      EKF's host, through the door

It changes all of its files or none, and the cluster only with --apply.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the repository's folder (default: here)",
    )
    options.add_dry_run(parser, server=False)
    parser.add_argument("--force", action="store_true", help="replace an existing daypass.yaml")
    parser.add_argument("--commit", action="store_true", help="commit the changes with git")
    parser.add_argument("--no-cluster", action="store_true", help="look nothing up in a cluster")
    _add_config_options(parser.add_argument_group("daypass.yaml"))
    ekf = parser.add_argument_group("an EKF repository")
    ekf.add_argument(
        "--adopt",
        choices=("hosts", "door"),
        help="hosts: the edit from EKF's guide; door: hand the hosts over to the door",
    )
    ekf.add_argument("--ekf-host", metavar="HOST", help="the EKF domain")
    ekf.add_argument("--serving-host", metavar="HOST", help="the Serving domain")
    ekf.add_argument(
        "--apply",
        action="store_true",
        help="apply the adopted overlays with rok-deploy, or else kubectl",
    )
    options.add_output(parser)
    options.add_cluster(parser)


def _add_config_options(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--host", action="append", metavar="HOST", help="a public name; may be repeated"
    )
    group.add_argument(
        "--front", metavar="FRONT", help="istio, ingress-nginx, ...: a `front` of daypass.yaml"
    )
    group.add_argument(
        "--tls", metavar="TLS", help="secret:NAME, issuer:NAME (cert-manager) or outside"
    )
    group.add_argument("--class-name", metavar="NAME", help="IngressClass or GatewayClass")
    group.add_argument("--gateway", metavar="NS/NAME", help="an existing Gateway")
    group.add_argument(
        "--front-namespace", metavar="NS", help="of the pods of the ingress or gateway"
    )
    group.add_argument("--dns", metavar="DNS", help="external-dns or none")
    group.add_argument("--prefix", metavar="PATH", help="default: /kubernetes")
    group.add_argument(
        "--audience", metavar="AUDIENCE", help="the only audience of short-lived tokens"
    )


def run(args: Namespace) -> int:
    from daypass.deploy.init.wizard import terminal

    _check_options(args)
    questions = terminal(lambda words: log(*words.split("\n", 1)))
    plan = _plan_hosts(args, questions) if args.adopt == "hosts" else _plan_config(args, questions)
    commit = None if args.dry_run else _write_and_commit(args, plan)
    steps = [] if args.dry_run else _apply_and_list_next(args, plan)
    changes = [(relpath(edit.path, args.folder), edit.diff(args.folder)) for edit in plan.edits]
    write_result(
        args,
        {
            "dryRun": args.dry_run,
            "files": [{"path": path, "diff": diff} for path, diff in changes],
            "commit": commit,
            "applied": [each.folder for each in plan.overlays] if args.apply and steps else [],
            "next": steps,
        },
        "".join(diff for _, diff in changes) if args.dry_run else "",
    )
    if args.dry_run:
        for edit in plan.edits:
            log(f"would {'remove' if edit.after is None else 'write'} {edit.path}")
        if args.commit:
            log(f"would commit: {plan.message}")
        for overlay in plan.overlays if args.apply else ():
            log(f"would apply {overlay.folder}")
    if steps:
        log("next:", "\n".join(steps))
    return 0


def _check_options(args: Namespace) -> None:
    if args.adopt is None:
        _refuse(args, ("ekf_host", "serving_host", "apply"), "add --adopt hosts, or door")
    elif args.adopt == "door":
        _refuse(args, ("host",), "use --ekf-host or --serving-host")
    else:
        _refuse(
            args,
            ("host", *_CONFIG_OPTIONS, "force"),
            "--adopt hosts takes --ekf-host and --serving-host",
        )
    if args.folder.exists() and not args.folder.is_dir():
        raise UsageError(f"{args.folder} is not a folder", "name the repository's folder")
    if args.apply and not args.dry_run:
        from daypass.deploy.ekf import verify_appliable

        verify_appliable(args.context)


def _refuse(args: Namespace, names: Sequence[str], hint: str) -> None:
    for name in names:
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')} cannot be used here", hint)


def _plan_hosts(args: Namespace, questions: Questions) -> InitPlan:
    from daypass.deploy import ekf
    from daypass.deploy.init.plan import plan_hosts

    overlays = ekf.overlays(args.folder)
    plan = plan_hosts(args.folder, overlays, _hosts(args, overlays, questions, keep=False))
    for overlay in plan.overlays:
        for place in overlay.patch.mentions():
            if plan.hosts[overlay.domain] != overlay.patch.host:
                log(f"{overlay.patch.name}: {place} is {overlay.patch.host} too; it stays")
    return plan


def _plan_config(args: Namespace, questions: Questions) -> InitPlan:
    from daypass.deploy import ekf
    from daypass.deploy.init import plan
    from daypass.deploy.init.discover import DiscoveredCluster, discover
    from daypass.deploy.init.wizard import InitOptions, resolve_options
    from daypass.render.fronts import FRONTS

    overlays = ekf.overlays(args.folder) if args.adopt else []
    named = _hosts(args, overlays, questions, keep=True) if args.adopt else {}
    overlays = [overlay for overlay in overlays if overlay.domain in named]
    found = DiscoveredCluster()
    if not args.no_cluster:
        with progress(args, "looking for a cluster") as status:
            found = discover(lambda: options.connect(args), status.show)
    for note in found.notes:
        log(note)
    chosen = InitOptions(
        hosts=args.host or (),
        named=named,
        handed_over=frozenset((overlay.target or {}).get("name", "") for overlay in overlays),
        **{name: getattr(args, name) for name in _CONFIG_OPTIONS},
    )
    setup = resolve_options(chosen, found, questions)
    planned = plan.plan_config(args.folder, setup, force=args.force, overlays=overlays)
    used = {domain["front"] for domain in setup.domains.values()}
    for front in FRONTS:
        if front.kind() in used and front.warning is not None:
            warn(*front.warning)
    return planned


def _hosts(
    args: Namespace, overlays: Sequence[Overlay], questions: Questions, *, keep: bool
) -> dict[str, str]:
    from daypass.deploy.init.wizard import ekf_hosts

    given = {"ekf": args.ekf_host, "serving": args.serving_host}
    return ekf_hosts(given, overlays, questions, keep=keep)


def _write_and_commit(args: Namespace, plan: InitPlan) -> str | None:
    from daypass.deploy.git import commit_edits

    not_built: list[BuildError] = []
    commit = commit_edits(
        plan.edits,
        folder=args.folder,
        message=plan.message if args.commit else None,
        verify=lambda: not_built.extend(plan.verify()),
    )
    for edit in plan.edits:
        log(f"{'removed' if edit.after is None else 'written'} {edit.path}")
    for error in not_built:
        log(error.fact, error.hint)
    if not plan.edits:
        log("nothing to change")
    if commit is not None:
        log(f"committed as {commit.name}: {plan.message}")
        if not commit.has_remote:
            log(
                "this repository has no remote: to share the commit, add one and push",
                "git remote add origin URL\ngit push --set-upstream origin HEAD",
            )
    return commit.name if commit else None


def _apply_and_list_next(args: Namespace, plan: InitPlan) -> list[str]:
    from daypass.deploy.ekf import apply, apply_command

    if args.apply:
        for overlay in plan.overlays:
            apply(args.folder, overlay.folder, kubeconfig=args.kubeconfig, context=args.context)
            log(f"applied {overlay.folder}")
    steps = []
    if args.folder.resolve() != Path.cwd():
        steps.append(shlex.join(["cd", str(args.folder)]))
    if not args.commit and plan.edits:
        steps.append(shlex.join(["git", "add", *plan.places]))
        steps.append(f'git commit -m "{plan.message}"')
    if not args.apply:
        steps += [
            shlex.join(apply_command(overlay.folder, args.kubeconfig, args.context))
            for overlay in plan.overlays
        ]
    if args.adopt != "hosts":
        steps.append(command("apply"))
    steps += [command("verify", f"https://{host}{plan.prefix}") for host in plan.hosts.values()]
    return steps
