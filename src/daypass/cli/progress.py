"""A status line on stderr for what may take over a second: what is going on, and for how long."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from daypass._core.clock import SYSTEM_CLOCK, format_duration
from daypass._core.text import mask_unprintable
from daypass.cli import console
from daypass.cli.colour import is_coloured, is_terminal


@contextmanager
def progress(args: Namespace, text: str) -> Iterator[console.Progress]:
    """Show this text, or what `show` gets later, for one block.

    Shows nothing if stderr is no terminal, or if --output is a format for programs.
    """
    is_text = getattr(args, "output", None) in (None, "text", "table", "wide")
    if not is_text or not is_terminal(sys.stderr):
        yield console.Progress()
        return
    line = StatusLine(text)
    console.status_line = line
    try:
        line.start()
        yield line
    finally:
        line.stop()


class StatusLine(console.Progress):
    """Progress on a terminal, in a line that is erased at the end, and while others write."""

    def __init__(self, text: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        class Terminal(Console):
            def show_cursor(self, show: bool = True) -> bool:
                return False  # it is never hidden: a signal may end this process at any time

        started, style = SYSTEM_CLOCK.monotonic(), "dim" if is_coloured(sys.stderr) else ""
        frames = Spinner("line").frames

        def draw() -> Text:
            seconds = SYSTEM_CLOCK.monotonic() - started
            frame = frames[int(seconds * 8) % len(frames)]
            words = f"{frame} {format_duration(int(seconds))}  {self._text}"
            return Text(words, style, no_wrap=True, overflow="ellipsis")

        self._text = text
        self._writing = RLock()
        self._live = Live(
            console=Terminal(stderr=True),
            get_renderable=draw,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.start = self._live.start

    def show(self, text: str) -> bool:
        """Show this in place of the text; safe in a signal handler."""
        self._text = mask_unprintable(text.partition("\n")[0])
        return True

    def stop(self) -> None:
        with self._writing:
            console.status_line = console.Progress()
            self._live.stop()

    def __enter__(self) -> None:
        self._writing.acquire()
        self._live.stop()

    def __exit__(self, *_: object) -> None:
        if console.status_line is self:
            self._live.start()
        self._writing.release()
