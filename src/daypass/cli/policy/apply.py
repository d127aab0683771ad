"""`daypass policy apply`: apply the policy to the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass.cli import log
from daypass.cli.options import add_cluster, add_config, add_output, open_cluster
from daypass.cli.output import write_data
from daypass.cli.policy import load_policy
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.cli.output_data import PolicyApplied

EXTRA = "admin"
SUMMARY = "apply the policy to the cluster, and wait until it is in force"
EPILOG = """examples:
  daypass policy apply
  daypass policy apply --dry-run

It applies to namespaces with the label daypass.dev/policy=enforced, which `daypass identity create`
sets.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="let the API server check it, and change nothing"
    )
    add_output(parser, "the format of the summary (default: text)")
    add_cluster(parser)


def run(args: Namespace) -> int:
    """Apply it."""
    policy = load_policy(args.config)
    with open_cluster(args) as cluster:
        from daypass.identity.policy import apply_policy

        with progress(args, "applying the policy, and waiting until it is in force"):
            applied = apply_policy(cluster, policy, dry_run=args.dry_run)
    if args.output != "text":
        summary: PolicyApplied = {
            "dryRun": args.dry_run, "objects": list(applied.objects), "mode": policy.mode,
            "seenIn": applied.seen_in,
        }  # fmt: skip
        write_data(summary, args.output)
    done = "would be applied" if args.dry_run else "applied"
    for name in applied.objects:
        log(f"{done}: {name}")
    if not args.dry_run:
        where = f"in force, as seen in {applied.seen_in}" if applied.seen_in else "installed"
        log(f"the policy is {where}; mode {policy.mode}")
    return 0
