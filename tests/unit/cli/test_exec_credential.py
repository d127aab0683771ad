"""`daypass exec-credential` and `daypass kubeconfig` as commands."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    jwt,
    status_answer,
)
from support.messages import check
from unit.cli.conftest import OpenDoor, Run, good_answer


@pytest.mark.parametrize(("code", "named"), [(1, "because"), (2, "DAYPASS_CREDENTIALS")])
def test_an_error_goes_to_stderr_with_the_next_step_and_stdout_stays_empty(
    open_door: OpenDoor, run: Run, monkeypatch: pytest.MonkeyPatch, code: int, named: str
) -> None:
    open_door(status_answer(403, "because"))
    if code == 2:
        monkeypatch.delenv("DAYPASS_CREDENTIALS")
    out, err = run("exec-credential", code=code)
    assert out == ""
    assert SENTINEL not in err
    check(err, named, "\n  ", reason="failed" if code == 1 else "usage")


@pytest.mark.parametrize("issuer", ["https://issuer.example.com", None])
def test_the_audience_of_an_entry_defaults_to_the_issuer_of_the_doors_tokens(
    open_door: OpenDoor, run: Run, issuer: str | None
) -> None:
    token = jwt({"iss": issuer, "aud": [AUDIENCE]}, "c2ln")
    ends = rfc3339(utc(SYSTEM_CLOCK.unix() + 3600))
    granted = good_answer(status={"token": token, "expirationTimestamp": ends})
    open_door(granted if issuer else status_answer(403, "because"))
    out, err = run("kubeconfig --server https://k8s.example.com")
    args = yaml.safe_load(out)["users"][0]["user"]["exec"]["args"]
    if issuer:
        assert args[-2:] == ["--audience", issuer]
    else:
        assert "--audience" not in args
    check(err, issuer or "--audience", reason="info")
    assert token not in out + err


def test_an_entry_is_written_only_to_a_new_file_and_never_for_the_door(
    open_door: OpenDoor, run: Run, tmp_path: Path
) -> None:
    door, credentials = open_door()
    file = tmp_path / "k"
    line = f"kubeconfig --kubeconfig-out {file} --name n --audience a --server"
    check(run(f"{line} {door.url}", code=2)[1], door.url, reason="usage")
    assert not file.exists()
    err = run(f"{line} https://x")[1]
    check(err, f"KUBECONFIG={file} kubectl --context n get pods", reason="info")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    assert str(credentials) in before
    assert SENTINEL not in before
    check(run(f"{line} https://x", code=2)[1], str(file), reason="usage")
    assert file.read_text() == before
