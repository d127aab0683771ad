"""What `daypass apply`, `diff` and `remove` share: a plan, its risks, and confirmation."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daypass._core.errors import DaypassError
from daypass.cli import log, warn
from daypass.cli.options import load_config, open_cluster

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from daypass.config import Config
    from daypass.deploy.cluster_state import ClusterState
    from daypass.deploy.plan import ApplyPlan


@contextmanager
def open_plan(
    args: Namespace, *, instead: str | None = None
) -> Iterator[tuple[Config, ClusterState, ApplyPlan]]:
    """Compare the config with the cluster, for one block. Nothing is changed.

    `instead`: the kubectl command to suggest if the cluster can't be used. Raises ConfigError,
    KubeconfigError, DaypassError.
    """
    with open_cluster(args) as cluster:
        from daypass.deploy.cluster_state import read_cluster_state
        from daypass.deploy.plan import make_plan

        config = load_config(args.config)
        state = read_cluster_state(cluster, **({} if instead is None else {"instead": instead}))
        yield config, state, make_plan(state, config)


def log_risks(plan: ApplyPlan, headline: str) -> None:
    """Log what the plan opens, below the headline, and its warnings."""
    from daypass.deploy import report

    if plan.widened:
        log(headline, "\n".join(plan.widened))
    for fact, hint in report.warnings(plan):
        warn(fact, hint)


def confirm(question: str, otherwise: str) -> None:
    """Return if the user answers yes.

    Raises DaypassError for any other answer, and without a terminal with the hint `otherwise`.
    """
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise DaypassError("nothing was done: there is no terminal to ask for a yes", otherwise)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DaypassError("nothing was done")
