"""The old spelling of an option is refused with the new command line, which parses."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from daypass._core.errors import UsageError
from daypass.cli import main, renamed
from daypass.cli.renamed import RENAMED, Renamed, refuse_renamed
from support.hints import Recorder, mistake_in
from support.messages import check

LINES = {
    "kubeconfig --server https://a --kubeconfig x": (
        "kubeconfig --server https://a --kubeconfig-out x"
    ),
    "render --output deploy --check": "render --directory deploy --check",
    "render --output=deploy --format yaml": "render --directory deploy -o yaml",
    "apply --tree x --yes": "apply --directory x --yes",
    "diff --tree=x": "diff --directory x",
    "identity create bot -o bot.json": "identity create bot --credentials-out bot.json",
    "identity create bot --credentials=-": "identity create bot --credentials-out -",
    "identity create bot -o=yaml": "identity create bot -o yaml --dry-run=client",
    "identity authorize bot --in alice --role view --output json": (
        "identity authorize bot --in alice --role view -o json --dry-run=client"
    ),
    "identity create bot --dry-run server -n team": "identity create bot --dry-run=server -n team",
    "verify ekf --wait 10m": "verify ekf --wait --timeout 10m",
    "verify --wait=600 ekf": "verify --wait --timeout 600 ekf",
    "identity rotate bot -obot.json -n team": (
        "identity rotate bot --credentials-out bot.json -n team"
    ),
    "identity rotate --all --output-dir out": "identity rotate --all --credentials-out out",
    "identity federate ci --issuer https://a --subject s --source github -o ci.json": (
        "identity federate ci --issuer https://a --subject s --source github"
        " --credentials-out ci.json"
    ),
}
"""At least one for each row of the table: an old command line, and the new one."""


@pytest.mark.parametrize(("old", "new"), LINES.items(), ids=LINES)
def test_an_old_spelling_is_refused_with_the_new_command_line(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(old)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    is_data = err.startswith(("error:", "{"))
    hint = yaml.safe_load(err)["error"]["hint"] if is_data else err.splitlines()[-1].strip()
    assert hint == f"write: daypass {new}"
    assert mistake_in("daypass", shlex.split(new)) == ""
    check(err, reason="usage")


@pytest.mark.parametrize(
    ("line", "format_"),
    [
        ("identity create bot -o jsn", "json"),
        ("identity rotate bot -oyml", "yaml"),
        ("identity federate ci --output=jsno", "json"),
        ("render --output jsn", "json"),
    ],
)
def test_a_mistyped_format_is_not_taken_for_a_file(
    line: str, format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(line)) == 2
    err = capsys.readouterr().err
    assert f" {format_}`?" in err
    check(err, reason="usage")


def test_every_row_has_a_line() -> None:
    reached = set()
    for line in LINES:
        for row in RENAMED:
            is_of_command = (
                any(line.startswith(f"{each} ") for each in row.commands) or not row.commands
            )
            if is_of_command and re.search(row.old, line):
                reached.add(row)
    assert reached == set(RENAMED)


ROWS = (
    Renamed(
        ("id create",), "(?:-o|--credentials)[ =](?!(?:json|yaml)$)(.+)", "--credentials-out {}"
    ),
    Renamed(
        ("id create",), "(?:-o|--output)[ =](json|yaml)", "-o {} --dry-run=client", "--dry-run"
    ),
    Renamed(("verify",), r"--wait[ =](\d.*)", "--wait --timeout {}"),
    Renamed((), "--dry-run (client|server)", "--dry-run={}"),
)


@pytest.mark.parametrize(
    ("name", "line", "new"),
    [
        ("id create", "bot -o 'a b.json' -n x", "bot --credentials-out 'a b.json' -n x"),
        ("id create", "bot -ob.json", "bot --credentials-out b.json"),
        ("id create", "bot -o=b.json", "bot --credentials-out b.json"),
        ("id create", "bot --credentials=b.json", "bot --credentials-out b.json"),
        ("id create", "bot -o -", "bot --credentials-out -"),
        ("id create", "bot -o yaml", "bot -o yaml --dry-run=client"),
        ("id create", "bot --output=json", "bot -o json --dry-run=client"),
        ("id create", "-o b --dry-run client", "--credentials-out b --dry-run=client"),
        ("id create", "bot -o yaml --dry-run=client", None),
        ("id create", "bot -o yaml --dry-run server", "bot -o yaml --dry-run=server"),
        ("id create", "bot --dry-run", None),
        ("id create", "bot -o", None),
        ("id create", "bot -o -n x", None),
        ("id create", "bot --credentials=", None),
        ("id create", "bot -ob.json x", "bot --credentials-out b.json x"),
        ("id create", "--credentials=b c", "--credentials-out b c"),
        ("id list", "-o b.json", None),
        ("verify", "ekf --wait 10m", "ekf --wait --timeout 10m"),
        ("verify", "--wait ekf", None),
        ("verify", "--wait --timeout 10m", None),
        ("run", "--dry-run client -- x --dry-run client", "--dry-run=client -- x --dry-run client"),
        ("run", "-- x --dry-run client", None),
    ],
)
def test_only_old_spellings_are_replaced(
    name: str,
    line: str,
    new: str | None,
    monkeypatch: pytest.MonkeyPatch,
    named_commands: Recorder,
) -> None:
    monkeypatch.setattr(renamed, "RENAMED", ROWS)
    if new is None:
        refuse_renamed(name, shlex.split(line))
        return
    with pytest.raises(UsageError) as raised:
        refuse_renamed(name, shlex.split(line))
    named_commands.mistakes.clear()  # the table names options that do not exist
    assert raised.value.hint == f"write: daypass {name} {new}"
    refuse_renamed(name, shlex.split(new))
