"""A process that ends in the middle of what it asks of an API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.kube.cluster import Cluster


class Crash(Exception):
    """The process has ended here. No code of daypass handles it."""


class CrashingCluster(Cluster):
    """A Cluster whose process ends at a given request, before or after the server has acted."""

    _left: int | None = None
    _acted = False
    calls = 0

    @contextmanager
    def crashing(self, call: int, *, acted: bool) -> Iterator[None]:
        """Within this, the request number `call` (from 1 on) is the last one."""
        self._left, self._acted = call, acted
        try:
            yield
        finally:
            self._left = None

    def step(self, action: Any) -> Any:
        """Do something that counts as a request, such as writing a file."""
        self.calls += 1
        if self._left is not None:
            self._left -= 1
        ends = self._left == 0
        if ends and not self._acted:
            raise Crash
        result = action()
        if ends:
            raise Crash
        return result

    def request(self, *arguments: Any, **options: Any) -> Object:
        answer: Object = self.step(partial(super().request, *arguments, **options))
        return answer
