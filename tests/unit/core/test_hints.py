"""Every command that a message names is a valid one."""

from __future__ import annotations

import shlex

from daypass._core.hints import Placeholder, command, kubectl
from support import hints


def test_each_word_is_quoted_for_a_shell() -> None:
    words = ["identity", "create", "it's", "-n", "a b"]
    assert shlex.split(command(*words)) == ["daypass", *words]
    assert shlex.split(kubectl("get", "secrets", "$x")) == ["kubectl", "get", "secrets", "$x"]


def test_a_placeholder_is_not_quoted() -> None:
    line = command("token", "--credentials", Placeholder("<FILE>"), "--audience", "<A>")
    assert line == "daypass token --credentials <FILE> --audience '<A>'"


def test_a_wrong_command_in_a_message_is_recorded_with_its_place(
    named_commands: hints.Recorder,
) -> None:
    command("identity", "create", "bot", "--nonsense")
    (mistake,) = named_commands.mistakes
    named_commands.mistakes.clear()
    assert "test_hints.py::test_a_wrong_command" in mistake
    assert "--nonsense" in mistake
