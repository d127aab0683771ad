"""Bring up the development environment with nothing but python3.

    python3 tools/bootstrap.py          everything that the tests need
    python3 tools/bootstrap.py demo     what `daypass demo` needs, which is quicker
    python3 tools/bootstrap.py docs     `.venv-docs`, for the documentation's site
    python3 tools/bootstrap.py release  what releases are built and checked with, too
    python3 tools/bootstrap.py tests/clients/NAME   `.venv-client-NAME`, from that folder's lock

uv is taken as a wheel, of exactly the version and the hash that `uv.lock` names, into the user's
cache folder; uv then makes `.venv` from the lock. Nothing is installed outside of these folders.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

try:
    import tomllib
except ImportError:
    sys.exit(
        f"bootstrap: Python 3.11 or newer is needed, this is {sys.version.split()[0]}\n"
        "if there is another one on this machine, name it: make demo PYTHON=python3.12"
    )

ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 200 * 1024 * 1024
OFFLINE = """\
bootstrap: this needs a network that reaches the package index
- behind a proxy: set HTTPS_PROXY=http://proxy.example.com:3128
- if that proxy inspects TLS: also set SSL_CERT_FILE to a file with its certificate authorities"""


def cache_folder() -> Path:
    """The user's cache folder for daypass, the same one that the control plane is kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "daypass"


def wheel_tag() -> str:
    """The part of a wheel's file name that stands for this platform."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "darwin":
        return "macosx_11_0_arm64" if machine == "aarch64" else "macosx_10_12_x86_64"
    if sys.platform == "linux":
        libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
        return f"{libc}*{machine}"
    raise SystemExit(
        f"bootstrap: no uv wheel is known for {sys.platform} {machine}; set UV to a uv"
    )


def locked_uv() -> tuple[str, str, str]:
    """(version, url, sha256) of the uv wheel for this platform, from uv.lock."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    package = next(p for p in lock["package"] if p["name"] == "uv")
    first, _, last = wheel_tag().partition("*")
    for wheel in package["wheels"]:
        name = wheel["url"].rsplit("/", 1)[1].removesuffix(".whl")
        if any(
            tag.startswith(first) and tag.endswith(last) for tag in name.split("-")[-1].split(".")
        ):
            return package["version"], wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise SystemExit(f"bootstrap: uv.lock has no uv wheel for {wheel_tag()}; set UV to a uv")


def ensure_uv() -> Path:
    """The path of uv: `$UV`, or the locked one, downloaded once and checked against the lock."""
    if os.environ.get("UV"):
        return Path(os.environ["UV"])
    version, url, sha256 = locked_uv()
    target = cache_folder() / f"uv-{version}" / "uv"
    if target.exists():
        return target
    print(f"bootstrap: fetching uv {version} (about 25 MB)", file=sys.stderr)
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - the lock's own https address
            wheel = answer.read(LIMIT_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise SystemExit(f"bootstrap: {url} cannot be fetched: {reason}\n{OFFLINE}") from None
    if hashlib.sha256(wheel).hexdigest() != sha256:
        raise SystemExit(f"bootstrap: {url} is not what uv.lock names; nothing was installed")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
        program = archive.read(member)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"uv.{os.getpid()}")
    partial.write_bytes(program)
    partial.chmod(0o755)
    partial.replace(target)
    return target


ENVIRONMENTS = {
    # Inexact: what the tests have brought already stays.
    "demo": (".venv", "--extra", "local", "--no-default-groups", "--inexact"),
    "docs": (".venv-docs", "--only-group", "docs"),
    "release": (".venv", "--extra", "all", "--group", "release"),
    "tests": (".venv", "--extra", "all"),
}
"""For each purpose, the folder and what `uv sync` installs there."""


def main() -> None:
    """Make or mend an environment so that it holds exactly what the lock says."""
    purpose = sys.argv[1] if sys.argv[1:] else "tests"
    if purpose.startswith("tests/clients/"):
        project, folder, options = ROOT / purpose, f".venv-client-{Path(purpose).name}", []
    else:
        project, (folder, *options) = ROOT, ENVIRONMENTS[purpose]
    environment = dict(
        os.environ, UV_PYTHON_DOWNLOADS="never", UV_PROJECT_ENVIRONMENT=str(ROOT / folder)
    )
    environment.pop("VIRTUAL_ENV", None)
    uv, started = ensure_uv(), time.monotonic()
    print(f"bootstrap: installing into {folder} what uv.lock names (1 to 3 minutes the first time)",
          file=sys.stderr)  # fmt: skip
    commands = [[str(uv), "sync", "--frozen", "--quiet", "--python", sys.executable, *options]]
    if (project / "package-lock.json").exists():
        # npm comes with the environment. Packages run nothing when they are installed.
        npm = [str(ROOT / folder / "bin" / "npm"), "ci", "--ignore-scripts", "--no-audit"]
        commands.append([*npm, "--no-fund", "--no-update-notifier", "--loglevel=error"])
    for command in commands:
        done = subprocess.run(command, cwd=project, env=environment, check=False)
        if done.returncode:
            print(OFFLINE, file=sys.stderr)
            sys.exit(done.returncode)
    print(f"bootstrap: installed, {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
