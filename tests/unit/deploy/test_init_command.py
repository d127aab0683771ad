"""`daypass init` without a cluster: it writes everything or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.cli import main
from daypass.config import load
from support.messages import check

WORDS = ["--host", "ekf.example.com", "--front", "ingress-nginx", "--tls", "secret:ekf-tls"]


def init(folder: Path, *words: str) -> int:
    return main(["init", str(folder), "--no-cluster", *words])


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_new_repository_has_a_config_and_its_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    assert init(folder, *WORDS) == 0

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "daypass apply" in captured.err
    check(captured.err, reason="next")
    assert load(folder / "daypass.yaml").domains["ekf"].host == "ekf.example.com"
    assert (folder / "deploy/kustomization.yaml").is_file()
    paths = ["--config", str(folder / "daypass.yaml"), "--directory", str(folder / "deploy")]
    assert main(["render", *paths, "--check"]) == 0


def test_a_front_that_is_retired_gives_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(tmp_path / "a", *WORDS, "--dry-run")
    warning, _, _ = capsys.readouterr().err.partition("daypass: would write")
    check(warning, "ingress-nginx", "leave-ingress-nginx.md", reason="warning")
    init(tmp_path / "b", *WORDS, "--front", "istio", "--dry-run")
    assert "ingress-nginx" not in capsys.readouterr().err


def test_the_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    init(tmp_path / "a", *WORDS)
    init(tmp_path / "b", *WORDS)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_dry_run_shows_it_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path / "new", *WORDS, "--dry-run") == 0
    assert "+    host: ekf.example.com\n" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_the_summary_is_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    init(folder, *WORDS, "--dry-run", "-o", "json")
    planned = json.loads(capsys.readouterr().out)
    init(folder, *WORDS, "-o", "json")
    done, err = capsys.readouterr()
    assert json.loads(done) == {**planned, "dryRun": None, "next": json.loads(done)["next"]}
    assert {each["path"] for each in planned["files"]} == set(files(folder))
    assert (planned["next"], planned["commit"]) == ([], None)
    assert all(f"  {line}\n" in err for line in json.loads(done)["next"])


def test_an_existing_config_is_kept_without_force(tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text("mine\n")
    assert init(tmp_path, *WORDS) == 2
    assert files(tmp_path) == {"daypass.yaml": b"mine\n"}

    assert init(tmp_path, *WORDS, "--force") == 0
    assert load(tmp_path / "daypass.yaml").version == 1


def test_force_removes_stale_rendered_files_and_keeps_others(tmp_path: Path) -> None:
    init(tmp_path, *WORDS, "--audience", "gate.example.com")
    (tmp_path / "deploy/notes.yaml").write_text("mine\n")
    init(tmp_path, *WORDS, "--force")
    assert not (tmp_path / "deploy/policy").exists()
    assert (tmp_path / "deploy/notes.yaml").read_text() == "mine\n"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace, count = os.replace, iter(range(100))

    def full(source: str, target: str, **folders: int) -> None:
        if next(count) == 5:
            raise OSError(28, "No space left on device", target)
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", full)
    assert init(tmp_path / "new/deep", *WORDS) == 1
    stderr = capsys.readouterr().err
    check(stderr, "No space left on device", reason="failed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--host"),
        (["--host", "a.example.com", "--ekf-host", "b.example.com"], "--adopt hosts"),
        (["--adopt", "hosts", "--front", "istio"], "--front"),
        (["--apply", *WORDS], "--adopt hosts"),
        ([*WORDS, "--commit"], "git init"),
    ],
    ids=["no host", "--ekf-host", "--front", "--apply", "--commit"],
)
def test_missing_or_contradicting_options_are_usage_errors(
    tmp_path: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, *words) == 2
    stderr = capsys.readouterr().err
    check(stderr, expected, reason="usage", hide="fatal: .*")
    assert files(tmp_path) == {}


def test_it_never_waits_without_a_terminal(tmp_path: Path) -> None:
    reading, writing = os.pipe()  # open, with nothing to read
    try:
        done = subprocess.run(
            [sys.executable, "-m", "daypass", "init", str(tmp_path), "--no-cluster"],
            stdin=reading, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 2
    assert "--host" in done.stderr
    check(done.stderr, reason="usage")


def test_a_terminal_is_prompted_again_after_an_invalid_answer(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    os.write(ours, b"EKF.example.com\nekf.example.com\n3\nsecret:ekf-tls\n")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "daypass", "init", str(tmp_path), "--no-cluster"],
            stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False,
        )  # fmt: skip
        output = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, output
    (refusal,) = (line for line in output.splitlines() if "'ekf.example.com'" in line)
    check(refusal, reason="refused")
    domain = load(tmp_path / "daypass.yaml").domains["ekf"]
    assert (domain.host, domain.front) == ("ekf.example.com", "istio")


def link_the_config(root: Path) -> None:
    (root / "mine.yaml").write_text("mine\n")
    (root / "repository/daypass.yaml").symlink_to("../mine.yaml")


def link_the_tree(root: Path) -> None:
    (root / "outside").mkdir()
    (root / "repository/deploy").symlink_to("../outside")


def put_a_file_in_place_of_the_folder(root: Path) -> None:
    (root / "repository").rmdir()
    (root / "repository").write_text("")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (link_the_config, 1),
        (link_the_tree, 1),
        (put_a_file_in_place_of_the_folder, 2),
        (lambda root: (root / "repository/daypass.yaml").mkdir(), 1),
    ],
    ids=["linked config", "linked tree", "a file as the folder", "a folder as the config"],
)
def test_nothing_is_written_through_links_or_in_place_of_something_else(
    tmp_path: Path, make: Callable[[Path], None], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    make(tmp_path)
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}, files(tmp_path)
    assert init(folder, *WORDS, "--force") == code
    stderr = capsys.readouterr().err
    check(stderr, str(folder), reason="refused")
    assert ({path: path.lstat().st_ino for path in tmp_path.rglob("*")}, files(tmp_path)) == before
