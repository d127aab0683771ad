"""`daypass policy apply`: apply the policy to the cluster."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from daypass.cli import log, options
from daypass.cli.output import did, write_result
from daypass.cli.policy import load_policy
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from daypass.config import Policy
    from daypass.kube.cluster import Waiter

SUMMARY = "apply the policy to the cluster, and wait until it is in force"
EPILOG = """examples:
  daypass policy apply
  daypass policy apply --dry-run=server

It is enforced in namespaces with the label daypass.dev/policy=enforced, which `daypass identity
create` sets.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyApplied:
    """A policy that was applied."""

    objects: Annotated[Sequence[str], "the objects of the policy, as `resource/name`"]
    mode: Annotated[str, "deny, warn or audit"]
    seen_in: Annotated[
        str | None, "a namespace where it was seen to deny; null: none could show it"
    ]


OUTPUT = PolicyApplied


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)
    options.add_dry_run(parser)
    options.add_wait(parser, "wait until it is in force, which is the default", timeout="1m")
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    policy = load_policy(args.config)
    with options.open_cluster(args) as cluster:
        from daypass.identity.enforcement import apply_policy
        from daypass.kube.cluster import Waiter

        names, seen_in = apply_policy(cluster, policy), None
        for name in names:
            log(f"{did(args.dry_run, 'apply', 'applied')} {name}")
        if args.wait and not args.dry_run:
            with progress(args, "waiting until the policy is in force") as status:
                seen_in = wait_for_policy(Waiter(cluster, args.timeout, status.show), policy)
    write_result(
        args,
        PolicyApplied(objects=names, mode=policy.mode, seen_in=seen_in),
    )
    return 0


def wait_for_policy(waiter: Waiter, policy: Policy) -> str | None:
    """Wait until a changed policy is in force, and log and return where. Raises NotReadyError."""
    from daypass.identity.enforcement import wait_until_enforced

    seen_in = wait_until_enforced(waiter, policy)
    where = f"in force, as seen in {seen_in}" if seen_in else "installed"
    log(f"the policy is {where}; mode {policy.mode}")
    return seen_in
