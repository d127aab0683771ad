"""How the children of the tests take signals."""

from __future__ import annotations

import signal


def let_children_take_signals() -> None:
    """Let programs that are started from here take signals as they do in a terminal.

    A test run in the background, or under nohup, ignores some of them, and its children would as
    well: what is ignored stays so in a new program, what is handled does not.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
