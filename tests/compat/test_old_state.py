"""The state folder of an older `daypass up`: its identities, its keys, and what was revoked."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compat.conftest import Run
from compat.loading import DATA, old_state
from daypass import Credentials
from support.deadline import eventually
from support.up import Up, running_up


class Old:
    """A running `daypass up` on the old state folder; `tokens` from before: `revoked`, `good`."""

    def __init__(self, up: Up, tokens: dict[str, str], folder: Path) -> None:
        self.up = up
        self.tokens = tokens
        self.folder = folder

    def at_the_gate(self, token: str) -> int:
        """The code of its answer."""
        context = ssl.create_default_context(cafile=self.up.authority_file)  # noqa: TID251
        port = self.up.ready["listen"]["gate"].rpartition(":")[2]
        request = urllib.request.Request(
            f"https://localhost:{port}/x", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def credentials(self, name: str) -> Path:
        """An identity's file; the door has another port than then."""
        file = self.folder / f"{name}.json"
        document = json.loads(file.read_text())
        file.write_text(json.dumps({**document, "door": self.up.door}))
        return file

    def token(self, name: str) -> str:
        """A new short-lived token."""
        return Credentials.from_file(self.credentials(name)).token().value.reveal()


@contextmanager
def started(folder: Path, tokens: dict[str, str]) -> Iterator[Old]:
    config = (DATA / "state/daypass.yaml").read_text()
    with running_up(folder, config, arguments=["--state", "state"]) as up:
        assert up.ready, up.words
        yield Old(up, tokens, folder)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Old]:
    """It, and KUBECONFIG of its administrator."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "state/admin.kubeconfig"))
    with started(tmp_path, old_state(tmp_path)) as running:
        yield running


def names(listed: Any) -> set[str]:
    return {each["name"] for each in listed}


def test_its_authority_is_kept_and_what_was_revoked_stays_refused(old: Old) -> None:
    given = json.loads((DATA / "state/bot.json").read_text())["certificateAuthority"]
    assert old.up.authority_file.read_text().strip() == given.strip()
    assert old.at_the_gate(old.tokens["revoked"]) == 401
    for token in (old.tokens["good"], old.token("bot"), old.token("worker")):
        assert old.at_the_gate(token) == 200


def test_identities_are_listed_revoked_and_deleted(old: Old, run: Run) -> None:
    listed = run("identity", "list", "-n", "team", "-o", "json")["identities"]
    assert names(listed) == {"bot", "worker", "leaked"}
    for each in listed:
        assert each == run("identity", "show", each["name"], "-n", "team", "-o", "json")

    token = old.token("worker")
    run("identity", "revoke", "worker", "-n", "team")
    eventually("the revoked one is refused", lambda: old.at_the_gate(token) == 401)
    assert old.at_the_gate(old.tokens["good"]) == 200

    run("identity", "delete", "bot", "-n", "team", "--yes")
    eventually("the deleted one is refused", lambda: old.at_the_gate(old.tokens["good"]) == 401)
    left = run("identity", "list", "-n", "team", "-o", "json")["identities"]
    assert names(left) == {"worker", "leaked"}
    run("identity", "show", "bot", "-n", "team", code=1)


def test_an_identity_is_rotated_and_both_tokens_work(old: Old, run: Run) -> None:
    before = old.token("bot")
    run("identity", "rotate", "bot", "-n", "team", "--credentials-out", "new.json")
    after = json.loads((old.folder / "new.json").read_text())
    kept = json.loads((DATA / "state/bot.json").read_text())
    assert after["token"] != kept["token"]
    assert {**after, "token": ""} == {**kept, "token": ""}
    (old.folder / "bot.json").write_text(json.dumps(after))
    for token in (before, old.token("bot")):
        eventually("it passes", lambda token=token: old.at_the_gate(token) == 200)  # type: ignore[misc]


def test_an_identity_that_was_revoked_is_let_in_again(old: Old, run: Run) -> None:
    door = ("--door", old.up.door, "--certificate-authority", str(old.up.authority_file))
    run(
        "identity", "create", "leaked", "-n", "team", *door, "--audience", "gate.example.com",
        "--credentials-out", "leaked.json", "--force",
    )  # fmt: skip
    token = old.token("leaked")
    eventually("the new one passes", lambda: old.at_the_gate(token) == 200)
    assert old.at_the_gate(old.tokens["revoked"]) == 401
