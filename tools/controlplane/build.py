"""Build etcd, kube-apiserver and kube-controller-manager, once, into the user's cache folder.

    python tools/controlplane/build.py

Needs Go and its module proxy, and about 8 minutes on two cores; afterwards it returns at once. The
program's path goes to stdout, progress to stderr. What is built is decided by go.mod, go.sum and
main.go beside this file: change one of them, and the next run builds anew into another folder.

`KUBEBUILDER_ASSETS`, where it is set, names a folder of ready-made binaries (etcd, kube-apiserver,
kube-controller-manager), and nothing is built.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

MODULE = Path(__file__).resolve().parent
SOURCES = ("go.mod", "go.sum", "main.go")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
OLDEST_GO = (1, 26)
LINE_EVERY_SECONDS = {True: 0.5, False: 30.0}
"""How often progress is reported: on a terminal (one line, rewritten), and into a pipe."""


class BuildError(Exception):
    """The control plane cannot be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """How each program of the control plane is started: the words before its flags."""

    etcd: tuple[str, ...]
    kube_apiserver: tuple[str, ...]
    kube_controller_manager: tuple[str, ...]

    @classmethod
    def of_binary(cls, binary: Path) -> Programs:
        """The three programs inside the one binary that is built here."""
        return cls(
            etcd=(str(binary), "etcd"),
            kube_apiserver=(str(binary), "kube-apiserver"),
            kube_controller_manager=(str(binary), "kube-controller-manager"),
        )


def kubernetes_version(go_mod: str) -> str:
    """The release of Kubernetes that go.mod requires, as in `v1.37.2`."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+\S*)", go_mod, re.MULTILINE)
    if found is None:
        raise BuildError("tools/controlplane/go.mod requires no k8s.io/kubernetes")
    return found[1]


def cache_key(module: Path) -> str:
    """`<version>-<12 hex digits of the sources' sha256>`: one folder for each thing to be built."""
    contents = [(module / name).read_bytes() for name in SOURCES]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    return f"{kubernetes_version(contents[0].decode())}-{digest[:12]}"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The user's cache folder for control planes."""
    base = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "daypass" / "controlplane"


def binary_path(environment: Mapping[str, str], module: Path = MODULE) -> Path:
    """Where the built binary is, or will be."""
    return cache_folder(environment) / cache_key(module) / "controlplane"


def from_assets(environment: Mapping[str, str]) -> Programs | None:
    """The programs in the folder that KUBEBUILDER_ASSETS names; None where it names none.

    Raises BuildError where one is missing: envtest ships no kube-controller-manager, and without
    it no token Secret is ever filled.
    """
    named = environment.get("KUBEBUILDER_ASSETS")
    if not named:
        return None
    folder = Path(named)
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BuildError(
            f"KUBEBUILDER_ASSETS={named} has no {' and no '.join(missing)}\n"
            "put it there (the one of the same release, from "
            "https://dl.k8s.io/<release>/bin/<os>/<arch>/), "
            "or unset KUBEBUILDER_ASSETS and run: make controlplane"
        )
    return Programs(
        etcd=(str(folder / "etcd"),),
        kube_apiserver=(str(folder / "kube-apiserver"),),
        kube_controller_manager=(str(folder / "kube-controller-manager"),),
    )


def find_programs(environment: Mapping[str, str], module: Path = MODULE) -> Programs:
    """The control plane's programs as they are on this machine. Builds nothing.

    Raises BuildError where they are not there yet.
    """
    assets = from_assets(environment)
    if assets is not None:
        return assets
    binary = binary_path(environment, module)
    if not binary.exists():
        raise BuildError(f"the control plane is not built ({binary})\nrun: make controlplane")
    return Programs.of_binary(binary)


def go_program(environment: Mapping[str, str]) -> str:
    """The path of a Go that is new enough. Raises BuildError with the way to one."""
    ways = (
        "install it from https://go.dev/dl/ (or: your package manager's golang), or set "
        "KUBEBUILDER_ASSETS to a folder with envtest's etcd and kube-apiserver and with "
        "kube-controller-manager of the same release"
    )
    wanted = ".".join(map(str, OLDEST_GO))
    go = shutil.which("go", path=environment.get("PATH"))
    if go is None:
        raise BuildError(f"Go {wanted} or newer is needed, and there is no `go` on PATH\n{ways}")
    asked = subprocess.run(
        [go, "env", "GOVERSION"], cwd=MODULE, env=dict(environment), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    said = asked.stdout.strip() or asked.stderr.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if asked.returncode or found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise BuildError(f"Go {wanted} or newer is needed; {go} says: {said}\n{ways}")
    return go


def build_flags(version: str) -> list[str]:
    """What makes the binary small, the same on every machine, and say which release it is."""
    major, minor = version.removeprefix("v").split(".")[:2]
    stamp = "k8s.io/component-base/version"
    linker = (
        f"-s -w -X {stamp}.gitVersion={version} -X {stamp}.gitMajor={major} "
        f"-X {stamp}.gitMinor={minor}"
    )
    return ["-trimpath", "-buildvcs=false", "-ldflags", linker]


@contextlib.contextmanager
def locked(folder: Path, stream: TextIO) -> Iterator[None]:
    """Hold the folder's lock, so that of two that build at once one waits for the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("controlplane: another build is under way, waiting for it", file=stream)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Progress:
    """One line on a terminal that is rewritten, or a line now and then in a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = self._told = time.monotonic()
        self.every_seconds = LINE_EVERY_SECONDS[self._terminal]

    def elapsed(self) -> str:
        """Minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"

    def tell(self, text: str, *, now: bool = False) -> None:
        """Show where it stands, if it is time to."""
        if not now and time.monotonic() - self._told < self.every_seconds:
            return
        self._told = time.monotonic()
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        self._stream.write(f"{start}controlplane: {text}, {self.elapsed()}{end}")
        self._stream.flush()

    def finish(self, text: str) -> None:
        """The last word, on a line of its own."""
        self.tell(text, now=True)
        if self._terminal:
            self._stream.write("\n")


def lines_of(command: list[str], environment: Mapping[str, str]) -> Iterator[str | None]:
    """What a command says, line by line, and None whenever it was silent for half a second.

    Raises BuildError, with the end of what it said, when it fails; ends it when nobody listens on.
    """
    with subprocess.Popen(
        command, cwd=MODULE, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        output = process.stdout
        if output is None:
            raise BuildError("no pipe to read from")
        said: deque[str] = deque(maxlen=40)
        try:
            for line in _lines(output.fileno()):
                if line is not None:
                    said.append(line)
                yield line
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise BuildError("\n".join([*said, f"`{' '.join(command[:2])}` failed"]))


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


def build(go: str, target: Path, environment: Mapping[str, str], stream: TextIO) -> None:
    """Build the binary beside its place and rename it there, telling how far it is."""
    environment = {**environment, "CGO_ENABLED": "0", "GOWORK": "off"}
    flags = build_flags(kubernetes_version((MODULE / "go.mod").read_text()))
    progress = Progress(stream)
    progress.tell(f"building {target} (about 8 minutes the first time)", now=True)
    stale: set[str] = set()
    fetched = 0
    names = "{{if .Stale}}{{.ImportPath}}{{end}}"
    for line in lines_of([go, "list", *flags, "-deps", "-f", names, "."], environment):
        if line is not None and line.startswith("go: "):
            fetched += 1
        elif line is not None:
            stale.add(line)
        progress.tell(f"fetching modules, {fetched} so far")
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    built = 0
    try:
        for line in lines_of([go, "build", "-v", *flags, "-o", str(partial), "."], environment):
            built += line in stale
            progress.tell(f"{built} of {len(stale)} packages")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    progress.finish("built")


def ensure_built(environment: Mapping[str, str], stream: TextIO) -> Path:
    """The path of the binary, built now if it was not. Raises BuildError."""
    target = binary_path(environment)
    if target.exists():
        return target
    go = go_program(environment)
    with locked(cache_folder(environment), stream):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            build(go, target, environment, stream)
    return target


def main() -> None:
    """Build what is not built, and print where it is."""
    try:
        if from_assets(os.environ) is not None:
            print(os.environ["KUBEBUILDER_ASSETS"])
            return
        print(ensure_built(os.environ, sys.stderr))
    except BuildError as error:
        raise SystemExit(f"controlplane: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(
            "\ncontrolplane: interrupted; what is compiled so far is kept by Go"
        ) from None


if __name__ == "__main__":
    main()
