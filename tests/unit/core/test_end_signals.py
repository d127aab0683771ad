"""Signals that end a server."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_end_signal_is_handled_whatever_lock_the_main_thread_holds(number: str) -> None:
    code = f"""
import os, signal, threading
from daypass._core.server import handle_end_signals

lock, handled = threading.Lock(), threading.Event()

def handle():
    with lock:
        handled.set()

handle_end_signals(handle)
with lock:
    os.kill(os.getpid(), signal.{number})
print(handled.wait(60))
"""
    assert subprocess.check_output([sys.executable, "-c", code]) == b"True\n"
