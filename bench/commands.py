"""What `daypass token` and `import daypass` cost, and how large the package is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import figure
from bench.rounds import compare
from support.controlplane import ControlPlane
from support.up import Up, up_config

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# Bytecode is written once where a person installs; some shells and CIs turn that off.
BASE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(*, quick: bool) -> None:
    """All of it; `quick` takes fewer rounds."""
    rounds = 7 if quick else 31
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        _wheel(folder)
        _imports(rounds)
        with ControlPlane.start(folder / "control-plane") as plane:
            up_folder = folder / "up"
            up_folder.mkdir()
            with Up(up_folder, up_config(plane)) as up:
                identity = plane.make_identity()
                credentials = folder / "bot.json"
                credentials.touch(0o600)
                document = {
                    "type": "daypass", "version": 1, "door": up.door, "audience": "gate",
                    "certificateAuthority": up.authority_file.read_text(),
                    "token": identity.token.reveal(),
                }  # fmt: skip
                credentials.write_text(json.dumps(document))
                environment = {
                    "DAYPASS_CREDENTIALS": str(credentials),
                    "XDG_CACHE_HOME": str(folder / "cache"),
                    "KUBECONFIG": "/nowhere",
                }
                daypass = [str(BIN / "daypass"), "token"]
                kubectl = [
                    str(BIN / "kubectl"), "-n", identity.namespace, "create", "token",
                    identity.service_account, "--audience", "gate", "--server", up.door,
                    "--certificate-authority", str(up.authority_file),
                    "--token", identity.token.reveal(),
                ]  # fmt: skip
                plugin = [str(BIN / "daypass"), "exec-credential"]
                _cached(daypass, environment, rounds)
                _cached(plugin, environment, rounds)
                compare(
                    "daypass exec-credential, cold | kubectl create token",
                    lambda: _cold(plugin, environment, folder / "cache"),
                    lambda: _seconds(kubectl, environment),
                    rounds=rounds, unit="ms", bar="<= 1.3",
                )  # fmt: skip
                compare(
                    "daypass token, cold | kubectl create token",
                    lambda: _seconds([*daypass, "--no-cache"], environment),
                    lambda: _seconds(kubectl, environment),
                    rounds=rounds, unit="ms", bar="<= 1.3",
                )  # fmt: skip


def _cached(command: Sequence[str], environment: Mapping[str, str], rounds: int) -> None:
    _seconds(command, environment)
    compare(
        f"daypass {command[1]}, cached | python -c pass",
        lambda: _seconds(command, environment),
        lambda: _seconds([sys.executable, "-c", "pass"], environment),
        rounds=rounds, unit="ms", bar="<= 2",
    )  # fmt: skip


def _cold(command: Sequence[str], environment: Mapping[str, str], cache: Path) -> float:
    """Milliseconds of a whole process that finds nothing kept."""
    shutil.rmtree(cache, ignore_errors=True)
    return _seconds(command, environment)


def _imports(rounds: int) -> None:
    def imported(module: str) -> float:
        code = (
            f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=BASE
        )
        return float(done.stdout) * 1000

    compare(
        "import daypass | import http.client", lambda: imported("daypass"),
        lambda: imported("http.client"), rounds=rounds, unit="ms", bar="<= 1.5",
    )  # fmt: skip


def _seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Milliseconds of a whole process."""
    started = time.perf_counter()
    done = subprocess.run(command, env={**BASE, **environment}, capture_output=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return elapsed * 1000


def _wheel(folder: Path) -> None:
    uv = next(
        (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")).glob("daypass/uv-*/uv")
    )
    subprocess.run(
        [str(uv), "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        metadata = next(n for n in archive.namelist() if n.endswith("METADATA"))
        needs = [
            line for line in archive.read(metadata).decode().splitlines()
            if line.startswith("Requires-Dist") and "extra ==" not in line
        ]  # fmt: skip
    size = f"{wheel.stat().st_size / 1024:.0f} KiB, installed {unpacked / 1024:.0f} KiB"
    figure("the wheel", size, bar="<= 1 MB")
    figure("its dependencies without extras", str(len(needs)), bar="0")
