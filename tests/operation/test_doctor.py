"""`daypass doctor` with a real door, gate and API server: each thing that can be wrong.

It runs in a process of its own, with the base package alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from cluster.conftest import write_credentials
from daypass.rules.reasons import Reason
from operation.doctor import STEPS, Found, environment_of, examine, failed
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.up import Up
from support.up_gate import AUDIENCE, calling, gate_up

Doctor: TypeAlias = Callable[..., Found]


@pytest.fixture(scope="module")
def guarded(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with gate_up(tmp_path_factory.mktemp("gate"), control_plane) as up:
        yield up


@pytest.fixture
def bot(control_plane: ControlPlane, guarded: Up) -> Identity:
    """An identity that the gate knows."""
    made = control_plane.make_identity()
    with calling(guarded, control_plane, made) as caller:
        caller.becomes(200)
    return made


@pytest.fixture
def file(tmp_path: Path, guarded: Up, bot: Identity) -> Path:
    """Its credentials file."""
    path = tmp_path / "bot.json"
    write_credentials(path, guarded, bot, audience=AUDIENCE)
    return path


@pytest.fixture
def doctor(tmp_path: Path, file: Path) -> Doctor:
    """Run it with these credentials, and return what it finds, by step."""
    return partial(examine, tmp_path, file)


def daypass(folder: Path, file: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "daypass", *words], env=environment_of(folder, file), cwd=folder,
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout


def trusting(up: Up) -> dict[str, str]:
    """The variable by which programs trust it."""
    return {"SSL_CERT_FILE": str(up.authority_file)}


def url_of(up: Up) -> str:
    return f"{up.ready['gates'][0]}/pipeline/?x=1"


def test_all_is_well(doctor: Doctor, guarded: Up, bot: Identity, file: Path) -> None:
    found = doctor("--gate", url_of(guarded), **trusting(guarded))
    assert list(found) == STEPS
    assert {each["level"] for each in found.values()} == {"ok"}
    whose = f"{bot.namespace}/{bot.service_account}, in its Secret {bot.secret_name}"
    assert whose in found["credentials"]["fact"]
    assert f"{file}: mode 0600, yours" in found["credentials"]["fact"]
    assert bot.user in found["token"]["fact"]
    assert f"Secret {bot.secret_name}" in found["token"]["fact"]


def test_without_credentials_it_says_which_steps_are_left_out(guarded: Up, tmp_path: Path) -> None:
    found = examine(tmp_path, None, "--gate", url_of(guarded), **trusting(guarded))
    assert failed(found) == ["credentials"]
    assert "DAYPASS_CREDENTIALS" in found["credentials"]["hint"]
    assert found["not tried"]["fact"].split(", ") == STEPS[2:9]
    # The gate names the audience that a token needs.
    assert AUDIENCE in found["gate"]["fact"]


def test_a_file_that_others_can_read_is_closed_by_the_command(doctor: Doctor, file: Path) -> None:
    file.chmod(0o644)
    hint = doctor()["credentials"]["hint"]
    subprocess.run(["sh", "-c", hint.partition(": ")[2]], check=True)
    assert failed(doctor()) == []


def test_a_deleted_secret_and_the_token_that_is_still_cached(
    doctor: Doctor, control_plane: ControlPlane, bot: Identity, file: Path, tmp_path: Path,
    guarded: Up,
) -> None:  # fmt: skip
    daypass(tmp_path, file, "token")
    assert "1 of 1 in" in doctor()["cache"]["fact"]
    control_plane.admin.delete(bot.secret_path)
    found = eventually(
        "it is refused", lambda: it if "exchange" in failed(it := doctor()) else None
    )
    assert failed(found) == ["exchange", "cache"]
    assert f"daypass identity create {bot.service_account}" in found["exchange"]["hint"]
    words = found["cache"]["hint"].split()[1:]
    assert daypass(tmp_path, file, *words) == ""
    assert failed(doctor()) == ["exchange"]


def test_a_token_for_another_audience_is_refused_with_the_gates_reason(
    doctor: Doctor, guarded: Up
) -> None:
    gate = ("--gate", url_of(guarded))
    found = doctor("--audience", "other.example.com", *gate, **trusting(guarded))
    assert failed(found) == ["gate"]
    assert f"403 {Reason.AUDIENCE}" in found["gate"]["fact"]
    assert f"daypass token --audience {AUDIENCE}" in found["gate"]["fact"]


def test_a_wrong_prefix_host_and_authority_are_found(
    doctor: Doctor, guarded: Up, bot: Identity, file: Path, tmp_path: Path
) -> None:
    def rewritten(**settings: object) -> Found:
        write_credentials(file, guarded, bot, **{"audience": AUDIENCE, **settings})
        return doctor()

    prefix = rewritten(door=guarded.door.rpartition("/")[0] + "/other")
    assert failed(prefix) == ["door"]
    assert "404" in prefix["door"]["fact"]
    unknown = rewritten(door="https://door.invalid/kubernetes")
    assert failed(unknown) == ["dns"]
    untrusted = rewritten(certificateAuthority=None)
    assert failed(untrusted) == ["credentials"]
    machine = json.loads(file.read_text())
    del machine["certificateAuthority"]
    file.write_text(json.dumps(machine))
    untrusted = doctor()
    assert failed(untrusted) == ["connection"]
    assert "the authorities of this machine" in untrusted["credentials"]["fact"]
    assert failed(doctor(**trusting(guarded))) == []
    gate = rewritten(door=f"{guarded.ready['gates'][0]}/kubernetes")
    assert failed(gate) == ["door"]
    assert "leads to the gate" in gate["door"]["fact"]
