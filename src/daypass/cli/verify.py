"""`daypass verify`: does what is published work, and does it show nothing else?"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import MissingExtraError, UsageError
from daypass.cli import log, write
from daypass.cli.options import open_cluster

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.client.config import CredentialsConfig
    from daypass.config import Config
    from daypass.verification.target import VerificationTarget

SUMMARY = "check a published door: name, certificate, the API server's own 403, nothing else"
EPILOG = """examples:
  daypass verify                              every domain of daypass.yaml
  daypass verify ekf --wait 10m               one of them; waits for DNS and certificates
  daypass verify https://ekf.example.com/kubernetes     without a config
  daypass verify ekf --credentials bot.json   with a real exchange, and a look at the gate
  daypass verify --kubeconfig admin.kubeconfig          and whether other names lead past the gate

Ends with 3 if there is a cross. No token is sent but by --credentials, and then the long-lived one
to its own door alone. No cluster is asked but with --kubeconfig or --context.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of `daypass verify`."""
    parser.add_argument("domain", nargs="?", metavar="DOMAIN|URL", help="default: every domain")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the config file (default: daypass.yaml)"
    )
    parser.add_argument(
        "--certificate-authority", metavar="FILE", help="PEM to trust instead of this machine's"
    )
    parser.add_argument(
        "--credentials", metavar="FILE", help="also trade its token once, and look at the gate"
    )
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="also ask this cluster which names its gateway serves"
    )
    parser.add_argument("--context", metavar="NAME", help="the same, by a context")
    parser.set_defaults(namespace=None)
    parser.add_argument(
        "--wait", metavar="TIME", help="let failures heal for so long: 10m; default: not at all"
    )
    parser.add_argument(
        "--output", choices=("text", "json", "junit"), default="text", help="default: text"
    )


def run(args: Namespace) -> int:
    """Verify; 0, or 3 where there is a failure."""
    try:
        from daypass.verification import report
        from daypass.verification.report import Level
        from daypass.verification.verify import Verifier
    except ModuleNotFoundError as error:
        raise MissingExtraError("daypass verify", "admin") from error
    from daypass._core.duration import parse_seconds

    verifier = Verifier(
        credentials=_held(args.credentials) if args.credentials else None,
        wait_seconds=parse_seconds(args.wait) if args.wait else 0,
        progress=lambda words: log(f"waiting: {words}"),
    )
    with ExitStack() as stack:
        config, targets = _targets(args)
        cluster = None
        if args.kubeconfig is not None or args.context is not None:
            cluster = stack.enter_context(closing(open_cluster(args)))
        findings = {target.name: verifier.verify(target) for target in targets}
        if config is not None and config.gate is not None:
            from daypass.deploy.gate_bypass import verify_gate_hosts

            beyond = verify_gate_hosts(cluster, config)
            findings = {name: [*found, *beyond] for name, found in findings.items()}
    if args.output == "text":
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        write(report.text(findings, colour=colour))
    else:
        write(report.as_json(findings) if args.output == "json" else report.junit(findings))
    bad = any(each.level is Level.FAILURE for found in findings.values() for each in found)
    return 3 if bad else 0


def _targets(args: Namespace) -> tuple[Config | None, list[VerificationTarget]]:
    from daypass._core.tls import read_authority
    from daypass.config import load
    from daypass.verification.target import target_of_url, targets_of

    authority = None
    if args.certificate_authority is not None:
        authority = read_authority(args.certificate_authority)
    if args.domain is not None and "://" in args.domain:
        if args.kubeconfig is not None or args.context is not None:
            raise UsageError(
                "a URL does not say what the gate guards, so there is nothing to ask the cluster",
                "name a domain of a config",
            )
        return None, [target_of_url(args.domain, authority)]
    file = args.config or Path("daypass.yaml")
    if args.config is None and not file.exists():
        raise UsageError(
            "there is no daypass.yaml here", "name one with --config, or give the door's URL"
        )
    config = load(file)
    return config, targets_of(config, args.domain, authority)


def _held(path: str) -> CredentialsConfig:
    from daypass._core.clock import SYSTEM_CLOCK
    from daypass.client.config import parse_source, read_source

    return parse_source(read_source({}, path), SYSTEM_CLOCK.unix())
