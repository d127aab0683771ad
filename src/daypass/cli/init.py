"""`daypass init`: write a new daypass.yaml, or adopt an EKF repository."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from os.path import relpath
from pathlib import Path

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass._core.text import unified_diff
from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.output import did, write_changes

SUMMARY = "write a new daypass.yaml, or adopt an EKF repository"
EPILOG = """examples:
  daypass init --host kubeflow.example.com --front istio \\
    --gateway kubeflow/kubeflow-gateway
  daypass init deployments --host kubeflow.example.com --front ingress \\
    --tls secret:kubeflow-tls
  daypass init --adopt hosts --ekf-host ekf.example.com     as EKF's guide does
  daypass init --adopt door --ekf-host ekf.example.com      EKF's host, through the door

It writes files, and changes no cluster.
"""
_MESSAGE = "Expose Kubernetes TokenRequest API under /kubernetes"
"""The commit message of EKF's guide."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the folder of daypass.yaml (default: here)",
    )
    options.add_dry_run(parser, server=False)
    group = parser.add_argument_group("daypass.yaml")
    group.add_argument("--host", metavar="HOST", help="the public name of the door")
    group.add_argument(
        "--front", metavar="FRONT", help="what serves it: istio, gateway-api, ingress, ..."
    )
    group.add_argument(
        "--tls", metavar="TLS", help="secret:NAME, issuer:NAME (cert-manager) or outside"
    )
    group.add_argument("--gateway", metavar="NS/NAME", help="an existing Gateway, with TLS")
    group.add_argument(
        "--audience", metavar="AUDIENCE", help="the only audience of short-lived tokens"
    )
    ekf = parser.add_argument_group("an EKF repository")
    ekf.add_argument(
        "--adopt",
        choices=("hosts", "door"),
        help="hosts: the edit from EKF's guide; door: hand the hosts over to the door",
    )
    ekf.add_argument("--ekf-host", metavar="HOST", help="the EKF domain")
    ekf.add_argument("--serving-host", metavar="HOST", help="the Serving domain")
    ekf.add_argument("--commit", action="store_true", help="commit the changed files")


def run(args: Namespace) -> int:
    hosts = _hosts(args)
    edits = {
        path: text
        for path, text in _edits(args, hosts).items()
        if not path.is_file() or path.read_bytes() != text.encode()
    }
    if args.dry_run:
        write_changes("".join(_diff(path, text, args.folder) for path, text in edits.items()))
    else:
        _write(edits)
    for path in edits:
        log(f"{did(args.dry_run, 'write', 'written')} {path}")
    if not edits:
        log("nothing to change")
    if not args.dry_run:
        _go_on(args, hosts, edits)
    return 0


def _hosts(args: Namespace) -> dict[str, str]:
    """Return the hosts by the names of their domains. Raises UsageError."""
    named = {"ekf": args.ekf_host, "serving": args.serving_host}
    hosts = {domain: host for domain, host in named.items() if host}
    if args.adopt:
        if args.host or not hosts:
            raise UsageError("--adopt needs --ekf-host or --serving-host, instead of --host")
        args.front = args.front or "ingress-nginx"
        args.tls = args.tls or (None if args.gateway else "outside")
        return hosts
    if hosts or args.commit:
        raise UsageError(
            "--ekf-host, --serving-host and --commit are for an EKF repository",
            "add --adopt hosts, or door",
        )
    from daypass._core.kubernetes.syntax import is_label

    if not args.host or not args.front:
        raise UsageError("which host, and what serves it?", "--host HOST --front istio")
    first = args.host.partition(".")[0]
    return {first if is_label(first) else "door": args.host}


def _edits(args: Namespace, hosts: dict[str, str]) -> dict[Path, str]:
    """Return the texts of the files to write."""
    from daypass.deploy.init import CONFIG, config_text, hand_over, set_host
    from daypass.render.fronts import FRONTS

    # Written or not, it verifies the hosts.
    text = config_text(
        hosts, front=args.front, tls=args.tls, gateway=args.gateway, audience=args.audience
    )
    edits: dict[Path, str] = {}
    if args.adopt == "hosts":
        for domain, host in hosts.items():
            edits |= set_host(args.folder, domain, host)
        return edits
    for domain in hosts if args.adopt else ():
        edits |= hand_over(args.folder, domain)
    path = args.folder / CONFIG
    if path.exists() and not args.adopt:
        raise UsageError(f"{path} is there already", "edit it, or move it away")
    if path.exists():
        log(f"{path} stays as it is: name {' and '.join(hosts.values())} in it")
        return edits
    for front in FRONTS:
        if front.kind() == args.front and front.warning is not None:
            warn(*front.warning)
    return {path: text, **edits}


def _diff(path: Path, text: str, folder: Path) -> str:
    before = path.read_text() if path.exists() else None
    name = relpath(path, folder)
    return unified_diff(before, text, f"a/{name}", f"b/{name}")


def _write(edits: dict[Path, str]) -> None:
    try:
        for path, text in edits.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    except OSError as error:
        raise DaypassError(f"{error.filename}: {error.strerror}", "name another folder") from None


def _go_on(args: Namespace, hosts: dict[str, str], edits: dict[Path, str]) -> None:
    """Commit, if that is wanted, and log what to type next."""
    from daypass.deploy.init import overlay_command
    from daypass.deploy.repository import Repository

    if args.commit and edits:
        repository = Repository(args.folder)
        line = repository.commit([repository.relative(path) for path in edits], _MESSAGE)
        log(f"committed {line}")
    steps = []
    if args.folder.resolve() != Path.cwd():
        steps.append(shlex.join(["cd", str(args.folder)]))
    if args.adopt:
        steps += [shlex.join(overlay_command(domain)) for domain in hosts]
    if args.adopt != "hosts":
        steps.append(command("apply"))
    steps += [command("verify", f"https://{host}/kubernetes") for host in hosts.values()]
    log("next:", "\n".join(steps))
