"""`daypass exec-credential` and `daypass kubeconfig` as commands."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from daypass import cli
from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    FakeDoor,
    jwt,
    status_answer,
    token_answer,
)
from support.messages import check

OpenDoor = Callable[..., tuple[FakeDoor, Path]]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(("code", "named"), [(1, "because"), (2, "DAYPASS_CREDENTIALS")])
def test_an_error_goes_to_stderr_with_the_next_step_and_stdout_stays_empty(
    open_door: OpenDoor, capsys: Capture, monkeypatch: pytest.MonkeyPatch, code: int, named: str
) -> None:
    open_door(status_answer(403, "because"))
    if code == 2:
        monkeypatch.delenv("DAYPASS_CREDENTIALS")
    assert cli.main(["exec-credential"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert SENTINEL not in err
    check(err, named, "\n  ", reason="failed" if code == 1 else "usage")


@pytest.mark.parametrize("issuer", ["https://issuer.example.com", None])
def test_the_audience_of_an_entry_defaults_to_the_issuer_of_the_doors_tokens(
    open_door: OpenDoor, capsys: Capture, issuer: str | None
) -> None:
    now, token = SYSTEM_CLOCK.unix(), jwt({"iss": issuer, "aud": [AUDIENCE]}, "c2ln")
    status = {"token": token, "expirationTimestamp": rfc3339(utc(now + 3600))}
    open_door(
        token_answer(now=now, date=now, status=status) if issuer else status_answer(403, "because")
    )
    assert cli.main(["kubeconfig", "--server", "https://k8s.example.com"]) == 0
    out, err = capsys.readouterr()
    args = yaml.safe_load(out)["users"][0]["user"]["exec"]["args"]
    if issuer:
        assert args[-2:] == ["--audience", issuer]
    else:  # the door refuses
        assert "--audience" not in args
    assert (issuer or "--audience") in err
    check(err, reason="info")
    assert token not in out + err


def test_an_entry_is_written_only_to_a_new_file_and_never_for_the_door(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    door, file = open_door()
    out = tmp_path / "k"
    line = ["kubeconfig", "--kubeconfig-out", str(out), "--name", "n", "--audience", "a"]
    assert cli.main([*line, "--server", door.url]) == 2
    check(capsys.readouterr().err, door.url, reason="usage")
    assert not out.exists()
    assert cli.main([*line, "--server", "https://x"]) == 0
    check(capsys.readouterr().err, f"KUBECONFIG={out} kubectl --context n get pods", reason="info")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = out.read_text()
    assert str(file) in before
    assert SENTINEL not in before
    assert cli.main([*line, "--server", "https://x"]) == 2
    check(capsys.readouterr().err, str(out), reason="usage")
    assert out.read_text() == before
