"""Reading the file itself, and the error as an object."""

import os
import pickle
from pathlib import Path

import pytest

from daypass._core.errors import DaypassError
from daypass.spec import ConfigError, Problem, load
from daypass.spec.characters import LIMIT_BYTES
from unit.spec.texts import DESIGN, MINIMAL, refusal


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).removeprefix(str(path))


def test_a_file_is_read_and_its_folder_is_where_files_are(tmp_path: Path) -> None:
    path = tmp_path / "daypass.yaml"
    path.write_text(DESIGN)
    assert load(path).cluster.certificate_authority == tmp_path / "ca.crt"
    assert load(str(path)) == load(path)


def test_a_relative_name_gives_absolute_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "daypass.yaml").write_text(DESIGN)
    monkeypatch.chdir(tmp_path)
    assert load("daypass.yaml").cluster.certificate_authority == tmp_path / "ca.crt"


def test_a_file_that_is_not_there_is_told_how_to_be_made(tmp_path: Path) -> None:
    told = failure(tmp_path / "no.yaml")
    assert told.startswith(": no such file; the smallest one: {version: 1, domains: ")


def test_only_ordinary_files_are_read_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert failure(tmp_path / "pipe").startswith(": is not an ordinary file")
    assert failure(tmp_path).startswith(": is not an ordinary file")
    assert failure(Path("/dev/zero")).startswith(": is not an ordinary file")


def test_a_symbolic_link_leads_to_the_config(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(MINIMAL)
    (tmp_path / "daypass.yaml").symlink_to("real.yaml")
    assert load(tmp_path / "daypass.yaml").version == 1
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert failure(tmp_path / "loop.yaml").startswith(": cannot be read: ")


def test_a_name_that_no_file_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="its name makes no sense"):
        load("a\0b")


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "daypass.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert failure(path).startswith(f": larger than {LIMIT_BYTES // 1024} KiB")
    path.write_bytes(MINIMAL.encode().ljust(LIMIT_BYTES, b"\n"))
    assert load(path).version == 1


def test_the_error_is_a_usage_error_that_holds_its_problems() -> None:
    error = refusal(MINIMAL + "policy:\n  audience: [x]\n")
    assert isinstance(error, DaypassError)
    assert error.exit_code == 2
    assert error.problems == (
        Problem(
            file="daypass.yaml",
            line=8,
            column=3,
            message="unknown key 'audience'",
            hint="did you mean 'audiences'?",
        ),
    )
    assert str(error) == "daypass.yaml:8:3: unknown key 'audience'; did you mean 'audiences'?"
    assert error.__cause__ is None


def test_the_error_survives_pickling() -> None:
    error = refusal("".join(f"k{number}: 1\n" for number in range(30)))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.problems, again.omitted) == (
        str(error),
        error.problems,
        error.omitted,
    )
    assert error.omitted > 0


def test_a_message_quotes_little_of_a_value_and_only_what_prints() -> None:
    (problem,) = refusal(MINIMAL.replace("ekf-tls", '"' + "s\\e[31m" * 400 + '"')).problems
    assert problem.message.isprintable()
    assert len(problem.message) < 150


def test_the_name_of_a_file_cannot_forge_a_line() -> None:
    from daypass.spec import parse

    with pytest.raises(ConfigError) as caught:
        parse(b"", name="a\nb", folder=Path())
    assert str(caught.value).startswith("a?b:1:1: ")
