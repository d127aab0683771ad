"""Credentials files of each kind that an older daypass wrote or documented, and variables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat.conftest import Run
from compat.loading import DATA, now_unix, read
from daypass import Credentials
from support.fake_door import FakeDoor, answer, token_answer

KINDS = {
    file.stem: json.loads(file.read_text())
    for file in sorted((DATA / "credentials").glob("*.json"))
    if file.stem != "variables"
}
LONG_LIVED = (DATA / "credentials/token-file.txt").read_text().strip()
OIDC = (DATA / "credentials/oidc-token.txt").read_text().strip()
"""The token of a CI job."""


@pytest.fixture
def door() -> Iterator[FakeDoor]:
    """A door that grants what it is asked for."""
    now = now_unix()
    with FakeDoor(token_answer(now=now, date=now), context=None) as running:
        yield running


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Those that files of some kinds name, GitHub's, and consent to run a program."""
    monkeypatch.setenv("BOT_TOKEN", LONG_LIVED)
    monkeypatch.setenv("CI_TOKEN", OIDC)
    monkeypatch.setenv("DAYPASS_ALLOW_EXEC", "1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
    with FakeDoor(answer(200, json.dumps({"value": OIDC})), context=None) as github:
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{github.url}?job=1")
        yield


def put(folder: Path, kind: str, **changes: Any) -> Path:
    """A file of a kind, with the file that it may name."""
    for name in ("token-file.txt", "oidc-token.txt"):
        shutil.copy(DATA / "credentials" / name, folder)
        (folder / name).chmod(0o600)
    file = folder / "credentials.json"
    file.touch(0o600)
    file.write_text(json.dumps({**KINDS[kind], **changes}))
    return file


def head_and_body(request: bytes) -> tuple[str, dict[str, Any]]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode(), json.loads(body)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gets_its_identity_a_token(
    kind: str, door: FakeDoor, variables: None, tmp_path: Path, run: Run
) -> None:
    file = put(tmp_path, kind, door=door.url)
    token = Credentials.from_file(file).token()
    assert run("token", "--no-cache", "--credentials", str(file)).strip() == token.value.reveal()
    name = KINDS[kind].get("serviceAccount", "bot")
    is_federated = kind.startswith("federated")
    shown = OIDC if is_federated else LONG_LIVED
    assert len(door.requests) == 2
    for request in door.requests:
        head, body = head_and_body(request)
        path = f"/kubernetes/api/v1/namespaces/team/serviceaccounts/{name}/token"
        assert head.startswith(f"POST {path} ")
        assert f"Authorization: Bearer {shown}\r\n" in f"{head}\r\n"
        assert body["spec"]["audiences"] == [KINDS[kind]["audience"]]
        assert body["spec"]["expirationSeconds"] == KINDS[kind]["lifetimeSeconds"]
        assert ("boundObjectRef" in body["spec"]) is not is_federated


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_loaded_as_it_was_written(
    kind: str, variables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_CREDENTIALS", str(put(tmp_path, kind)))
    assert repr(Credentials.load()) == repr(Credentials.from_file(tmp_path / "credentials.json"))


def test_variables_get_their_identity_a_token(
    door: FakeDoor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**read("credentials/variables.json"), "DAYPASS_DOOR": door.url}.items():
        monkeypatch.setenv(name, value)
    token = Credentials.load().token().value.reveal()
    assert run("token", "--no-cache").strip() == token
    assert {"/serviceaccounts/bot/token " in head_and_body(r)[0] for r in door.requests} == {True}
