"""`daypass policy check`: what makes no sense is told before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main

LONG = "b" * 225


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bot", "--secret", "x y"], "'x y' is no name of a Secret"),
        (["bot", "--secret", ""], "'' is no name of a Secret"),
        (["bot", "--secret", "b" * 254], "use up to 253 of a-z"),
        (["bot", "--audience", ""], "'' is no audience"),
        (["bot", "--audience", "gate", "--audience", "gate "], "'gate ' is no audience"),
        (["bot", "--audience", "a\nb"], r"'a\nb' is no audience"),
        (["bot", "--as", ""], "'' is no user"),
        (["bot", "--as", "Jörg"], "'Jörg' is no user"),
        (["b/../c"], "'b/../c' is no name of a ServiceAccount"),
        ([""], "'' is no name of a ServiceAccount"),
        ([LONG], "a name of 225 characters is too long"),
        (["b" * 254, "--unbound"], "use up to 253 of a-z"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    account, *more = arguments
    audience = [] if "--audience" in more else ["--audience", "gate"]
    assert main(["policy", "check", "--service-account", account, *audience, *more]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("nowhere")
def test_a_long_name_is_asked_for_where_no_name_is_made_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["policy", "check", "--service-account", LONG, "--audience", "gate", "--unbound"]
    assert main(words) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
