"""The lines with curl that commands print, and that the reference shows, work as they stand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from local.test_identity_embedded import daypass
from local.up_embedded import fixed_config, passed_by_the_gate
from support.children import path_without
from support.programs import output_of
from support.terminal import Terminal
from support.up import Up, runtime_folder


def documented_for_curl(credentials: dict[str, str], up: Up) -> str:
    """As in docs/reference/client.md, with the names of this identity and this machine."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "client.md").read_text()
    block = page.partition("With curl, from")[2].partition("```sh\n")[2].partition("```\n")[0]
    claims = decode_unverified(credentials["token"])[1]
    for documented, real in (
        ("bot-daypass-7q0zk3vr9b2mx5c8w1td", claims["kubernetes.io/serviceaccount/secret.name"]),
        ("gate.example.com", credentials["audience"]),
        ("https://localhost:8443/kubernetes", up.door),
    ):
        assert documented in block
        block = block.replace(documented, real)
    return block


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path, fixed_config()) as up:
        yield up


def test_an_exchange_with_curl_works_as_it_is_documented(up: Up, tmp_path: Path) -> None:
    daypass(up, "identity", "create", "bot", "-n", "default")
    document = json.loads((tmp_path / "bot.json").read_text())
    minted = output_of("sh", "-ec", documented_for_curl(document, up), folder=up.folder)
    passed_by_the_gate(up, Secret(json.loads(minted)["status"]["token"]))


def test_the_demo_prints_lines_that_work_when_they_are_pasted(tmp_path: Path) -> None:
    env = {"TMPDIR": str(runtime_folder(tmp_path))}
    with Terminal("demo", env=env, cwd=tmp_path) as shown:
        shown.wait_for("Ctrl-C stops it")
        invitation = shown.written.partition("another terminal:")[2]
        commands = [line for line in invitation.splitlines() if line.startswith("  ")]
        elsewhere = {**env, "PATH": path_without("daypass")}
        pasted = "\n".join(commands)
        out = output_of("bash", "-e", given=pasted, environment=elsewhere, folder=tmp_path)
        assert "system:serviceaccount:team:you" in out
        shown.type(b"\x03")
        assert shown.wait() == 0
    *_, last = shown.written.splitlines()
    found = f"{last}\ndaypass version"
    elsewhere = {"PATH": path_without("daypass")}
    subprocess.run(["bash", "-ec", found], env=elsewhere, check=True, timeout=60)
