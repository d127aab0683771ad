"""Reading the config file, and the error object."""

import os
from pathlib import Path

import pytest

from daypass._core.errors import DaypassError
from daypass.config import ConfigError, Problem, load
from support.messages import raises
from unit.config.texts import DESIGN, MINIMAL, refusal


def failure(path: Path, *values: str) -> Problem:
    """The only problem of a file, which names the file as a whole."""
    with raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), 0)
    assert [value for value in values if value not in str(problem)] == []
    return problem


def test_a_relative_config_path_gives_absolute_file_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "daypass.yaml").write_text(DESIGN)
    monkeypatch.chdir(tmp_path)
    assert load("daypass.yaml").cluster.certificate_authority == tmp_path / "ca.crt"


def test_only_regular_files_are_read_and_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = [failure(path) for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"))]
    assert found[0].message == found[2].message
    assert (found[1].message, "in it" in found[1].hint) == ("is a directory", True)


def test_the_error_is_a_usage_error_with_its_problems() -> None:
    error = refusal(MINIMAL + "policy:\n  audience: [x]\n")
    assert isinstance(error, DaypassError)
    assert error.exit_code == 2
    (problem,) = error.problems
    assert (problem.file, problem.line, problem.column) == ("daypass.yaml", 8, 3)
    assert ("'audience'" in problem.message, "audiences" in problem.hint) == (True, True)
    assert str(error) == f"daypass.yaml:8:3: {problem.message}; {problem.hint}"
    assert error.__cause__ is None


def test_a_message_quotes_a_short_printable_part_of_a_value() -> None:
    (problem,) = refusal(MINIMAL.replace("ekf-tls", '"' + "s\\e[31m" * 400 + '"')).problems
    assert problem.message.isprintable()
    assert len(problem.message) < 150
