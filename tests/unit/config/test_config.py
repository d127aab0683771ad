"""A config that is read: its values, and the files that it names."""

import os
from pathlib import Path

import pytest

from daypass.config import ConfigError, IstioGate, Policy, load
from support.messages import raises
from unit.config.texts import MINIMAL, read


def test_policy_and_gate_are_strict_by_default() -> None:
    config = read(MINIMAL + "policy: {audiences: [a]}\ngates: {default: {audience: a}}\n")
    assert config.policy == Policy(
        longest_lifetime_seconds=86_400,
        audiences=("a",),
        binding="required",
        successors="forbidden",
        exempt=(),
        mode="deny",
    )
    gate = config.gates["default"]
    assert isinstance(gate, IstioGate)
    assert (gate.bound_to, gate.forward_token, gate.login) == (("Secret",), False, "none")
    assert (gate.cache_ttl_seconds, config.watch.close_after_seconds) == (60, 600)


def test_a_gate_without_hosts_guards_the_hosts_of_all_domains_but_addresses() -> None:
    text = (
        f"{MINIMAL}  b: {{host: b.example.com, front: istio, tls: outside}}\n"
        "  l: {host: 127.0.0.1, front: envoy}\ngates: {default: {audience: a}}\n"
    )
    assert read(text).gates["default"].hosts == ("ekf.example.com", "b.example.com")


def test_a_relative_config_path_gives_absolute_file_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "daypass.yaml").write_text(MINIMAL + "cluster: {certificateAuthority: ca.crt}\n")
    monkeypatch.chdir(tmp_path)
    assert load("daypass.yaml").cluster.certificate_authority == tmp_path / "ca.crt"


def test_only_regular_files_are_read_and_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with raises(ConfigError):
            load(path)
