"""The settings of the local gate, from the config."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import UsageError
from daypass.config import Address, parse
from daypass.deploy.certificate_authority import Authority
from daypass.local.settings import OwnCertificates, envoy_settings
from daypass.render.envoy.settings import GateSettings, Upstream
from support.messages import raises


def gate_of(
    folder: Path, changes: str = "", gate: str = "engine: envoy, hosts: [localhost]"
) -> GateSettings:
    text = f"""\
version: 1
domains: {{here: {{host: localhost, front: envoy}}}}
gates: {{default: {{audience: gate, {gate}}}}}
local: {{{changes}}}
"""
    settings = envoy_settings(
        parse(text.encode(), name="daypass.yaml", folder=folder),
        Upstream(address=Address(host="127.0.0.1", port=1), authority_file="/a", server_name="a"),
        OwnCertificates(Authority.create("test", SYSTEM_CLOCK), folder, SYSTEM_CLOCK),
        shards=1,
        issuer="https://kubernetes.default.svc",
        echo=Address(host="127.0.0.1", port=2),
    )
    assert settings.gate is not None
    return settings.gate


@pytest.mark.parametrize(
    ("upstream", "host", "port", "verified"),
    [
        ("", "127.0.0.1", 2, False),
        ("upstream: 'http://apis'", "apis", 80, False),
        ("upstream: 'https://apis'", "apis", 443, True),
    ],
)
def test_the_gate_guards_the_echo_service_or_the_upstream_which_is_verified_if_it_has_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    upstream: str, host: str, port: int, verified: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    guarded = gate_of(tmp_path, upstream).protected
    assert guarded.address == Address(host=host, port=port)
    assert guarded.authority_file == (__file__ if verified else "")


def test_the_local_gate_serves_only_named_hosts(tmp_path: Path) -> None:
    text = "hosts: ['*', ekf.example.com]"
    assert gate_of(tmp_path, gate=text).gate.named_hosts == ("ekf.example.com",)
    with raises(UsageError, match=r"gates\.default\.hosts"):
        gate_of(tmp_path, gate="hosts: ['*']")


def test_a_pattern_of_one_label_has_a_wildcard_certificate(tmp_path: Path) -> None:
    patterns = "'{name}-{namespace}.serving.example.com', '{name}.{namespace}.example.org'"
    gate = gate_of(tmp_path, gate=f"engine: envoy, hosts: [localhost, {patterns}]")
    names = [each.server_names for each in gate.certificates]
    assert names == [("localhost",), ("*.serving.example.com",)]
