"""The echo service as a Pod runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

from support.deadline import eventually
from support.ports import free_ports, listens


def test_it_answers_with_what_it_received_until_a_signal() -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "daypass.local.echo", str(port)]
    with subprocess.Popen(command) as process:
        try:
            eventually("it listens", lambda: listens(port))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/a", timeout=10) as answer:
                received = json.load(answer)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert (received["method"], received["path"]) == ("GET", "/a")
