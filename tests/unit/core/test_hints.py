"""Every command that a message names is a valid one."""

from __future__ import annotations

import shlex

import pytest

from daypass._core.hints import Placeholder, command, kubectl
from support import hints


def test_each_word_is_quoted_for_a_shell() -> None:
    words = ["identity", "create", "it's", "-n", "a b"]
    assert shlex.split(command(*words)) == ["daypass", *words]
    assert shlex.split(kubectl("get", "secrets", "$x")) == ["kubectl", "get", "secrets", "$x"]


def test_a_placeholder_is_not_quoted() -> None:
    line = command("token", "--credentials", Placeholder("<FILE>"), "--audience", "<A>")
    assert line == "daypass token --credentials <FILE> --audience '<A>'"


@pytest.mark.parametrize("site", hints.call_sites(), ids=str)
def test_every_command_in_the_source_parses(site: hints.Site) -> None:
    assert hints.mistake_in(site.program, site.words, loosely=True) == ""


@pytest.mark.parametrize(
    "words",
    [
        ("identity", "craete", "bot"),
        ("identity", "create"),
        ("identity", "create", "bot", "--nonsense"),
        ("tokn",),
        ("identity",),
        (),
    ],
)
def test_a_command_that_does_not_parse_is_found(words: tuple[str, ...]) -> None:
    assert hints.mistake_in("daypass", words)


def test_a_wrong_command_in_a_message_is_recorded_with_its_place(
    named_commands: hints.Recorder,
) -> None:
    command("identity", "create", "bot", "--nonsense")
    (mistake,) = named_commands.mistakes
    named_commands.mistakes.clear()
    assert "test_hints.py::test_a_wrong_command" in mistake
    assert "--nonsense" in mistake


def test_the_library_names_an_option_only_with_its_argument_in_python() -> None:
    found = [*hints.options_named("client"), *hints.options_named("integrations")]
    assert [each for each in found if " in Python)" not in each] == []


NOT_TYPED = {
    "client/credentials_source.py::fields_of": "says which command wrote the right file",
    "deploy/repository.py::commit_message": "the message of a commit says who made it",
    "cli/completion.py::<module>": "comments of generated scripts",
}


def test_no_other_string_names_a_command() -> None:
    named = [each for each in hints.plain_commands() if each[0] not in NOT_TYPED]
    assert named == []
