"""A config file to start from, and the problems of a broken one."""

from pathlib import Path

import pytest

from daypass.config import Config, ConfigError, Problem, parse
from support.messages import check

MINIMAL = """\
version: 1
domains:
  ekf:
    host: ekf.example.com
    front: istio
    tls: {secret: ekf-tls}
"""


def read(text: str | bytes) -> Config:
    """The config in a text, as if it were /deployments/daypass.yaml."""
    content = text if isinstance(text, bytes) else text.encode()
    return parse(content, name="daypass.yaml", folder=Path("/deployments"))


def problems(text: str | bytes) -> tuple[Problem, ...]:
    """The problems of a text; the golden file has their places, values and wording."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    check(caught.value)
    return caught.value.problems


def assert_refused(text: str) -> None:
    """Fail unless a text is refused where `^` is, and nowhere else."""
    before, _, after = text.partition("^")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    (problem,) = problems(before + after)
    assert (problem.line, problem.column) == (line, column), problem
