"""`daypass token`: what it prints, what it caches, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daypass import cli
from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli.token import fast_path
from daypass.client.shared_cache import SharedTokenCache
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    FakeDoor,
    answer,
    long_lived_token,
    say_nothing,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import check

OpenDoor = Callable[..., tuple[FakeDoor, Path]]
Capture = pytest.CaptureFixture[str]


def good_answer(number: int = 1, *headers: str, **changes: Any) -> bytes:
    now = SYSTEM_CLOCK.unix()
    return token_answer(*headers, now=now, date=now, number=number, **changes)


def cached_files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "home" / ".cache" / "daypass" / "tokens"
    return [path for path in folder.glob("*") if path.suffix != ".lock"]


def test_only_the_token_is_printed(open_door: OpenDoor, capsys: Capture) -> None:
    open_door()
    assert cli.main(["token"]) == 0
    assert capsys.readouterr() == (short_lived_token() + "\n", "")


def test_a_second_run_uses_the_cached_token(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    door, _ = open_door(good_answer(1), good_answer(2))
    for _ in range(3):
        assert cli.main(["token"]) == 0
    assert capsys.readouterr().out == (short_lived_token(1) + "\n") * 3
    assert len(door.requests) == 1
    [file] = cached_files(tmp_path)
    assert SENTINEL not in file.read_text()


def test_no_cache_neither_reads_nor_writes_the_cache(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    door, _ = open_door()
    assert cli.main(["token", "--no-cache"]) == 0
    assert cached_files(tmp_path) == []
    cli.main(["token"])
    cli.main(["token", "--no-cache"])
    assert len(door.requests) == 3


def test_json_has_the_expiry_and_the_audiences(open_door: OpenDoor, capsys: Capture) -> None:
    spec = {"audiences": [AUDIENCE, 'q"\\é\n']}
    open_door(good_answer(spec=spec))
    printed = []
    for _ in range(2):  # from the door, then from the cache
        assert cli.main(["token", "--output", "json"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    document = json.loads(printed[0])
    assert list(document) == ["token", "expiresAt", "audiences"]
    assert document["token"] == short_lived_token()
    assert document["audiences"] == spec["audiences"]
    assert document["expiresAt"].endswith("Z")


def test_the_header_output_is_an_authorization_header(open_door: OpenDoor, capsys: Capture) -> None:
    open_door()
    assert cli.main(["token", "--output=header"]) == 0
    assert capsys.readouterr().out == f"Authorization: Bearer {short_lived_token()}\n"


def test_tokens_are_cached_per_audience_and_lifetime(open_door: OpenDoor, capsys: Capture) -> None:
    other = good_answer(2, spec={"audiences": ["other"]})
    door, _ = open_door(good_answer(1), other, good_answer(3))
    lines = (["token"], ["token", "--audience", "other"], ["token", "--lifetime", "1h30m"])
    for line in lines + lines:
        assert cli.main(list(line)) == 0
    out = capsys.readouterr().out.split()
    assert out == [short_lived_token(number) for number in (1, 2, 3)] * 2
    assert [body["spec"]["audiences"] for body in door.bodies()] == [
        [AUDIENCE],
        ["other"],
        [AUDIENCE],
    ]
    assert [body["spec"]["expirationSeconds"] for body in door.bodies()] == [3600, 3600, 5400]


def test_the_credentials_option_takes_precedence_over_the_environment(
    open_door: OpenDoor, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = open_door()
    monkeypatch.setenv("DAYPASS_CREDENTIALS", "/nowhere")
    monkeypatch.setenv("DAYPASS_DOOR", "nonsense")
    assert cli.main(["token", "--credentials", str(file)]) == 0
    assert capsys.readouterr().out == short_lived_token() + "\n"


def test_environment_variables_can_replace_the_credentials_file(
    open_door: OpenDoor,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    signer: Any,
) -> None:
    door, _ = open_door(good_answer(1), good_answer(2))
    monkeypatch.delenv("DAYPASS_CREDENTIALS")
    (tmp_path / "ca.pem").write_text(signer.pem)
    monkeypatch.setenv("DAYPASS_DOOR", door.url)
    monkeypatch.setenv("DAYPASS_TOKEN", long_lived_token())
    monkeypatch.setenv("DAYPASS_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("DAYPASS_CA_FILE", str(tmp_path / "ca.pem"))
    assert cli.main(["token"]) == 0
    assert cli.main(["token"]) == 0
    monkeypatch.setenv("DAYPASS_TOKEN", long_lived_token() + "x")
    assert cli.main(["token"]) == 0
    out = capsys.readouterr().out.split()
    assert out == [short_lived_token(number) for number in (1, 1, 2)]


def test_changed_credentials_do_not_use_the_cached_token(
    open_door: OpenDoor, capsys: Capture
) -> None:
    _, file = open_door(good_answer(1), good_answer(2))
    cli.main(["token"])
    file.write_text(file.read_text().replace(SENTINEL, SENTINEL + "2"))
    cli.main(["token"])
    assert capsys.readouterr().out.split() == [short_lived_token(1), short_lived_token(2)]


def test_a_token_is_cached_until_its_token_file_changes(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    long = tmp_path / "long"
    long.write_text(long_lived_token())
    long.chmod(0o600)
    door, _ = open_door(good_answer(1), good_answer(2), token={"file": "long"})
    for _ in range(2):
        assert cli.main(["token"]) == 0
    assert len(door.requests) == 1
    long.write_text(long_lived_token() + "2")
    for _ in range(2):
        assert cli.main(["token"]) == 0
    assert len(door.requests) == 2
    out = capsys.readouterr().out.split()
    assert out == [short_lived_token(number) for number in (1, 1, 2, 2)]


def test_equal_credentials_files_in_two_folders_share_no_token(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    door, file = open_door(good_answer(1), good_answer(2), token={"file": "long"})
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name, text in (("c.json", file.read_text()), ("long", long_lived_token(secret=folder))):
            (tmp_path / folder / name).write_text(text)
            (tmp_path / folder / name).chmod(0o600)
        cli.main(["token", "--credentials", str(tmp_path / folder / "c.json")])
    assert capsys.readouterr().out.split() == [short_lived_token(1), short_lived_token(2)]
    bound = [body["spec"]["boundObjectRef"]["name"] for body in door.bodies()]
    assert bound == ["a", "b"]


@pytest.mark.parametrize(("left", "code"), [(300, 0), (50, 1)])
def test_a_stale_token_is_used_with_a_warning_while_the_door_is_down(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path, left: int, code: int
) -> None:
    open_door(good_answer(), answer(501))
    assert cli.main(["token"]) == 0
    [file] = cached_files(tmp_path)
    cache = SharedTokenCache(str(file.parent), {}, print)
    entry = cache.load(file.name)
    assert entry is not None
    entry.fresh_seconds, entry.usable_seconds = 0, left
    cache.store(file.name, entry)
    assert cli.main(["token"]) == code
    captured = capsys.readouterr()
    assert captured.out.split() == [short_lived_token()] * (2 - code)
    assert (": warning: " in captured.err) is (code == 0)
    assert "501" in captured.err
    check(captured.err, reason="failed" if code else "warning", hide=r"\b\d+ (s|seconds)\b")


def test_a_refusal_is_reported_even_if_a_stale_token_is_cached(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    open_door(good_answer(), status_answer(401, "Unauthorized"))
    assert cli.main(["token"]) == 0
    [file] = cached_files(tmp_path)
    cache = SharedTokenCache(str(file.parent), {}, print)
    entry = cache.load(file.name)
    assert entry is not None
    entry.fresh_seconds = 0
    cache.store(file.name, entry)
    assert cli.main(["token"]) == 1


def test_the_servers_warnings_go_to_stderr(open_door: OpenDoor, capsys: Capture) -> None:
    open_door(good_answer(1, 'Warning: 299 - "shortened to 3600 seconds"'))
    assert cli.main(["token"]) == 0
    captured = capsys.readouterr()
    assert captured.out == short_lived_token() + "\n"
    assert captured.err == "daypass: warning: shortened to 3600 seconds\n"


# -- problems with the cache


def test_credentials_that_others_can_read_are_refused_even_if_a_token_is_cached(
    open_door: OpenDoor, capsys: Capture
) -> None:
    _, file = open_door()
    cli.main(["token"])
    file.chmod(0o644)
    capsys.readouterr()
    assert cli.main(["token"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"chmod 600 {file}" in captured.err
    check(captured.err, reason="usage")


@pytest.mark.parametrize("harm", ["damaged", "readable", "link", "folder"])
def test_an_unsafe_cache_file_is_replaced_with_a_warning(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path, harm: str
) -> None:
    door, _ = open_door(good_answer(1), good_answer(2))
    cli.main(["token"])
    [file] = cached_files(tmp_path)
    if harm == "damaged":
        file.write_bytes(file.read_bytes().replace(b"daypass", b"daypas5", 1))
    elif harm == "readable":
        file.chmod(0o644)
    elif harm == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.unlink()
        file.mkdir()
    capsys.readouterr()
    assert cli.main(["token"]) == 0
    captured = capsys.readouterr()
    assert captured.out == short_lived_token(2) + "\n"
    assert captured.err.startswith("daypass: warning: ")
    check(captured.err, reason="warning", hide=r"[0-9a-f]{20,}")
    assert len(door.requests) == 2
    if harm != "folder":
        assert cli.main(["token"]) == 0
        assert capsys.readouterr() == (short_lived_token(2) + "\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_cache_file_of_another_user_is_not_used(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    open_door(good_answer(1), good_answer(2))
    cli.main(["token"])
    os.chown(cached_files(tmp_path)[0], 1001, -1)
    capsys.readouterr()
    assert cli.main(["token"]) == 0
    captured = capsys.readouterr()
    assert captured.out == short_lived_token(2) + "\n"
    assert "1001" in captured.err
    check(captured.err, reason="warning", hide=r"[0-9a-f]{20,}")


def test_an_unwritable_home_causes_a_warning_and_the_token_is_printed(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_door()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "credentials.json"))
    assert cli.main(["token"]) == 0
    captured = capsys.readouterr()
    assert captured.out == short_lived_token() + "\n"
    assert captured.err.startswith("daypass: warning: ")
    check(captured.err, reason="warning", hide=r"[0-9a-f]{20,}")


def test_a_full_disk_causes_a_warning_and_the_token_is_printed(
    open_door: OpenDoor, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "/somewhere")

    open_door()
    monkeypatch.setattr(os, "replace", full)
    assert cli.main(["token"]) == 0
    captured = capsys.readouterr()
    assert captured.out == short_lived_token() + "\n"
    (warning,) = captured.err.splitlines()
    assert warning.startswith("daypass: warning: ")
    assert warning.endswith("No space left on device")
    check(warning, reason="warning", hide=r"[0-9a-f]{20,}")


# -- the command line


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--audience", "a"],
        ["--audience=a"],
        ["--audience="],
        ["--lifetime", "1h", "--output", "json", "--no-cache", "--credentials", "/x"],
        ["--lifetime=600", "--output=header", "--credentials=/x"],
        ["--audience", "a", "--audience", "b"],
    ],
)
def test_the_fast_path_parses_options_like_argparse(
    line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from daypass.cli import token

    seen: list[object] = []

    def remember(*options: object, **flags: object) -> int:
        seen.append((options, flags))
        return 0

    monkeypatch.setattr(token, "_print_token", remember)
    cli.main(["token", *line])
    monkeypatch.setattr(token, "fast_path", lambda argv: None)
    cli.main(["token", *line])
    assert len(seen) == 2
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "line",
    [
        ["--help"],
        ["--audience"],
        ["--audience", "--no-cache"],
        ["--aud", "x"],
        ["--output", "yaml"],
        ["--no-cache=yes"],
        ["token"],
        ["--"],
    ],
)
def test_the_fast_path_leaves_other_arguments_to_argparse(line: list[str], capsys: Capture) -> None:
    assert fast_path(line) is None
    assert cli.main(["token", *line]) == (0 if line == ["--help"] else 2)
    captured = capsys.readouterr()
    assert "usage: daypass token" in captured.out + captured.err


def test_an_invalid_lifetime_is_a_usage_error(capsys: Capture) -> None:
    assert cli.main(["token", "--lifetime", "soon"]) == 2
    err = capsys.readouterr().err
    assert "'soon'" in err
    check(err, reason="usage")


# -- failures


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (status_answer(401, "Unauthorized"), "team/bot"),
        (status_answer(403, "because"), "403): because"),
        (answer(302, "", "Location: https://login"), "302"),
        (b"nonsense\r\n", "/kubernetes"),
    ],
    ids=["401", "403", "redirect", "no HTTP"],
)
def test_a_refusal_goes_to_stderr_and_exits_with_1(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path, raw: bytes, named: str
) -> None:
    open_door(raw)
    assert cli.main(["token"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert "\n  " in captured.err
    check(captured.err, reason="failed")
    assert SENTINEL not in captured.err
    assert cached_files(tmp_path) == []


def test_missing_credentials_exit_with_2(capsys: Capture) -> None:
    assert cli.main(["token"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[1].startswith("  set DAYPASS_CREDENTIALS")
    check(captured.err, reason="usage")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_ends_it_silently(
    open_door: OpenDoor, tmp_path: Path, number: int, code: int
) -> None:
    asked = threading.Event()

    def wait(connection: Any) -> None:
        asked.set()
        say_nothing(connection)

    open_door(wait)
    process = subprocess.Popen(
        [sys.executable, "-m", "daypass", "token"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert asked.wait(60)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, err) == (code, "", "")
    assert cached_files(tmp_path) == []
