"""The first thing that `make` runs on a machine: what it reports where it cannot go on."""

from __future__ import annotations

import os
import runpy
import socket
import sys
from pathlib import Path

import pytest
from tools import bootstrap

from support.authority import Authority
from support.messages import check, raises
from support.tcp_server import TcpServer

NEXT_STEP = "(?s)cannot be fetched.*HTTPS_PROXY.*SSL_CERT_FILE"


class Index(TcpServer):
    """A package index with one answer to everything."""

    answer = b""

    def serve(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(self.answer)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "demo"])


def lead_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(bootstrap, "locked_uv", lambda: ("1.2.3", url, "0" * 64))


def test_the_lock_names_a_uv_for_this_machine() -> None:
    version, url, sha256 = bootstrap.locked_uv()
    assert version in url
    assert len(sha256) == 64


def test_a_network_that_does_not_reach_the_index_is_reported_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Index() as index:
        index.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        lead_to(monkeypatch, f"http://127.0.0.1:{index.port}/uv.whl")
        with raises(SystemExit, match=NEXT_STEP, hide=r"\d{4,}"):
            bootstrap.main()


def test_a_proxy_that_inspects_tls_is_reported_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Index(Authority("a proxy").server("localhost").context()) as index:
        lead_to(monkeypatch, f"https://localhost:{index.port}/uv.whl")
        with raises(SystemExit, match="(?s)certificate.*SSL_CERT_FILE", hide=r"\d{3,}|\(_ssl.*?\)"):
            bootstrap.main()


def test_another_content_than_the_lock_names_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index() as index:
        index.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
        lead_to(monkeypatch, f"http://127.0.0.1:{index.port}/uv.whl")
        with raises(SystemExit, match="not what uv.lock names", hide=r"\d{4,}"):
            bootstrap.main()
    assert not (tmp_path / "cache").exists()


def test_packages_that_cannot_be_fetched_are_reported_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho error: dns error >&2; exit 2\n")
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    with pytest.raises(SystemExit) as exited:
        bootstrap.main()
    assert exited.value.code == 2
    check(capfd.readouterr().err, "dns error", "HTTPS_PROXY", reason="error")


def test_an_old_python_is_reported_with_how_to_name_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setattr(sys, "version", "3.10.13 (main)")
    with raises(SystemExit, match="3.10.13\nif .*make demo PYTHON=python3"):
        runpy.run_path(os.path.abspath(bootstrap.__file__))
