"""A CredentialObserver in a process of its own, what that costs, and thousands of namespaces."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from daypass._core.clock import SYSTEM_CLOCK
from daypass.gate.watch.observer import CredentialObserver
from daypass.gate.watch.schedule import Observation
from daypass.kube.kubeconfig import find_connection_config
from support.controlplane import ControlPlane
from support.identities import (
    OF_DAYPASS,
    WATCHED,
    ensure_namespace,
    ensure_service_account,
    make_credential,
)

CREATORS = 6


class ObserverProcess:
    """Talks to the process. `complete_seconds`: from its start to the first complete set."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.complete_seconds: float = self._read()["seconds"]

    def report(self) -> dict[str, Any]:
        """What is observed now and since the last report, and what it costs.

        `credentials`, `namespaces`: how many. `oldest_seconds`: the age of the oldest listing since
        the last report. `cpu_share`: of a core, since then. `mib`: resident at most so far.
        `connections`, `threads`, `error`.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        read: dict[str, Any] = json.loads(self._process.stdout.readline())
        return read


@contextmanager
def running_observer(plane: ControlPlane, close_after_seconds: float) -> Iterator[ObserverProcess]:
    """An observer that is complete."""
    root = Path(__file__).parent.parent
    arguments = [str(plane.kubeconfig), str(close_after_seconds)]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.observer_process", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{root}:{root}/tests"},
    ) as process:  # fmt: skip
        try:
            yield ObserverProcess(process)
        finally:
            process.kill()


def make_namespaces(plane: ControlPlane, count: int, *, secrets: int) -> list[str]:
    """Namespaces with an identity each, which has so many Secrets; their names."""
    names = [f"many-{number:04}" for number in range(count)]

    def make(name: str) -> None:
        ensure_namespace(plane.admin, name, labels=WATCHED)
        account = ensure_service_account(plane.admin, name, "bot", labels=OF_DAYPASS)
        for _ in range(secrets):
            make_credential(plane.admin, plane.ca_pem, name, "bot", account)

    with ThreadPoolExecutor(CREATORS) as threads:
        list(threads.map(make, names))
    return names


def main() -> None:
    """Observe, and report for each line of input."""
    kubeconfig, close_after = sys.argv[1:]
    observer = CredentialObserver(
        find_connection_config({}, kubeconfig=kubeconfig), SYSTEM_CLOCK, gate_namespace="default",
        per_namespace=2000, accounts_too=False, close_after_seconds=float(close_after),
    )  # fmt: skip
    began = SYSTEM_CLOCK.monotonic()
    observer.start()
    while not observer.observation().is_complete:
        observer.changed.clear()
        observer.changed.wait(0.05)
    _say({"seconds": SYSTEM_CLOCK.monotonic() - began})
    oldest, since, cpu = 0.0, SYSTEM_CLOCK.monotonic(), time.process_time()
    while True:
        found = observer.observation()
        oldest = max(oldest, _age(found))
        if select.select([sys.stdin], [], [], 0.1)[0]:
            if not sys.stdin.readline():
                return
            share = (time.process_time() - cpu) / (SYSTEM_CLOCK.monotonic() - since)
            _say({**_report(observer, oldest), "cpu_share": share})
            oldest, since, cpu = 0.0, SYSTEM_CLOCK.monotonic(), time.process_time()


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _age(observation: Observation) -> float:
    listed = [each.listed_at for each in observation.namespaces.values()]
    return SYSTEM_CLOCK.monotonic() - min([observation.listed_at or 0.0, *listed])


def _report(observer: CredentialObserver, oldest: float) -> dict[str, Any]:
    found = observer.observation()
    status = Path("/proc/self/status").read_text()
    sockets = set(_open_files())
    tcp = re.findall(r"^ *\d+: (?:\S+ +){8}(\d+)", Path("/proc/self/net/tcp").read_text(), re.M)
    return {
        "credentials": sum(len(each.credentials) for each in found.namespaces.values()),
        "namespaces": len(found.namespaces),
        "oldest_seconds": oldest,
        "mib": int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024,
        "threads": int(re.findall(r"Threads:\s+(\d+)", status)[0]),
        "connections": sum(f"socket:[{inode}]" in sockets for inode in tcp),
        "error": observer.last_error or "".join(found.unwatched.values()),
    }


def _open_files() -> Iterator[str]:
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime by another thread
            yield os.readlink(each)


if __name__ == "__main__":
    main()
