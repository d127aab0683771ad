"""A missing or invalid certificate authority is a usage error wherever it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daypass.cli import main
from support.fake_door import credentials_document
from support.messages import check

URL = "https://127.0.0.1:9/kubernetes"
RENDERED = """\
version: 1
cluster: {certificateAuthority: authority.pem}
domains: {ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: x}}}
"""
AUTHORITY = ("--certificate-authority", "authority.pem")
DOOR = ("--door", URL, "--audience", "gate")
LINES = {
    "verify": ["verify", URL, *AUTHORITY],
    "create": ["identity", "create", "bot", *DOOR, *AUTHORITY],
    "federate": [
        "identity", "federate", "ci", "--credentials-out", "ci.json", "--source", "variable:TOKEN",
        "--issuer", "https://ci.example.com", "--subject", "repo:a/b", *DOOR,
        "--issuer-authority", "authority.pem",
    ],
    "config": ["render"],
    "kubeconfig": ["identity", "list", "--kubeconfig", "named"],
    "entry": [
        "kubeconfig", "--server", "https://k8s.example.com", "--credentials", "bot.json",
        *AUTHORITY,
    ],
}  # fmt: skip
CONTENTS = {
    "absent": None,
    "junk": b"junk\n",
    "no certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: None) -> Path:
    """A kubeconfig that names the authority, and credentials that need none."""
    monkeypatch.chdir(tmp_path)
    document = json.loads((tmp_path / "kubeconfig").read_text())
    document["clusters"][0]["cluster"]["certificate-authority"] = "authority.pem"
    (tmp_path / "named").write_text(json.dumps(document))
    credentials = credentials_document(URL)
    (tmp_path / "bot.json").touch(0o600)
    (tmp_path / "bot.json").write_text(json.dumps(credentials))
    return tmp_path


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_an_unusable_certificate_authority_is_a_usage_error(
    name: str, content: bytes | None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "config":
        (folder / "daypass.yaml").write_text(RENDERED)
    if content is not None:
        (folder / "authority.pem").write_bytes(content)
    assert main(LINES[name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    if content is None:
        assert "authority.pem" in captured.err
        assert "No such file or directory" in captured.err
    else:
        assert "PEM" in captured.err
    check(captured.err, reason="usage")
