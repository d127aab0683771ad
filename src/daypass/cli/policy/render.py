"""`daypass policy render`: the policy's objects on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass.cli import write
from daypass.cli.options import add_config
from daypass.cli.policy import load_policy

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXTRA = "admin"
SUMMARY = "print the policy as Kubernetes objects"
EPILOG = """examples:
  daypass policy render > policy.yaml
  daypass policy render | kubectl diff -f -
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)


def run(args: Namespace) -> int:
    """Print the objects. No request is sent."""
    policy = load_policy(args.config)
    from daypass.render.policy import policy_objects
    from daypass.render.yaml import stream

    write(stream(policy_objects(policy)))
    return 0
