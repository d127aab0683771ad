"""tools/steps.py counts what the flows of this very checkout enter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tools import steps

SHORTEST = {"token": 20, "render": 100, "up": 100, "authorizer": 20}
"""No version does it in fewer functions: a lower count has missed some."""


@pytest.mark.parametrize("flow", steps.FLOWS)
def test_a_flow_enters_functions_of_daypass_and_no_others(flow: str) -> None:
    entered = steps.functions(flow, steps.SOURCE)
    assert len(entered) >= SHORTEST[flow]
    files = {Path(name.partition(":")[0]) for name in entered}
    assert all((steps.SOURCE / "daypass" / file).is_file() for file in files)
    assert not any(name.endswith((":<module>", "<listcomp>")) for name in entered)


def test_a_flow_that_is_counted_twice_has_the_same_functions() -> None:
    assert steps.functions("token", steps.SOURCE) == steps.functions("token", steps.SOURCE)


def test_a_flow_that_fails_is_no_count(tmp_path: Path) -> None:
    (tmp_path / "daypass").mkdir()
    (tmp_path / "daypass" / "__init__.py").write_text("")
    with pytest.raises(SystemExit, match="token has failed"):
        steps.functions("token", tmp_path)


def test_what_imports_call_and_what_other_packages_do_is_not_counted(tmp_path: Path) -> None:
    package = tmp_path / "daypass"
    package.mkdir()
    (package / "late.py").write_text("def at_import():\n    pass\nat_import()\n")
    (package / "__init__.py").write_text(
        "class Credentials:\n"
        "    @classmethod\n"
        "    def load(cls):\n        from daypass import late\n        return cls()\n"
        "    def token(self):\n"
        "        import json, threading\n"
        "        json.dumps([each for each in (1, 2)])\n"
        "        thread = threading.Thread(target=elsewhere)\n"
        "        thread.start()\n        thread.join()\n"
        "def elsewhere():\n    return (lambda: 1)()\n"
    )
    assert steps.functions("token", tmp_path) == {
        "__init__.py:Credentials.load",
        "__init__.py:Credentials.token",
        "__init__.py:elsewhere",
        "__init__.py:elsewhere.<locals>.<lambda>",
    }


def test_the_command_prints_the_functions_of_each_flow_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        steps, "FLOWS", {"token": lambda source, _: frozenset({f"{source.name}:f"})}
    )
    monkeypatch.setattr("sys.argv", ["steps", "--json"])
    assert steps.main() == 0
    assert json.loads(capsys.readouterr().out) == {"token": ["src:f"]}
