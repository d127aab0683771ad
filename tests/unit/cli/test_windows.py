"""On Windows, commands and the library start with one sentence instead of a traceback.

No test runs there: the interpreter is given what it has there, and loses what it lacks.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from daypass.cli import COMMANDS
from support.messages import check

WINDOWS = """
import os, sys
sys.platform = "win32"
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fchown", "fork",
             "geteuid", "register_at_fork"):
    delattr(os, name)
"""


def on_windows(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WINDOWS + code, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_every_command_reports_that_windows_is_not_supported() -> None:
    code = "from daypass.cli import main; codes = [main([each, '-h']) for each in sys.argv[1:]]"
    done = on_windows(f"{code}; sys.exit(codes != [1] * len(codes))", "--help", *COMMANDS)
    assert (done.returncode, done.stdout) == (0, "")
    first, hint, *more = done.stderr.splitlines()
    assert "Windows" in first
    assert "WSL" in hint
    assert more == [first, hint] * len(COMMANDS)
    check(f"{first}\n{hint}", reason="windows")


@pytest.mark.parametrize(
    "line", ["daypass.Credentials", "from daypass.integrations.kubectl import *"]
)
def test_importing_the_client_reports_it_too(line: str) -> None:
    code = f"""
import daypass
try:
    {line}
    import daypass.client.credentials
except daypass.DaypassError as error:
    print(error.reason)
"""
    done = on_windows(code)
    assert (done.stdout, done.stderr) == ("windows\n", "")


def test_the_version_can_be_read_and_the_pytest_plugin_does_not_break_other_tests() -> None:
    code = "import daypass, daypass.pytest_plugin; print(daypass.__version__)"
    assert on_windows(code).stdout.strip()
