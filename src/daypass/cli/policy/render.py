"""`daypass policy render`: the policy's objects on stdout."""

from argparse import ArgumentParser, Namespace

from daypass.cli import options
from daypass.cli.output import KubernetesList, write_objects
from daypass.cli.policy import load_policy

SUMMARY = "print the policy as Kubernetes objects"
EPILOG = """examples:
  daypass policy render > policy.yaml
  daypass policy render | kubectl diff -f -
"""
OUTPUT = KubernetesList


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)
    options.add_output(parser, "default: yaml", choices=("yaml", "json"))


def run(args: Namespace) -> int:
    policy = load_policy(args.config)
    from daypass.render.policy import policy_objects

    write_objects(policy_objects(policy), args.output)
    return 0
