"""`daypass token`: what it prints, what it caches, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass import cli
from daypass.cli.token import fast_path
from daypass.client.shared_cache import SharedTokenCache
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    answer,
    short_lived_token,
    status_answer,
)
from support.messages import check
from unit.cli.conftest import OpenDoor, Run, good_answer
from unit.core.fake_files import owned_by

Capture = pytest.CaptureFixture[str]
FIRST, SECOND = short_lived_token(1) + "\n", short_lived_token(2) + "\n"


def cached_files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "home" / ".cache" / "daypass" / "tokens"
    return [path for path in folder.glob("*") if path.suffix != ".lock"]


def test_a_second_run_prints_the_cached_token_and_nothing_else(
    open_door: OpenDoor, run: Run, tmp_path: Path
) -> None:
    door, _ = open_door(good_answer(1), good_answer(2))
    for _ in range(3):
        assert run("token") == (FIRST, "")
    assert run("token --output=header") == (f"Authorization: Bearer {FIRST}", "")
    assert len(door.requests) == 1
    [file] = cached_files(tmp_path)
    assert SENTINEL not in file.read_text()


def test_no_cache_neither_reads_nor_writes_the_cache(
    open_door: OpenDoor, run: Run, tmp_path: Path
) -> None:
    door, _ = open_door()
    run("token --no-cache")
    assert cached_files(tmp_path) == []
    run("token")
    run("token --no-cache")
    assert len(door.requests) == 3


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_json_and_yaml_have_the_expiry_and_the_audiences(
    open_door: OpenDoor, run: Run, output: str
) -> None:
    spec = {"audiences": [AUDIENCE, 'q"\\é\n']}
    open_door(good_answer(spec=spec))
    printed = [run(f"token -o {output}") for _ in range(2)]  # the second one is cached
    assert printed[0] == printed[1]
    document = (json.loads if output == "json" else yaml.safe_load)(printed[0][0])
    assert list(document) == ["token", "expiresAt", "audiences"]
    assert document["token"] == short_lived_token()
    assert document["audiences"] == spec["audiences"]
    assert document["expiresAt"].endswith("Z")


def test_tokens_are_cached_per_audience_and_lifetime(open_door: OpenDoor, run: Run) -> None:
    other = good_answer(2, spec={"audiences": ["other"]})
    door, _ = open_door(good_answer(1), other, good_answer(3))
    lines = ("", "--audience other", "--lifetime 1h30m")
    for _ in range(2):
        assert [run(f"token {line}")[0] for line in lines] == [
            f"{short_lived_token(number)}\n" for number in (1, 2, 3)
        ]
    asked = [(each["spec"]["audiences"], each["spec"]["expirationSeconds"])
             for each in door.bodies()]  # fmt: skip
    assert asked == [([AUDIENCE], 3600), (["other"], 3600), ([AUDIENCE], 5400)]


def test_changed_credentials_do_not_use_the_cached_token(open_door: OpenDoor, run: Run) -> None:
    _, file = open_door(good_answer(1), good_answer(2))
    assert run("token") == (FIRST, "")
    file.write_text(file.read_text().replace(SENTINEL, SENTINEL + "2"))
    assert run("token") == (SECOND, "")


@pytest.mark.parametrize(
    ("left", "raw", "named", "code"),
    [
        (300, answer(501), "501", 0),
        (50, answer(501), "501", 1),
        (300, status_answer(401, "Unauthorized"), "401", 1),
    ],
    ids=["down", "down and nearly expired", "refused"],
)
def test_a_stale_token_is_used_with_a_warning_while_the_door_is_down_but_not_if_it_refuses(
    open_door: OpenDoor, run: Run, tmp_path: Path, left: int, raw: bytes, named: str,
    code: int,
) -> None:  # fmt: skip
    open_door(good_answer(), raw)
    run("token")
    [file] = cached_files(tmp_path)
    cache = SharedTokenCache(folder=str(file.parent), environ={}, warn=print)
    entry = cache.load(file.name)
    assert entry is not None
    entry.fresh_seconds, entry.usable_seconds = 0, left
    cache.store(file.name, entry)
    out, err = run("token", code=code)
    assert out == ("" if code else FIRST)
    assert (": warning: " in err) is (code == 0)
    assert named in err
    check(err, reason="failed" if code else "warning", hide=r"\b\d+ (s|seconds)\b")


def test_credentials_that_others_can_read_are_refused_even_if_a_token_is_cached(
    open_door: OpenDoor, run: Run
) -> None:
    _, file = open_door()
    run("token")
    file.chmod(0o644)
    out, err = run("token", code=2)
    assert out == ""
    assert f"chmod 600 {file}" in err
    check(err, reason="usage")


HARMS: dict[str, Callable[[Path], object]] = {
    "foreign": lambda file: None,  # another owner is simulated below
    "damaged": lambda file: file.write_bytes(file.read_bytes().replace(b"daypass", b"daypas5", 1)),
    "readable": lambda file: file.chmod(0o644),
    "link": lambda file: file.symlink_to(file.rename(file.parent.parent / "elsewhere")),
}


@pytest.mark.parametrize("harm", HARMS)
def test_an_unsafe_cache_file_is_replaced_with_a_warning(
    open_door: OpenDoor, run: Run, tmp_path: Path, harm: str
) -> None:
    door, _ = open_door(good_answer(1), good_answer(2))
    run("token")
    [file] = cached_files(tmp_path)
    HARMS[harm](file)
    with pytest.MonkeyPatch.context() as patch:
        if harm == "foreign":
            owned_by(patch, 1001, file)
        out, err = run("token")
    assert out == SECOND
    check(err, "daypass: warning: ", reason="warning", hide=r"[0-9a-f]{20,}")
    assert run("token") == (SECOND, "")
    assert len(door.requests) == 2


def test_a_cache_that_cannot_be_written_causes_warnings_and_the_token_is_printed(
    open_door: OpenDoor, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_door()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "credentials.json"))
    out, err = run("token")
    assert out == FIRST
    check(err, "daypass: warning: ", reason="warning", hide=r"[0-9a-f]{20,}")


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--lifetime", "1h", "--output", "json", "--no-cache", "--credentials", "/x"],
        ["--audience", "a", "--audience", "b"],
        ["-o", "json"],
        ["-o=yaml", "--output", "header"],
    ],
)
def test_the_fast_path_parses_options_like_argparse(
    line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from daypass.cli import token

    seen: list[object] = []

    def remember(args: Any) -> int:
        seen.append({name: getattr(args, name) for name in token._DEFAULTS})
        return 1  # nothing is printed

    monkeypatch.setattr(token, "run", remember)
    cli.main(["token", *line])
    monkeypatch.setattr(token, "fast_path", lambda argv: None)
    cli.main(["token", *line])
    assert len(seen) == 2
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "line",
    [
        ["--help"],
        ["--aud", "x"],
        ["-o", "xml"],
    ],
)
def test_the_fast_path_leaves_other_arguments_to_argparse(line: list[str], capsys: Capture) -> None:
    assert fast_path(line) is None
    assert cli.main(["token", *line]) == (0 if line == ["--help"] else 2)
    captured = capsys.readouterr()
    assert "daypass token" in captured.out + captured.err


def test_cleared_tokens_are_replaced_and_other_files_stay(
    open_door: OpenDoor, run: Run, tmp_path: Path
) -> None:
    open_door(good_answer(1), good_answer(2))
    run("token")
    [file] = cached_files(tmp_path)
    other = file.with_name("notes")
    other.touch()
    out, err = run("token --clear-cache")
    check(err, str(file.parent))
    assert (out, cached_files(tmp_path)) == ("", [other])
    assert run("token") == (SECOND, "")
