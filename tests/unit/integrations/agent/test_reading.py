"""The agent's config: what it says, and how its mistakes are told."""

from __future__ import annotations

import grp
import os
import pwd
import signal
from pathlib import Path

import pytest
import yaml

from daypass.integrations.agent.config import CommandHook, PostHook, SignalHook
from daypass.integrations.agent.reading import load_config
from daypass.integrations.agent.table import AgentConfigError

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


def write(folder: Path, text: str) -> str:
    """A config file; `{here}` in it is the folder."""
    file = folder / "agent.toml"
    file.write_text(text.replace("{here}", str(folder)))
    file.chmod(0o600)
    return str(file)


def token(more: str = "", path: str = "{here}/a") -> str:
    return f'[[token]]\npath = "{path}"\n{more}\n'


def refusal(folder: Path, text: str) -> tuple[str, str]:
    with pytest.raises(AgentConfigError) as caught:
        load_config(write(folder, text))
    assert caught.value.exit_code == 2
    return caught.value.fact.replace(str(folder), "HERE"), caught.value.hint


def test_a_token_needs_a_path_and_nothing_else(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, token()))
    (made,) = config.tokens
    assert (made.path, made.audience, made.lifetime_seconds) == (f"{tmp_path}/a", None, None)
    assert (made.format, made.layout, made.mode) == ("token", "file", 0o600)
    assert (made.user_id, made.group_id, made.hooks) == (None, None, ())
    assert (config.credentials, config.listen, config.stagger_seconds) == (None, None, 0)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    me, mine = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    config = load_config(
        write(
            tmp_path,
            f"""
credentials = "/etc/daypass/bot.json"
listen = 9465
stagger = "1m"
[[token]]
audience = "gate.example.com"
path = "{{here}}/gate"
lifetime = "1h30m"
format = "header"
layout = "volume"
mode = "0640"
owner = "{me}"
group = "{mine}"
on_renewal = [
  {{ signal = "SIGHUP", pid_file = "/run/x.pid" }},
  {{ command = ["systemctl", "reload", "x"], timeout = "30s" }},
  {{ post = "http://127.0.0.1:9000/reload?x=1" }},
]
""",
        )
    )
    (made,) = config.tokens
    assert config.credentials == "/etc/daypass/bot.json"
    assert config.listen == ("127.0.0.1", 9465)
    assert config.stagger_seconds == 60
    assert (made.lifetime_seconds, made.mode) == (5400, 0o640)
    assert (made.user_id, made.group_id) == (os.geteuid(), os.getegid())
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


@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [
        ("", "names no token", "[[token]]"),
        ("token = []", "names no token", "[[token]]"),
        ("token = 1", "token is not a list", "[[token]]"),
        ("token = [1]", "token 1 is not a table", "path"),
        ("tokens = 1", "'tokens' is not a key here", "did you mean token?"),
        ("x = 1", "'x' is not a key here", "known are: credentials, listen"),
        ("x =", "is not TOML: Invalid value (at end of document)", "path ="),
        ("a = 1\na = 2", "is not TOML: Cannot overwrite a value (at", ""),
        ("x = " + "[" * 5000, "is not TOML: it nests too deeply", ""),
        ("[[token]]", "token 1: path is missing", 'path = "/run'),
        (token(path="gate"), "token 1: path is relative: gate", "whole path"),
        (token(path="{here}/../x"), "token 1: path is not a plain path", "without //"),
        (token(path="{here}//x"), "token 1: path is not a plain path", ""),
        (token(path="{here}/x/"), "token 1: path is not a plain path", ""),
        (token(path="{here}/..data"), "token 1: path is not a plain path", "begin with .."),
        (token(path="/a\\u0000b"), "token 1: path is empty or holds control characters", ""),
        (token(path="{here}/no/x"), "is in a folder that is not there: HERE/no", "mkdir -p"),
        (token(path="{here}/agent.toml/x"), "HERE/agent.toml, which is no folder", ""),
        (token('pth = "x"'), "token 1: 'pth' is not a key here", "did you mean path?"),
        (token("audience = 1"), "token 1: audience is not text in quotes", ""),
        (token('audience = " a"'), "audience begins or ends with a space", ""),
        (token('audience = ""'), "audience is empty", ""),
        (token("mode = 640"), "token 1: mode is not text in quotes", '"0640"'),
        (token('mode = "0644"'), "token 1: mode lets everybody in", '"0640"'),
        (token('mode = "0700"'), "token 1: mode is not one for a token's file", ""),
        (token('mode = "4600"'), "token 1: mode is not one for a token's file", ""),
        (token('mode = "0040"'), "token 1: mode is not one for a token's file", ""),
        (token('mode = "rw"'), "token 1: mode is not an octal number", ""),
        (token('mode = "0698"'), "token 1: mode is not an octal number", ""),
        (token('owner = "nobody-at-all"'), "owner is unknown on this machine", "getent passwd"),
        (token('group = "nobody-at-all"'), "group is unknown on this machine", "getent group"),
        (token("owner = -1"), "owner is neither a name nor a number", ""),
        (token("owner = true"), "owner is neither a name nor a number", ""),
        (token('lifetime = "soon"'), "token 1: lifetime is no length of time", "1h30m"),
        (token("lifetime = 1.5"), "token 1: lifetime is no length of time", ""),
        (token("lifetime = true"), "token 1: lifetime is no length of time", ""),
        (token("lifetime = 60"), "token 1: lifetime is 60 s", "from 600 to"),
        (token('format = "yaml"'), "format cannot be 'yaml'", "one of: token, header, json"),
        (token("on_renewal = [1]"), "token 1: on_renewal 1 is not a table", ""),
        (token("on_renewal = [{}]"), "on_renewal 1 is not one thing to do", "pid_file"),
        (token('on_renewal = [{signal = "HUP"}]'), "is not one thing to do", ""),
        (
            token('on_renewal = [{signal = "HUP", pid_file = "/x", post = "http://x"}]'),
            "is not one thing to do",
            "",
        ),
        (token('on_renewal = [{signal = "KILL", pid_file = "/x"}]'), "is not one that is sent", ""),
        (token('on_renewal = [{signal = "HUP", pid_file = "x"}]'), "pid_file is relative", ""),
        (token('on_renewal = [{command = "reload"}]'), "command is not a list", "no shell"),
        (token("on_renewal = [{command = []}]"), "command is not a list of words", ""),
        (token("on_renewal = [{command = [1]}]"), "command is not a list of words", ""),
        (token('on_renewal = [{command = ["./x"]}]'), "command is relative: ./x", ""),
        (token('on_renewal = [{post = "ftp://x"}]'), "post is no http:// or https:// URL", ""),
        (token('on_renewal = [{post = "http://u:p@x/"}]'), "post is no http:// or https://", ""),
        (token('on_renewal = [{post = "http:///x"}]'), "post names no host and port", ""),
        (token('on_renewal = [{post = "http://[x"}]'), "post is no URL", ""),
        (token('on_renewal = [{post = "http://x", timeout = "1h"}]'), "timeout is 3600 s", "300"),
        (token() + token(), "token 2: path is that of token 1", "a file of its own"),
        (token() + token('layout = "volume"', "{here}/b"), "token 2: layout differs", ""),
        ("listen = 70000\n" + token(), "listen names no port", "127.0.0.1"),
        ('listen = "here:80"\n' + token(), "listen names no address", ""),
        ("listen = true\n" + token(), "listen names no port", ""),
        ('credentials = "bot.json"\n' + token(), "credentials is relative: bot.json", ""),
        ('stagger = "2h"\n' + token(), "stagger is 7200 s", "from 0 to 3600"),
        ("".join(token(path=f"{{here}}/{i}") for i in range(101)), "names 101 tokens", "100"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_to_write(
    tmp_path: Path, text: str, fact: str, hint: str
) -> None:
    told, what_to_do = refusal(tmp_path, text)
    assert told.startswith("HERE/agent.toml")
    assert fact in told
    assert hint in what_to_do
    assert len(told) < 300


def test_an_escape_in_a_key_cannot_steer_the_terminal(tmp_path: Path) -> None:
    told, _ = refusal(tmp_path, '"\\u001b[2J" = 1')
    assert told.isprintable()


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"x" * 1_000_000, "is larger than 262144 bytes"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"\0", "is not TOML"),
    ],
)
def test_a_file_that_is_no_config_is_told(tmp_path: Path, content: bytes, fact: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(content)
    with pytest.raises(AgentConfigError, match=fact):
        load_config(str(file))


@pytest.mark.parametrize(
    ("path", "fact"),
    [
        ("nowhere.toml", "No such file"),
        ("", "Is a directory|not an ordinary file"),
        ("a\0b", "no such name is possible"),
    ],
)
def test_a_config_that_cannot_be_read_is_told(tmp_path: Path, path: str, fact: str) -> None:
    with pytest.raises(AgentConfigError, match=fact):
        load_config(f"{tmp_path}/{path}")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "agent.toml")
    with pytest.raises(AgentConfigError, match="is not an ordinary file"):
        load_config(str(tmp_path / "agent.toml"))


def test_a_config_that_others_may_write_is_refused_as_it_names_commands(tmp_path: Path) -> None:
    file = write(tmp_path, token())
    os.chmod(file, 0o620)
    with pytest.raises(AgentConfigError, match="can be written by others"):
        load_config(file)


@pytest.mark.parametrize("what", ["folder", "link", "fifo"])
def test_what_stands_where_the_file_should_is_not_replaced(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a"
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to("elsewhere")
    else:
        os.mkfifo(path)
    told, _ = refusal(tmp_path, token())
    words = {"folder": "is a folder", "link": "is a symbolic link", "fifo": "not an ordinary file"}
    assert words[what] in told


def test_one_file_by_two_names_is_found(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "other").symlink_to("real")
    told, _ = refusal(tmp_path, token(path="{here}/real/a") + token(path="{here}/other/a"))
    assert "path is that of token 1" in told


def test_a_folder_that_cannot_be_written_is_told_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    told, hint = refusal(tmp_path, token())
    assert "which this user may not write to" in told
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
