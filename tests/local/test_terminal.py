"""`daypass up` and `demo` as a person sees them, at a terminal."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from daypass.local.stack import stack_config
from support.programs import DAYPASS, run
from support.terminal import Terminal, screen
from support.up import Up, envoys_of, runtime_folder
from support.up_embedded import fixed_config


def surroundings(folder: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(runtime_folder(folder))}


def test_up_shows_its_start_and_the_time_of_what_follows(tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text(stack_config())
    with Terminal("up", env=surroundings(tmp_path), cwd=tmp_path) as shown:
        shown.wait_for("s  starting door and gate")
        shown.wait_for("Ctrl-C")
        (envoy,) = envoys_of(shown.process.pid)
        os.kill(envoy, signal.SIGKILL)
        shown.wait_for("Envoy is up again")
        shown.type(b"\x03")
        assert shown.wait() == 0
    lines = "\n".join(screen(shown.written))
    start, later = lines.split("daypass: Ctrl-C stops it\n")
    assert "starting" not in lines
    assert re.search(r"^daypass: \d\d:", start, re.M) is None
    time = r"daypass: \d\d:\d\d:\d\d"
    assert re.fullmatch(
        rf"{time} Envoy was killed.*\n(  .+\n)*{time} Envoy is up again\n"
        rf"{time} closing\n{time} everything is closed\n",
        later,
    )


def test_identities_are_shown_in_colours_and_with_progress_on_a_terminal_alone(
    tmp_path: Path,
) -> None:
    with Up(tmp_path, fixed_config()) as up:
        env = {**surroundings(tmp_path), "KUBECONFIG": str(up.ready["kubeconfig"])}

        def piped(line: str, *, code: int = 0) -> str:
            done = run(*DAYPASS, *line.split(), folder=tmp_path, environment=env)
            assert done.returncode == code
            assert "\x1b" not in done.stdout + done.stderr
            return done.stdout

        def shown(line: str, *, keys: bytes = b"", pipe: bool = False) -> str:
            with Terminal(*line.split(), env=env, cwd=tmp_path, pipe=pipe) as there:
                there.type(keys)
                assert there.wait() == 0
            assert "\x1b" not in there.out
            left = "\n".join(screen(there.written))
            assert keys or not re.search(r"^. \d+s  ", left, re.M)
            return there.written

        for name in ("a", "b", "c"):
            piped(f"identity create {name}")
        listed, colours = piped("identity list"), shown("identity list")
        assert "\x1b[1mNAMESPACE " in colours
        assert re.search(r"  \x1b\[3[123]m[\w, -]+\x1b\[0m\r\n", colours)
        assert (
            listed.splitlines()[0].split()
            == colours.partition("\x1b[1m")[2].partition("\x1b")[0].split()
        )
        assert "\x1b[32mhealth: ok\x1b[0m" in shown("identity show a")
        rotate = "identity rotate --all --credentials-out rotated"
        assert "rotated 3 of 3" in shown(rotate)
        assert "rotated 3 of 3" in shown(rotate, pipe=True)
        assert "\x1b" not in shown(f"{rotate} -o json")
        piped(rotate)
        assert "deleting roles/a-daypass-token" in shown("identity delete a", keys=b"y\n")
        piped("identity revoke b", code=3)  # there is no policy
        piped("identity delete b --yes")
        assert "deleted 0 objects" in shown("identity delete --expired -A --yes")


def test_an_interrupted_demo_leaves_no_status_line(tmp_path: Path) -> None:
    with Terminal("demo", env=surroundings(tmp_path), cwd=tmp_path) as shown:
        shown.wait_for("s  starting an API server")
        shown.type(b"\x03")
        assert shown.wait() == 1
    assert "\x1b[?25" not in shown.written
    assert not any("starting" in line or "running" in line for line in screen(shown.written))
