"""`daypass init`: a config that is valid, and options that make none."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from daypass.cli import main
from daypass.config import load
from support.messages import check

WORDS = ("--host", "ekf.example.com", "--front", "ingress-nginx", "--tls", "secret:ekf-tls")


def test_the_config_is_as_the_options_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    assert main(["init", str(folder), *WORDS, "--audience", "gate.example.com"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    check(err, "daypass apply", "ingress-nginx.md", reason="next")
    config = load(folder / "daypass.yaml")
    assert {name: each.host for name, each in config.domains.items()} == {"ekf": "ekf.example.com"}
    assert config.policy is not None
    assert config.policy.audiences == ("gate.example.com",)
    assert main(["render", "--config", str(folder / "daypass.yaml")]) == 0


def test_the_commented_sections_are_valid(tmp_path: Path) -> None:
    words = ["--host", "a.example.com", "--front", "istio", "--gateway", "kubeflow/public"]
    assert main(["init", str(tmp_path), *words]) == 0
    file = tmp_path / "daypass.yaml"
    assert load(file).policy is None
    head, sections = file.read_text().split("# policy:", 1)
    file.write_text(head + "policy:" + sections.replace("#   ", "  ").replace("# gates:", "gates:"))
    config = load(file)
    assert config.policy is not None
    assert config.gates["default"].audience == "YOUR-AUDIENCE"


MISTAKES = {
    "": "--host",
    "--host a.example.com": "--front",
    "--host a.example.com --front istio": "--tls",
    "--host https://a.example.com --front istio --tls outside": "'https://a.example.com'",
    "--host a.example.com --front istio --tls outside --commit": "--adopt",
    "--host a.example.com --adopt hosts": "--ekf-host",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_options_that_make_no_config_are_usage_errors(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path), *shlex.split(line)]) == 2
    check(capsys.readouterr().err, MISTAKES[line], reason="usage")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_config_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "daypass.yaml").write_text("mine\n")
    assert main(["init", str(tmp_path), *WORDS]) == 2
    check(capsys.readouterr().err, "daypass.yaml", reason="usage")
    assert (tmp_path / "daypass.yaml").read_text() == "mine\n"
