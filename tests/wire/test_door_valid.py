"""Envoy's own judgement of the rendered door: it takes every setting that a config can lead to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from daypass.config import Address
from daypass.config.exposure import Exposure
from daypass.local.envoy import ADMIN_SOCKET, find_envoy
from daypass.render.envoy.bootstrap import envoy_files, to_json
from daypass.render.envoy.settings import DoorSettings, Timeouts
from golden.door_setting import SETTINGS
from support.authority import Authority


def with_domains(settings: DoorSettings, count: int) -> DoorSettings:
    """As many domains as given, all with the first one's certificate."""
    hosts = tuple(f"domain-{i}.example.com" for i in range(count))
    first = settings.certificates[0]
    names = [(f"d{i}", host) for i, host in enumerate(hosts)]
    return replace(
        settings,
        exposure=replace(settings.exposure, hosts=hosts),
        certificates=tuple(replace(first, name=n, server_names=(host,)) for n, host in names),
    )


def with_prefix(settings: DoorSettings, prefix: str) -> DoorSettings:
    return replace(settings, exposure=replace(settings.exposure, prefix=prefix))


def with_upstream(settings: DoorSettings, host: str, server_name: str) -> DoorSettings:
    upstream = replace(settings.upstream, address=Address(host=host, port=6443))
    return replace(settings, upstream=replace(upstream, server_name=server_name))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> DoorSettings:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority()
    (folder / "ca.crt").write_text(authority.pem)
    pair = authority.server("ekf.example.com", "serving.example.com")
    (folder / "tls.crt").write_text(pair.certificate_pem)
    (folder / "tls.key").write_text(pair.key_pem)
    certificate, key = str(folder / "tls.crt"), str(folder / "tls.key")
    return replace(
        SETTINGS,
        certificates=tuple(
            replace(c, certificate_file=certificate, key_file=key) for c in SETTINGS.certificates
        ),
        upstream=replace(SETTINGS.upstream, authority_file=str(folder / "ca.crt")),
    )


def judge(folder: Path, settings: DoorSettings) -> str:
    """What Envoy says against the door's config, or ""."""
    files = envoy_files(settings, str(folder), admin_socket=ADMIN_SOCKET)
    for name, content in files.items():
        (folder / name).write_text(to_json(content))
    command = [str(find_envoy()), "--mode", "validate", "-c", str(folder / "envoy.json")]
    done = subprocess.run(
        [*command, "--log-level", "error"], cwd=folder, capture_output=True, check=False, timeout=30
    )
    return "" if done.returncode == 0 else (done.stderr + done.stdout).decode()


CHANGES: dict[str, Callable[[DoorSettings], DoorSettings]] = {
    "as committed": lambda s: s,
    "twenty domains": lambda s: with_domains(s, 20),
    "one domain": lambda s: with_domains(s, 1),
    "listen on IPv6": lambda s: replace(s, listen=Address(host="::", port=8443)),
    "an API server by its address": lambda s: with_upstream(s, "10.0.0.1", "10.0.0.1"),
    "an API server by its IPv6 address": lambda s: with_upstream(s, "fd00::1", "fd00::1"),
    "an API server by address and name": lambda s: with_upstream(s, "127.0.0.1", "kubernetes"),
    "a prefix of several parts": lambda s: with_prefix(s, "/a-b/c.d/e--f"),
    "a long prefix": lambda s: with_prefix(s, "/" + "x" * 63),
    "no prefix": lambda s: with_prefix(s, ""),
    "no rate limits": lambda s: replace(s, rate_limits=None),
    "no trusted hop": lambda s: replace(s, trusted_hops=0),
    "short timeouts": lambda s: replace(s, timeouts=Timeouts(close_seconds=0.05)),
    "a certificate for any name": lambda s: replace(
        s, certificates=(s.certificates[0], replace(s.certificates[1], server_names=()))
    ),
    "hosts that are addresses": lambda s: replace(
        s, exposure=Exposure(prefix="/kubernetes", hosts=("127.0.0.1", "::1", "localhost"))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_envoy_takes_the_door(tmp_path: Path, here: DoorSettings, change: str) -> None:
    assert judge(tmp_path, CHANGES[change](here)) == ""


def test_envoys_validation_reports_what_is_wrong(tmp_path: Path, here: DoorSettings) -> None:
    wrong = replace(here, listen=Address(host="no-address", port=1))
    assert "malformed IP address" in judge(tmp_path, wrong)
