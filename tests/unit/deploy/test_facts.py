"""The certificates read from the API server's CA file."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.config import parse
from daypass.deploy.facts import read_facts
from daypass.render import RenderError
from support.authority import Authority
from support.messages import raises

TEXT = b"""\
version: 1
cluster: {certificateAuthority: ca.crt}
domains:
  ekf: {host: ekf.example.com, front: ingress, tls: outside}
"""


def test_only_certificates_are_read_from_the_ca_file_not_keys(tmp_path: Path) -> None:
    first, second = Authority(), Authority()
    key = first.server("x").key_pem
    (tmp_path / "ca.crt").write_text(f"subject=x\n{first.pem}{key}{second.pem}")
    facts = read_facts(parse(TEXT, name="daypass.yaml", folder=tmp_path))
    assert facts.authority_pem == first.pem + second.pem


@pytest.mark.parametrize(
    "content",
    [None, "", "no certificate", Authority().server("x").key_pem],
    ids=["missing", "empty", "text", "key"],
)
def test_a_ca_file_without_a_certificate_is_rejected(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.crt").write_text(content)
    with raises(RenderError, match=r"ca\.crt"):
        read_facts(parse(TEXT, name="daypass.yaml", folder=tmp_path))
