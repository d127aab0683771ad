"""The agent's config, and how its mistakes are reported."""

from __future__ import annotations

import grp
import os
import pwd
import re
from pathlib import Path

import pytest
import yaml

from daypass.agent.config import AgentConfigError, CommandHook, PostHook, load_config
from support.messages import raises

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def write(folder: Path, text: str) -> str:
    """A config file; `{here}` in it is the folder."""
    file = folder / "agent.toml"
    file.write_text(text.replace("{here}", str(folder)))
    file.chmod(0o600)
    return str(file)


def token(more: str = "", path: str = "{here}/a") -> str:
    return f'[[token]]\npath = "{path}"\n{more}\n'


def refusal(folder: Path, text: str) -> tuple[str, str]:
    with raises(AgentConfigError) as caught:
        load_config(write(folder, text))
    assert caught.value.exit_code == 2
    return caught.value.fact.replace(str(folder), "HERE"), caught.value.hint


EVERY_KEY = """
credentials = "/etc/daypass/bot.json"
listen = 9465
[[token]]
audience = "gate.example.com"
path = "{here}/gate"
lifetime = "1h30m"
format = "header"
mode = "0640"
owner = "OWNER"
group = "GROUP"
on_renewal = [
  { command = ["systemctl", "reload", "x"], timeout = "30s" },
  { post = "http://127.0.0.1:9000/reload?x=1" },
]
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    me, mine = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    text = EVERY_KEY.replace("OWNER", me).replace("GROUP", mine)
    config = load_config(write(tmp_path, text))
    (made,) = config.tokens
    assert config.credentials == "/etc/daypass/bot.json"
    assert config.listen == ("127.0.0.1", 9465)
    assert (made.lifetime_seconds, made.mode) == (5400, 0o640)
    assert made.owner == (os.geteuid(), os.getegid())
    assert made.hooks == (
        CommandHook(command=("systemctl", "reload", "x"), timeout_seconds=30),
        PostHook(url="http://127.0.0.1:9000/reload?x=1", timeout_seconds=10),
    )


MISTAKES = [
    ("no tokens", "", "", "[[token]]"),
    ("unknown key", "tokens = 1", "'tokens'", "token?"),
    ("no TOML", "x =", "TOML: Invalid value", "path ="),
    ("no path", "[[token]]", "token 1: path", 'path = "/run'),
    ("absent folder", token(path="{here}/no/x"), "1: path .*: HERE/no$", "mkdir -p"),
    ("audience with a space", token('audience = " a"'), "token 1: audience", ""),
    ("mode 0644", token('mode = "0644"'), "token 1: mode", '"0640"'),
    ("lifetime soon", token('lifetime = "soon"'), "token 1: lifetime", "1h30m"),
    ("format yaml", token('format = "yaml"'), "token 1: format .*'yaml'", "token, header, json"),
    ("empty hook", token("on_renewal = [{}]"), "token 1: on_renewal 1", "command"),
    ("port 70000", "listen = 70000\n" + token(), "listen", "127.0.0.1"),
    ("relative credentials", 'credentials = "b"\n' + token(), "credentials .*: b$", ""),
]
"""A name, a config, a pattern for its key and value, and what the hint names."""


@pytest.mark.parametrize(
    ("text", "key", "hint"), [pytest.param(*case, id=name) for name, *case in MISTAKES]
)
def test_a_mistake_is_reported_with_its_key_and_a_hint(
    tmp_path: Path, text: str, key: str, hint: str
) -> None:
    message, advice = refusal(tmp_path, text)
    assert message.startswith("HERE/agent.toml")
    assert re.search(key, message)
    assert hint in advice
    assert len(message) < 300


def test_the_examples_are_configs(tmp_path: Path) -> None:
    mine = grp.getgrgid(os.getegid()).gr_name
    text = (EXAMPLES / "agent.toml").read_text().replace("www-data", mine)
    config = load_config(write(tmp_path, text.replace("/run/daypass/", "{here}/")))
    assert [token.format for token in config.tokens] == ["token", "header"]
    documents = yaml.safe_load_all((EXAMPLES / "agent-sidecar.yaml").read_text())
    text = next(documents)["data"]["agent.toml"]
    (token,) = load_config(write(tmp_path, text.replace("/var/run/daypass", "{here}"))).tokens
    assert token.mode == 0o440
