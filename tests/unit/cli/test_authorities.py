"""A missing or invalid certificate authority is a usage error wherever it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
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
FEDERATE = ("identity", "federate", "ci", "-o", "ci.json", "--source", "variable:TOKEN",
            "--issuer", "https://ci.example.com", "--subject", "repo:a/b")  # fmt: skip
CONTENTS = {
    "absent": None,
    "empty": b"",
    "junk": b"junk\n",
    "binary": b"\xff\xfe\0",
    "no certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "too much": b"-----BEGIN CERTIFICATE-----\n" + bytes(2 * 1024 * 1024),
}


def named_by_option(*words: str) -> Callable[[Path, pytest.MonkeyPatch], list[str]]:
    return lambda folder, monkeypatch: [*words, "--certificate-authority", "authority.pem"]


def named_by_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (folder / "daypass.yaml").write_text(RENDERED)
    return ["render"]


def named_by_kubeconfig(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    kubeconfig = folder / "named"
    document = json.loads((folder / "kubeconfig").read_text())
    document["clusters"][0]["cluster"]["certificate-authority"] = "authority.pem"
    kubeconfig.write_text(json.dumps(document))
    return ["identity", "list", "--kubeconfig", str(kubeconfig)]


def named_by_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("DAYPASS_DOOR", URL)
    monkeypatch.setenv("DAYPASS_TOKEN", str(credentials_document(URL)["token"]))
    monkeypatch.setenv("DAYPASS_AUDIENCE", "gate")
    monkeypatch.setenv("DAYPASS_CA_FILE", "authority.pem")
    return ["token"]


def named_for_an_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    file = folder / "bot.json"
    file.touch(0o600)
    file.write_text(json.dumps(credentials_document(URL)))
    words = ["kubeconfig", "--server", "https://k8s.example.com", "--credentials", str(file)]
    return [*words, "--certificate-authority", "authority.pem"]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "name",
    [
        named_by_option("verify", URL),
        named_by_option("identity", "create", "bot", "--door", URL, "--audience", "gate"),
        lambda folder, monkeypatch: [*FEDERATE, "--door", URL, "--audience", "gate",
                                     "--issuer-authority", "authority.pem"],
        named_by_config,
        named_by_kubeconfig,
        named_by_variable,
        named_for_an_entry,
    ],
    ids=["verify", "create", "federate", "config", "kubeconfig", "variable", "entry"],
)  # fmt: skip
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_an_unusable_certificate_authority_is_a_usage_error(
    name: Callable[[Path, pytest.MonkeyPatch], list[str]],
    content: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "authority.pem").write_bytes(content)
    assert main(name(tmp_path, monkeypatch)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    if content is None:
        assert "authority.pem" in captured.err
        assert "No such file or directory" in captured.err
    else:
        assert "PEM" in captured.err or "1 MiB" in captured.err
    check(captured.err, reason="usage")
