"""`daypass policy check`: invalid arguments are refused before any request is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main
from support.messages import check

LONG = "b" * 225


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bot", "--secret", "x y"], "'x y'"),
        (["bot", "--secret", ""], "''"),
        (["bot", "--secret", "b" * 254], "253"),
        (["bot", "--audience", ""], "''"),
        (["bot", "--audience", "gate", "--audience", "gate "], "'gate '"),
        (["bot", "--audience", "a\nb"], r"'a\nb'"),
        (["bot", "--as", ""], "''"),
        (["bot", "--as", "Jörg"], "'Jörg'"),
        (["b/../c"], "'b/../c'"),
        ([""], "''"),
        ([LONG], "225"),
        (["b" * 254, "--unbound"], "253"),
    ],
    ids=[
        "secret with a blank", "no secret", "long secret", "no audience", "audience with a blank",
        "audience with a newline", "no user", "user beyond ASCII", "path", "no name",
        "name too long for Secrets", "name too long",
    ],
)  # fmt: skip
def test_invalid_arguments_are_a_usage_error(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    account, *more = arguments
    audience = [] if "--audience" in more else ["--audience", "gate"]
    assert main(["policy", "check", "--service-account", account, *audience, *more]) == 2
    captured = capsys.readouterr()
    assert named in captured.err
    check(captured.err, reason="usage")
    assert captured.out == ""


@pytest.mark.usefixtures("nowhere")
def test_a_long_name_is_accepted_if_no_secret_is_named_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["policy", "check", "--service-account", LONG, "--audience", "gate", "--unbound"]
    assert main(words) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
