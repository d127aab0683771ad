"""The agent's config, and how its mistakes are reported."""

from __future__ import annotations

import grp
import os
import pwd
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from daypass.agent.config import AgentConfigError, CommandHook, PostHook, SignalHook, load_config
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


def test_a_token_requires_only_a_path(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, token()))
    (made,) = config.tokens
    assert (made.path, made.audience, made.lifetime_seconds) == (f"{tmp_path}/a", None, None)
    assert (made.format, made.layout, made.mode) == ("token", "file", 0o600)
    assert (made.owner, made.hooks) == ((-1, -1), ())
    assert (config.credentials, config.listen, config.stagger_seconds) == (None, None, 0)


EVERY_KEY = """
credentials = "/etc/daypass/bot.json"
listen = 9465
stagger = "1m"
[[token]]
audience = "gate.example.com"
path = "{here}/gate"
lifetime = "1h30m"
format = "header"
layout = "volume"
mode = "0640"
owner = "OWNER"
group = "GROUP"
on_renewal = [
  { signal = "SIGHUP", pid_file = "/run/x.pid" },
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
    assert config.stagger_seconds == 60
    assert (made.lifetime_seconds, made.mode) == (5400, 0o640)
    assert made.owner == (os.geteuid(), os.getegid())
    assert made.hooks == (
        SignalHook(number=signal.SIGHUP, pid_file="/run/x.pid"),
        CommandHook(command=("systemctl", "reload", "x"), timeout_seconds=30),
        PostHook(url="http://127.0.0.1:9000/reload?x=1", timeout_seconds=10),
    )


@pytest.mark.parametrize(
    ("value", "listen"),
    [
        ("0", ("127.0.0.1", 0)),
        ('"0.0.0.0:80"', ("0.0.0.0", 80)),  # noqa: S104 - only read, never listened on
        ('"[::1]:9465"', ("::1", 9465)),
    ],
)
def test_health_is_on_loopback_unless_an_address_is_named(
    tmp_path: Path, value: str, listen: tuple[str, int]
) -> None:
    assert load_config(write(tmp_path, f"listen = {value}\n" + token())).listen == listen


MISTAKES = [
    ("no tokens", "", "", "[[token]]"),
    ("empty list", "token = []", "", "[[token]]"),
    ("tokens a number", "token = 1", "token", "[[token]]"),
    ("token a number", "token = [1]", "token 1", "path"),
    ("tokens", "tokens = 1", "'tokens'", "token?"),
    ("unknown key", "x = 1", "'x'", "credentials, listen"),
    ("no value", "x =", r"TOML: Invalid value \(at end of document\)", "path ="),
    ("key twice", "a = 1\na = 2", r"TOML: Cannot overwrite a value \(at", ""),
    ("nested", "x = " + "[" * 5000, "TOML", ""),
    ("no path", "[[token]]", "token 1: path", 'path = "/run'),
    ("relative path", token(path="gate"), "token 1: path .*: gate$", ""),
    ("path with ..", token(path="{here}/../x"), "token 1: path", "//"),
    ("path with //", token(path="{here}//x"), "token 1: path", ""),
    ("path with / at the end", token(path="{here}/x/"), "token 1: path", ""),
    ("path of ..data", token(path="{here}/..data"), "token 1: path", ".."),
    ("path with NUL", token(path="/a\\u0000b"), "token 1: path", ""),
    ("absent folder", token(path="{here}/no/x"), "1: path .*: HERE/no .No such file", "mkdir -p"),
    ("file as a folder", token(path="{here}/agent.toml/x"), "HERE/agent.toml", ""),
    ("pth", token('pth = "x"'), "token 1: 'pth'", "path?"),
    ("audience a number", token("audience = 1"), "token 1: audience", ""),
    ("audience with a space", token('audience = " a"'), "token 1: audience", ""),
    ("empty audience", token('audience = ""'), "token 1: audience", ""),
    ("mode a number", token("mode = 640"), "token 1: mode", '"0640"'),
    ("mode 0644", token('mode = "0644"'), "token 1: mode", '"0640"'),
    ("mode 0700", token('mode = "0700"'), "token 1: mode", ""),
    ("mode 4600", token('mode = "4600"'), "token 1: mode", ""),
    ("mode 0040", token('mode = "0040"'), "token 1: mode", ""),
    ("mode rw", token('mode = "rw"'), "token 1: mode", ""),
    ("mode 0698", token('mode = "0698"'), "token 1: mode", ""),
    ("unknown owner", token('owner = "nobody-at-all"'), "token 1: owner", "getent passwd"),
    ("unknown group", token('group = "nobody-at-all"'), "token 1: group", "getent group"),
    ("negative owner", token("owner = -1"), "token 1: owner", ""),
    ("owner true", token("owner = true"), "token 1: owner", ""),
    ("lifetime soon", token('lifetime = "soon"'), "token 1: lifetime", "1h30m"),
    ("lifetime 1.5", token("lifetime = 1.5"), "token 1: lifetime", ""),
    ("lifetime true", token("lifetime = true"), "token 1: lifetime", ""),
    ("lifetime 60", token("lifetime = 60"), "token 1: lifetime .*60 s", "from 600 to"),
    ("format yaml", token('format = "yaml"'), "token 1: format .*'yaml'", "token, header, json"),
    *(
        (name, token(f"on_renewal = [{hook}]"), f"token 1: on_renewal 1{key}", hint)
        for name, hook, key, hint in [
            ("hook a number", "1", "", ""),
            ("empty hook", "{}", "", "pid_file"),
            ("signal without a file", '{signal = "HUP"}', "", ""),
            ("two hooks in one", '{signal = "HUP", pid_file = "/x", post = "http://x"}', "", ""),
            ("signal KILL", '{signal = "KILL", pid_file = "/x"}', ": signal", ""),
            ("relative pid_file", '{signal = "HUP", pid_file = "x"}', ": pid_file", ""),
            ("command a string", '{command = "reload"}', ": command", "no shell"),
            ("empty command", "{command = []}", ": command", ""),
            ("command of numbers", "{command = [1]}", ": command", ""),
            ("relative command", '{command = ["./x"]}', ": command .*: ./x$", ""),
            ("post by ftp", '{post = "ftp://x"}', ": post", ""),
            ("post with a user", '{post = "http://u:p@x/"}', ": post", ""),
            ("post without a host", '{post = "http:///x"}', ": post", ""),
            ("post to no URL", '{post = "http://[x"}', ": post", ""),
            ("long timeout", '{post = "http://x", timeout = "1h"}', ": timeout .*3600 s", "300"),
        ]
    ),
    ("path twice", token() + token(), "token 2: path", ""),
    ("two layouts", token() + token('layout = "volume"', "{here}/b"), "token 2: layout", ""),
    ("port 70000", "listen = 70000\n" + token(), "listen", "127.0.0.1"),
    ("listen here", 'listen = "here:80"\n' + token(), "listen", ""),
    ("listen true", "listen = true\n" + token(), "listen", ""),
    ("relative credentials", 'credentials = "b"\n' + token(), "credentials .*: b$", ""),
    ("long stagger", 'stagger = "2h"\n' + token(), "stagger .*7200 s", "from 0 to 3600"),
    ("101 tokens", "".join(token(path=f"{{here}}/{i}") for i in range(101)), "101", "100"),
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


def test_an_escape_sequence_in_a_key_is_not_printed(tmp_path: Path) -> None:
    message, _ = refusal(tmp_path, '"\\u001b[2J" = 1')
    assert message.isprintable()


CONTENTS = {
    "large": (b"x" * 1_000_000, "262144 bytes"),
    "not UTF-8": (b"\xff\xfe", "UTF-8"),
    "NUL": (b"\0", "TOML"),
}


@pytest.mark.parametrize(("content", "expected"), CONTENTS.values(), ids=CONTENTS)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(content)
    with raises(AgentConfigError, match=expected):
        load_config(str(file))


def test_a_config_that_others_can_write_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, token())
    Path(file).chmod(0o620)
    with raises(AgentConfigError, match=file):
        load_config(file)


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("elsewhere"),
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("what", ["absent", "folder", "pipe"])
def test_a_config_that_is_no_file_is_refused_without_blocking(tmp_path: Path, what: str) -> None:
    REPLACEMENTS[what](tmp_path / "agent.toml")
    with raises(AgentConfigError, match=f"{tmp_path}/agent.toml"):
        load_config(f"{tmp_path}/agent.toml")


def test_a_nul_in_the_path_of_the_config_is_refused() -> None:
    with raises(AgentConfigError, match="a\0b"):
        load_config("/a\0b")


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_a_folder_link_or_pipe_in_place_of_the_token_file_is_refused(
    tmp_path: Path, what: str
) -> None:
    REPLACEMENTS[what](tmp_path / "a")
    message, _ = refusal(tmp_path, token())
    assert "token 1: path" in message


def test_one_file_by_two_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "other").symlink_to("real")
    message, _ = refusal(tmp_path, token(path="{here}/real/a") + token(path="{here}/other/a"))
    assert "token 2: path" in message


def test_an_unwritable_folder_is_refused_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    message, hint = refusal(tmp_path, token())
    assert "token 1: path" in message
    assert "chown" in hint


def test_the_examples_are_configs(tmp_path: Path) -> None:
    mine = grp.getgrgid(os.getegid()).gr_name
    text = (EXAMPLES / "agent.toml").read_text().replace("www-data", mine)
    config = load_config(write(tmp_path, text.replace("/run/daypass/", "{here}/")))
    assert [token.format for token in config.tokens] == ["token", "header"]
    documents = yaml.safe_load_all((EXAMPLES / "agent-sidecar.yaml").read_text())
    text = next(documents)["data"]["agent.toml"]
    (token,) = load_config(write(tmp_path, text.replace("/var/run/daypass", "{here}"))).tokens
    assert (token.layout, token.mode) == ("volume", 0o440)
