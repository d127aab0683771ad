"""The Containerfile, built and run by buildah on a base made from this machine's Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.bootstrap import ROOT, ensure_uv

from daypass._core import VERSION
from support.ports import free_ports

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PROGRAMS = ("sh", "env", "cp", "cat", "id", "touch")
UNNEEDED = ("test", "site-packages", "dist-packages", "idlelib", "tkinter", "__pycache__", "*.a")


class Buildah:
    """buildah with a storage of its own. chroot: it needs no user namespaces and no runtime."""

    def __init__(self, folder: Path) -> None:
        storage = ["--root", str(folder / "root"), "--runroot", str(folder / "run")]
        self._command = ["buildah", *storage, "--storage-driver", "vfs"]

    def __call__(self, *words: str | Path) -> str:
        command = [*self._command, *(str(word) for word in words)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def libraries(*binaries: Path) -> set[Path]:
    """The shared libraries that programs are linked with, by their absolute paths."""
    listed = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def fill(root: Path) -> None:
    """Put this machine's Python into /usr/local, and a few programs with their libraries."""
    version = f"python3.{sys.version_info.minor}"
    standard = Path(sys.base_prefix) / "lib" / version
    python = Path(sys.base_prefix) / "bin" / version
    local = root / "usr" / "local"
    shutil.copytree(
        standard, local / "lib" / version, symlinks=True, ignore=shutil.ignore_patterns(*UNNEEDED)
    )
    (local / "bin").mkdir()
    shutil.copy(python, local / "bin" / version)
    (local / "bin" / "python3").symlink_to(version)
    programs = [Path(shutil.which(name) or name) for name in PROGRAMS]
    extensions = list((standard / "lib-dynload").glob("*.so"))
    (root / "bin").mkdir()
    for program in programs:
        shutil.copy(program, root / "bin")
    for library in libraries(python, *programs, *extensions, ensure_uv()):
        prefix = Path(sys.base_prefix)
        inside = prefix != Path("/usr") and library.is_relative_to(prefix)
        target = local / library.relative_to(prefix) if inside else root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (root / "tmp").mkdir(mode=0o1777)
    (root / CERTIFICATES.relative_to("/")).parent.mkdir(parents=True)
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Buildah:
    return Buildah(tmp_path_factory.mktemp("buildah"))


@pytest.fixture(scope="module")
def image(buildah: Buildah) -> str:
    """The image of the Containerfile. Only the base, the first FROM, is replaced."""
    working = buildah("from", "scratch")
    fill(Path(buildah("mount", working)))
    settings = ["PATH=/usr/local/bin:/bin", f"SSL_CERT_FILE={CERTIFICATES}"]
    settings.append("LD_LIBRARY_PATH=/usr/local/lib")
    buildah("config", *(word for each in settings for word in ("--env", each)), working)
    base = buildah("commit", "--quiet", working, "base")
    options = ["--isolation", "chroot", "--layers=false", "--quiet", "--file", "Containerfile"]
    return buildah("build", *options, "--from", base, ".").splitlines()[-1]


@pytest.fixture(scope="module")
def container(buildah: Buildah, image: str) -> Iterator[str]:
    name = buildah("from", image)
    yield name
    buildah("rm", name)


def run(buildah: Buildah, container: str, *words: str) -> str:
    return buildah("run", "--isolation", "chroot", container, "--", *words)


def test_the_image_runs_daypass_as_a_user_that_is_not_root(buildah: Buildah, image: str) -> None:
    settings = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    assert settings["User"] == "65532:65532"
    assert settings["Entrypoint"] == ["daypass"]


def test_it_runs_as_65532_which_can_change_nothing_of_daypass(
    buildah: Buildah, container: str
) -> None:
    assert run(buildah, container, "id", "-u") == "65532"
    script = "touch /opt/daypass/x /opt/daypass/bin/daypass 2>/dev/null || echo refused"
    assert run(buildah, container, "sh", "-c", script) == "refused"


@pytest.mark.parametrize(
    "role", ["gate serve", "gate watch", "agent", "identity delete"], ids=lambda role: role
)
def test_every_role_starts(buildah: Buildah, container: str, role: str) -> None:
    assert f"usage: daypass {role}" in run(buildah, container, "daypass", *role.split(), "--help")


def test_it_holds_this_version_and_what_the_gate_needs(buildah: Buildah, container: str) -> None:
    assert run(buildah, container, "daypass", "version") == f"daypass {VERSION}"
    needed = "import uvloop, httptools, prometheus_client, cryptography, pydantic, yaml"
    assert run(buildah, container, "python", "-c", f"{needed}; print('all')") == "all"


def test_its_echo_service_answers_and_ends_with_a_signal(buildah: Buildah, container: str) -> None:
    (port,) = free_ports(1)
    answered = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/a').read())"
    script = f"""\
python -m daypass.local.echo {port} & pid=$!
until python -c "{answered}" 2>/dev/null; do kill -0 $pid || exit 1; done
kill $pid; wait $pid"""
    assert '"path": "/a"' in run(buildah, container, "sh", "-c", script)


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, ROOT / "Containerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned() -> None:
    text = (ROOT / "Containerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim@sha256:[0-9a-f]{64}", bases[0])
    assert bases[1:] == ["base"] * (len(bases) - 1)
