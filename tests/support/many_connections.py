"""Thousands of connections: open files, memory, and a service that keeps its clients waiting."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daypass.config import Address

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BESIDE = 200
"""Files that a test run has open beside the connections of one test."""


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, have so many files open.

    Raises RuntimeError where the machine does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + BESIDE
    if resource.RLIM_INFINITY != hard < wanted:
        raise RuntimeError(f"{wanted} open files are needed, and `ulimit -Hn` allows {hard}")
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_bytes(pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


class PausingServer:
    """A service on loopback that answers nobody while it is paused; ends with its context.

    `waiting`: requests that have come and are not answered yet.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._is_paused = False
        self._waiters: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        starting = asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=4096)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(20)

    @property
    def address(self) -> Address:
        return Address(host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    def pause(self) -> None:
        """Let everybody wait who comes from now on."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._loop.call_soon_threadsafe(self._answer_all)

    def __enter__(self) -> PausingServer:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            writer.transport.abort()

        task.add_done_callback(ended)  # also runs if the task is cancelled before it has begun

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.waiting += 1
                self._waiters.append(writer)
                if not self._is_paused:
                    self._answer_all()

    def _answer_all(self) -> None:
        while self._waiters:
            self._waiters.pop().write(ANSWER)
            self.waiting -= 1

    async def _stop(self) -> None:
        # A closed server would forget what it has accepted and not yet handed over.
        self._loop.remove_reader(self._server.sockets[0])
        while asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._tasks:
                task.cancel()
            await asyncio.sleep(0)
        self._server.close()
