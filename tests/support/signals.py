"""How a child of a test takes signals."""

from __future__ import annotations

import signal


def take_signals() -> None:
    """For `preexec_fn`: the child takes signals as a program in a terminal does.

    A test run in the background, or under nohup, ignores some of them, and its children with it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
