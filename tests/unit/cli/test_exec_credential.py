"""`daypass exec-credential` and `daypass kubeconfig` as commands."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from daypass import cli
from daypass._core.clock import SYSTEM_CLOCK, parse_rfc3339, rfc3339, utc
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    FakeDoor,
    jwt,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import check

OpenDoor = Callable[..., tuple[FakeDoor, Path]]
Capture = pytest.CaptureFixture[str]


def test_only_the_credential_goes_to_stdout(open_door: OpenDoor, capsys: Capture) -> None:
    door, file = open_door()
    printed = []
    for _ in range(2):  # from the door, then from the cache that `daypass token` uses
        assert cli.main(["exec-credential", "--credentials", str(file)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        printed.append(out)
    document = json.loads(printed[0])
    assert document["status"]["token"] == short_lived_token()
    assert parse_rfc3339(document["status"]["expirationTimestamp"]) is not None
    assert printed[0] == printed[1]
    assert cli.main(["token"]) == 0
    assert capsys.readouterr().out == short_lived_token() + "\n"
    assert len(door.requests) == 1


@pytest.mark.parametrize(
    ("setup", "code", "named"),
    [
        ("refused", 1, "because"),
        ("nobody", 2, "DAYPASS_CREDENTIALS"),
    ],
    ids=["refused", "nobody"],
)
def test_an_error_goes_to_stderr_with_the_next_step_and_stdout_stays_empty(
    open_door: OpenDoor, capsys: Capture, monkeypatch: pytest.MonkeyPatch, setup: str, code: int,
    named: str,
) -> None:  # fmt: skip
    open_door(status_answer(403, "because"))
    if setup == "nobody":
        monkeypatch.delenv("DAYPASS_CREDENTIALS")
    assert cli.main(["exec-credential"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert "\n  " in err
    assert SENTINEL not in err
    check(err, reason="failed" if code == 1 else "usage")


def test_an_entry_is_printed_and_its_audience_reported(
    open_door: OpenDoor, capsys: Capture
) -> None:
    door, file = open_door()
    assert cli.main(["kubeconfig", "--server", "https://k8s.example.com"]) == 0
    out, err = capsys.readouterr()
    document = yaml.safe_load(out)
    (context,) = document["contexts"]
    assert context["name"] == "bot@k8s.example.com"
    assert context["context"]["namespace"] == "team"
    plugin = document["users"][0]["user"]["exec"]
    assert os.path.isabs(plugin["command"])
    assert plugin["args"][-3:] == ["exec-credential", "--credentials", str(file)]
    assert AUDIENCE in err  # the fake door's tokens name no issuer
    check(err, reason="info")
    assert SENTINEL not in out
    assert len(door.requests) == 1


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


def test_an_entry_is_written_only_to_a_new_file(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    open_door()
    line = [
        "kubeconfig", "--server", "https://x", "--kubeconfig-out", str(tmp_path / "k"),
        "--name", "n", "--audience", "a",
    ]  # fmt: skip
    assert cli.main(line) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"KUBECONFIG={tmp_path}/k kubectl --context n get pods" in err
    check(err, reason="info")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    before = (tmp_path / "k").read_text()
    assert cli.main([*line[:3], *line[5:]]) == 0
    assert capsys.readouterr().out == before
    assert cli.main(line) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "k") in err
    check(err, reason="usage")
    assert (tmp_path / "k").read_text() == before


def test_the_door_is_refused_as_the_server_of_an_entry(
    open_door: OpenDoor, capsys: Capture, tmp_path: Path
) -> None:
    door, _ = open_door()
    line = ["kubeconfig", "--server", door.url, "--kubeconfig-out", str(tmp_path / "k")]
    assert cli.main(line) == 2
    err = capsys.readouterr().err
    assert door.url in err
    check(err, reason="usage")
    assert not (tmp_path / "k").exists()
