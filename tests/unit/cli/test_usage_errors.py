"""Invalid command lines end with 2 before any request is sent or file is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.messages import check
from unit.cli.conftest import Run

CONFIG = """
version: 1
domains: {ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}}
policy: {audiences: [gate]}
"""
LONG = "b" * 225
CREATE = {
    "bot --domain nope": "'nope'",
    "bot -o yaml": "--dry-run=client",
    "bot --expires 0": "0",
    "bot --certificate-authority none": "none",
    "bot --certificate-authority daypass.yaml": "PEM",
    "bot --config none.yaml": "none.yaml",
    "bot --gate serving --audience x": "--audience and --gate",
}
AUTHORIZE = {
    "--in alice --role view --principal '*'": "principal",
    "--in alice --role view --user-header x]": "'x]'",
    "--in alice,BOB --role view": "'BOB'",
    "--in alice --role owner": "'owner'",
    "--in a --role view --cluster-role x": "--cluster-role cannot be combined with --role",
    "--in alice": "--role view",
    "--in alice --model alice/iris": "--in",
    "--model alice/iris --role view": "--model",
    "--model iris": "'iris'",
    "--model alice/iris --gate x --principal p": "--gate",
    "--model alice/iris --gate serving --config none.yaml": "none.yaml",
}
IDENTITY = {
    "create": "NAME",
    **{f"create {options}": value for options, value in CREATE.items()},
    **{f"authorize bot {options}": value for options, value in AUTHORIZE.items()},
    **{f"{verb} {LONG}": "225" for verb in ("create", "delete")},
    "rotate": "--all",
    "rotate --all": "--credentials-out DIR",
    "rotate --all --credentials-out -": "--credentials-out DIR",
    "rotate bot --older-than 1d": "--older-than",
    "rotate bot --credentials-out - -o json": "stdout",
    "rotate bot --overlap 9999999999d": "9999999999d",
    "delete": "--expired",
    "delete bot --expired": "--expired",
    "list -n ../kube-system": "'../kube-system'",
}
RENDER = {
    "--check": "--check",
    "-o json --directory deploy": "-o json",
    "--config absent.yaml": "absent.yaml",
}
TOKEN = {
    "--no-cache=yes": "--no-cache",
    "--audience": "--audience needs a value",
    "--output jsn": "'jsn' is not one of text, json, yaml, header",
    "extra": "'extra'",
    "'\x1b[2J'": r"'\x1b[2J'",
}
LINES = {
    **{f"identity {line}": value for line, value in IDENTITY.items()},
    **{f"render {line}": value for line, value in RENDER.items()},
    **{f"token {line}": value for line, value in TOKEN.items()},
    "verify nope": "'nope'",
    "--kubeconfig x identity": "option '--kubeconfig'",
    "'\x1b[2J'": r"command '\x1b[2J'",
    "gate watsh -n x": "`daypass gate watch`",
}
"""Command lines, and what the message names of them or asks for."""


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("line", "named"),
    LINES.items(),
    ids=[line.replace(LONG, "LONG") for line in LINES],
)
def test_an_invalid_command_line_is_a_usage_error(
    line: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "daypass.yaml").write_text(CONFIG)
    monkeypatch.chdir(here)
    out, err = run(line, code=2)
    assert out == ""
    assert [file.name for file in here.iterdir()] == ["daypass.yaml"]
    check(err, named, reason="usage")
