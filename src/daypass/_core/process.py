"""How many files, and so connections, this process may have open."""

import resource
from contextlib import suppress

MAX_OPEN_FILES = 65_536


def allow_many_files() -> None:
    """Take as many as there are to be had, as Envoy and every program in Go do at their start.

    Service managers and shells give 1024, for the sake of programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system's own limit may be lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
