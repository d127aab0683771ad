"""Agents, readers and others on the same files: a reader finds whole tokens, whatever happens."""

from __future__ import annotations

import os
import resource
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.running import Agent, Door, running_agent, write_config
from daypass._core.jwt import MalformedTokenError, decode_unverified
from support.deadline import eventually

CONFIG = 'credentials = "HERE/bot.json"\n[[token]]\npath = "{}/token"\nmode = "0640"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the token is put."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def config(door: Door, folder: Path, name: str = "agent") -> Path:
    """A config for tokens that are renewed each second, in a folder of its own."""
    door.granted_seconds = 2
    here = folder.parent / name
    here.mkdir()
    door.credentials(here)
    return write_config(here, CONFIG.format(folder))


@contextmanager
def read_meanwhile(file: Path) -> Iterator[list[str]]:
    """Read the file all the time; yields what was no whole token."""
    bad: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                decode_unverified(file.read_text())
            except MalformedTokenError as error:
                bad.append(str(error))
            except FileNotFoundError:
                bad.append("absent")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield bad
    finally:
        done.set()
        reader.join()


def assert_tidy(folder: Path) -> None:
    assert os.listdir(folder) == ["token"]
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o640


def wait_for_more(agent: Agent, name: str, more: int = 2) -> None:
    agent.wait_for(name, agent.count(name) + more)


def test_two_agents_write_the_same_file_and_one_of_them_is_killed(door: Door, folder: Path) -> None:
    first = config(door, folder)
    with (
        running_agent(first) as one,
        running_agent(config(door, folder, "second")) as two,
    ):
        for agent in (one, two):
            agent.wait_for("renewed")
        with read_meanwhile(folder / "token") as bad:
            for agent in (one, two):
                wait_for_more(agent, "renewed")
            one.end(signal.SIGKILL)
            wait_for_more(two, "renewed")
        with running_agent(first) as again:
            again.wait_for("renewed")
            assert again.end() == 0
        assert two.end() == 0
    assert bad == []
    assert_tidy(folder)


def be_replaced_by_a_link(folder: Path) -> None:
    (folder / "token").unlink()
    (folder / "token").symlink_to(folder.parent / "precious")


def be_replaced_by_a_file(folder: Path) -> None:
    (folder / "new").write_text("x")
    (folder / "new").rename(folder / "token")


def get_another_mode(folder: Path) -> None:
    (folder / "token").chmod(0o666)


def lose_the_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()


@pytest.mark.parametrize(
    "harm",
    [be_replaced_by_a_link, be_replaced_by_a_file, get_another_mode, lose_the_folder],
    ids=lambda harm: harm.__name__,
)
def test_the_next_renewal_mends_what_others_did_to_the_file(
    door: Door, folder: Path, harm: Callable[[Path], None]
) -> None:
    precious = folder.parent / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    with running_agent(config(door, folder)) as agent:
        agent.wait_for("renewed")
        harm(folder)
        wait_for_more(agent, "renewed")
        assert decode_unverified((folder / "token").read_text())
        assert_tidy(folder)
        assert agent.end() == 0
    assert (precious.read_text(), stat.S_IMODE(precious.stat().st_mode)) == ("precious", 0o600)


def test_a_target_that_cannot_be_replaced_is_reported_until_it_can(
    door: Door, folder: Path
) -> None:
    with running_agent(config(door, folder)) as agent:
        agent.wait_for("renewed")
        (folder / "token").unlink()
        (folder / "token").mkdir()
        agent.wait_for("renewal_failed")
        assert str(folder) in str(agent.events[-1]["message"])
        (folder / "token").rmdir()
        wait_for_more(agent, "renewed")
        assert agent.end() == 0
    assert_tidy(folder)


def test_a_full_disk_keeps_the_old_token_and_stops_no_agent(door: Door, folder: Path) -> None:
    """The size of the agent's files is limited, that of its log too."""
    with running_agent(config(door, folder)) as agent:
        agent.wait_for("renewed")
        with read_meanwhile(folder / "token") as bad:
            resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (0, -1))
            granted = door.granted
            eventually("it tries again", lambda: door.granted >= granted + 2)
            resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
            wait_for_more(agent, "renewed")
        assert agent.end() == 0
    assert bad == []
    assert_tidy(folder)
