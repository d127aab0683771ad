"""`daypass verify`: check that a published door works, and that it exposes nothing else."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Finding, Level, exit_code, ok
from daypass._core.text import mask_unprintable
from daypass.cli import options
from daypass.cli.console import log, log_waiting, paint, warn, write
from daypass.cli.output import finding_lines, write_result

if TYPE_CHECKING:
    from daypass.client.config import CredentialsConfig
    from daypass.config import Config
    from daypass.kube.cluster import Cluster
    from daypass.verification.checks import VerificationTarget

SUMMARY = "check a published door, and that it exposes nothing else"
EPILOG = """examples:
  daypass verify                                     every domain of daypass.yaml
  daypass verify kubeflow --wait --timeout 10m       waits for DNS and certificates
  daypass verify https://kubeflow.example.com/kubernetes    without a config
  daypass verify kubeflow --credentials bot.json     with a real exchange; looks at the gate
  daypass verify --kubeconfig admin.kubeconfig       and what is wrong in the cluster

Exit code 3 if a check fails. Only --credentials sends a token: the long-lived one, to its own door.
"""
Findings = Mapping[str, Sequence[Finding]]
"""By the name of the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `daypass verify` finds."""

    domains: Annotated[Findings, "the findings, by the name or URL of the domain"]


OUTPUT = Verified


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("domain", nargs="?", metavar="DOMAIN|URL", help="default: every domain")
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: daypass.yaml")
    parser.add_argument(
        "--certificate-authority", metavar="FILE", help="PEM to trust instead of the machine's own"
    )
    parser.add_argument(
        "--credentials", metavar="FILE", help="exchange its token once, and check the gate"
    )
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="also find what is wrong in this cluster"
    )
    parser.add_argument("--context", metavar="CONTEXT", help="the same, by context")
    parser.set_defaults(namespace=None)
    options.add_wait(parser, "retry failed checks until they pass", default=False)
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Verify; return 0, or 3 if a check fails."""
    from daypass.verification.verify import Verifier

    credentials = _credentials(args.credentials) if args.credentials else None
    with ExitStack() as stack:
        verifier = Verifier(
            credentials=credentials,
            wait_seconds=args.timeout if args.wait else 0,
            waiting=log_waiting,
        )
        config, targets = _targets(args, credentials)
        cluster = None
        if args.kubeconfig is not None or args.context is not None:
            cluster = stack.enter_context(options.open_cluster(args))
            _report_keys(config, cluster)
        findings = verifier.verify(targets)
        if config is not None and config.cluster_domains and (cluster or config.gates):
            from daypass.analysis.checks import find_if_possible

            found = find_if_possible(cluster, config) or [
                ok("cluster", "its objects are as needed")
            ]
            findings[next(iter(findings))] += found  # with the first domain, as gates of no domain
    log_timeouts(args, findings)
    if args.output == "text":
        write(findings_text(findings, paint))
    else:
        write_result(args, Verified(domains=findings))
    return exit_code(*findings.values())


def _report_keys(config: Config | None, cluster: Cluster) -> None:
    """Warn if there is a gate, and no keys for it."""
    from daypass.gate.signing_keys import keys_for

    if config is not None and config.cluster_gates:
        try:
            keys_for(config, cluster)
        except DaypassError as error:
            warn(error.fact, error.hint)


def log_timeouts(args: Namespace, findings: Findings) -> None:
    """Log which targets still fail after the wait."""
    from daypass.kube.cluster import timed_out

    for name, found in findings.items() if args.wait else ():
        if failed := [each for each in found if each.level is Level.FAILURE]:
            log(timed_out(name, args.timeout, failed[0].fact), failed[0].hint)


def _targets(
    args: Namespace, credentials: CredentialsConfig | None
) -> tuple[Config | None, list[VerificationTarget]]:
    from daypass._core.tls import read_authority
    from daypass.verification.checks import target_of_url, targets_of

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
    config = options.find_config(args.config)
    if config is None:
        raise UsageError(
            "there is no daypass.yaml here", "name one with --config, or give the door's URL"
        )
    machine_authority = credentials.certificate_authority if credentials else None
    if machine_authority is None and (own := options.authority_file(args)).exists():
        machine_authority = read_authority(own)
    return config, targets_of(config, args.domain, authority, machine_authority)


def _credentials(path: str) -> CredentialsConfig:
    from daypass.client.config import CredentialsConfig
    from daypass.client.credentials_source import read_source

    return CredentialsConfig(read_source({}, path))


def findings_text(
    findings: Findings, paint: Callable[[str, str], str] = lambda level, mark: mark
) -> str:
    """Return a line per finding, with its hint below. `paint`: see `finding_lines`."""
    lines: list[str] = []
    width = max((len(f.check) for each in findings.values() for f in each), default=0)
    for name, each in findings.items():
        lines.append(mask_unprintable(name, keep="\n") + "\n")
        lines += [finding_lines(finding, width, paint) for finding in each]
    return "".join(lines)
