"""Waiting, in a command, until the gates of the cluster have published what it changed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from daypass.cli import options, warn

if TYPE_CHECKING:
    from daypass.kube.cluster import Cluster
    from daypass.published.denials import Denial


class GateWait:
    """Waits as --timeout and --no-wait say. A dry run waits for nothing.

    `home`: a gate's namespace that the config names, for users who may not list namespaces.
    `failed`: a gate has not published the change in time, or the user may not see whether it has;
    a warning says so, and the command ends with exit code 3.
    """

    def __init__(self, args: Namespace, cluster: Cluster, home: str | None = None) -> None:
        self.failed = False
        self._cluster = cluster
        self._home = home
        self._left = 0.0 if cluster.dry_run else float(options.wait_seconds(args))
        self._took: float | None = None
        self._is_new = False

    @property
    def exit_code(self) -> int:
        """3 if it has failed, else 0."""
        return 3 if self.failed else 0

    @property
    def at_gates(self) -> str:
        """When the change was published, as a part of a message; "" if there is nothing to say."""
        if self.failed:
            return "a gate of daypass may refuse them at first" if self._is_new else ""
        if self._took is None:
            return ""
        return f"at a gate of daypass: published after {max(self._took, 0.1):.1f} s"

    def gone(self, uids: Iterable[str]) -> None:
        """Wait until the set of no gate has these UIDs."""
        from daypass.kube.gates import wait_published

        self._wait(partial(wait_published, self._cluster, gone=list(uids), home=self._home))

    def there(self, uids: Iterable[str]) -> None:
        """Wait until the set of every gate has these UIDs."""
        from daypass.kube.gates import wait_published

        self._is_new = True
        self._wait(partial(wait_published, self._cluster, there=list(uids), home=self._home))

    def denied(self, home: str, denial: Denial, *, undo: bool) -> None:
        """Wait until the gate in a namespace has published a denial, or its removal."""
        from daypass.kube.gates import wait_denied

        self._wait(partial(wait_denied, self._cluster, home, denial, undo=undo))

    def _wait(self, wait: Callable[..., float | None]) -> None:
        from daypass.kube.gates import NotPublishedError

        if self.failed or not self._left:
            return
        try:
            took = wait(timeout_seconds=self._left)
        except NotPublishedError as error:
            self.failed = True
            warn(error.fact, error.hint)
            return
        if took is not None:
            self._took = max(took, self._took or 0.0)
            self._left = max(self._left - took, 0.1)
