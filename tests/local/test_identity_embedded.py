"""A bot gets access in three commands, on a machine with nothing but `daypass up`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from daypass.local.stack import AUDIENCE, HOST
from local.up_embedded import admin_of, at_the_gate, fixed_config, passed_by_the_gate
from support.deadline import eventually
from support.messages import check
from support.output_schema import mistakes_in
from support.programs import DAYPASS, output_of, run
from support.terminal import Terminal
from support.up import Up


def daypass(
    up: Up, *arguments: str, code: int = 0, credentials: Path | None = None
) -> tuple[str, str]:
    """Run a command as the administrator in the config's folder; return stdout and stderr."""
    environment = {
        "XDG_STATE_HOME": str(up.folder / "state"),
        "XDG_CACHE_HOME": str(up.folder / "cache"),
        "KUBECONFIG": str(up.ready["kubeconfig"]),
        **({"DAYPASS_CREDENTIALS": str(credentials)} if credentials else {}),
    }
    done = run(*DAYPASS, *arguments, folder=up.folder, environment=environment)
    assert done.returncode == code, done.stderr
    assert mistakes_in(arguments, code, done.stdout) == ""
    return done.stdout, done.stderr


ASK = """
import daypass, os, urllib.error, urllib.request

headers = daypass.Credentials.load().headers()
request = urllib.request.Request(os.environ["GATE"] + "/hello", headers=headers)
while True:
    try:
        print(urllib.request.urlopen(request).read().decode())
        break
    except urllib.error.HTTPError as error:
        if error.headers["daypass-reason"] != "unknown-credential":
            raise
"""
"""Calls the gate, again while it does not know the new credential yet."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path, fixed_config()) as up:
        yield up


def test_another_terminal_needs_two_lines_and_no_certificate_authority(tmp_path: Path) -> None:
    state = tmp_path / "somewhere else"
    with Up(tmp_path, fixed_config(), arguments=["--state", str(state)]) as up:
        up.wait_for_words("for another terminal:")
        lines = "\n".join(each for each in up.words.splitlines() if "export " in each)
        script = f"""{lines}
            daypass identity create bot
            export DAYPASS_CREDENTIALS=bot.json SSL_CERT_FILE="$AUTHORITY"
            {sys.executable} -c {shlex.quote(ASK)}
            daypass verify --credentials bot.json
            daypass verify --certificate-authority {shlex.quote(str(state / "authority.crt"))}
        """
        assert "kubeflow-userid" in output_of("sh", "-e", given=script, folder=tmp_path)
        bot = json.loads((tmp_path / "bot.json").read_text())
        assert bot["certificateAuthority"] == (state / "authority.crt").read_text()


def test_a_bot_gets_access_and_loses_it_again(up: Up, tmp_path: Path) -> None:
    # The three commands: door, authority and audience are found in daypass.yaml.
    _, words = daypass(up, "identity", "create", "bot", "-n", "default")
    bot = tmp_path / "bot.json"
    token, _ = daypass(up, "token", credentials=bot)
    answer = passed_by_the_gate(up, Secret(token.strip()))
    assert answer.json["headers"]["kubeflow-userid"] == "system:serviceaccount:default:bot"

    document = json.loads((tmp_path / "bot.json").read_text())
    assert document["door"] == f"https://{HOST}:{up.port}/kubernetes"
    assert document["audience"] == AUDIENCE
    assert document["certificateAuthority"] == up.authority_file.read_text()
    assert document["token"] not in words
    assert "policy" not in words  # `up` has said that there is none
    assert "kubectl" not in words
    for target in ([], [up.door, "--certificate-authority", str(up.authority_file)]):
        found, _ = daypass(up, "verify", *target, "--credentials", "bot.json", "-o", "json")
        ((policy,),) = (
            [each for each in findings if each["check"] == "policy"]
            for findings in json.loads(found)["domains"].values()
        )
        assert policy["level"] == "warning"
        assert "daypass policy" not in policy["hint"]
    summary, rotating = daypass(
        up, "identity", "rotate", "bot", "-n", "default", "--output", "json"
    )
    rotated = json.loads((tmp_path / "bot.json").read_text())["token"]
    assert rotated != document["token"]
    (done,) = json.loads(summary)["identities"]
    assert len(done["deleted"]) == 1
    assert daypass(up, "token", credentials=bot)[0] != token

    _, revoking = daypass(up, "identity", "revoke", "bot", "-n", "default", "--yes", code=3)
    gone, deleting = daypass(up, "identity", "delete", "bot", "-n", "default", "--yes")
    server = json.loads(Path(str(up.ready["kubeconfig"])).read_text())["clusters"][0]["cluster"]
    for said in (words, rotating, revoking, deleting):
        assert f"default/bot {'is ready ' if said is words else ''}at {server['server']}" in said
    assert gone.splitlines()[-1] == "deleted serviceaccounts/bot in default"
    assert "see all: daypass identity list -A" in daypass(up, "identity", "list")[1]
    _, words = daypass(up, "token", "--no-cache", code=1, credentials=bot)
    assert "Traceback" not in words


def named(words: str, *begin: str) -> list[str]:
    """The arguments of the one command in `words` that begins like this."""
    (line,) = re.findall(rf"`daypass ({re.escape(shlex.join(begin))}[^`]*)`", words)
    return shlex.split(line)


def test_commands_named_by_refusals_lead_to_an_accepted_token(up: Up, tmp_path: Path) -> None:
    _, words = daypass(up, "identity", "create", "bot", "-n", "default")
    assert "kubectl" not in words
    bot = tmp_path / "bot.json"

    def passes(*arguments: str) -> Secret:
        token = Secret(daypass(up, *arguments, credentials=bot)[0].strip())
        passed_by_the_gate(up, token)
        return token

    token = passes(*named(words, "token"))

    other = Secret(daypass(up, "token", "--audience", "other", credentials=bot)[0].strip())
    passes(*named(at_the_gate(up, other).json["message"], "token"))

    (tmp_path / "stolen").write_text(token.reveal())
    _, words = daypass(up, "gate", "deny", "--token-file", "stolen")
    assert "kubectl" not in words
    eventually("it is denied", lambda: at_the_gate(up, token).code == 401)
    daypass(up, *named(at_the_gate(up, token).json["message"], "token"), credentials=bot)
    passes("token")

    # As within ten seconds of `identity delete`, while its token is still remembered.
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
    admin_of(up).delete(f"{roles}/bot-daypass-token")
    _, words = daypass(up, "token", "--no-cache", code=1, credentials=bot)
    check(words, reason="failed")
    daypass(up, *named(words, "identity"))
    passes("token", "--no-cache")


def test_at_a_terminal_nothing_is_removed_without_a_yes(up: Up, tmp_path: Path) -> None:
    daypass(up, "identity", "create", "bot", "-n", "default")
    environment = {"KUBECONFIG": str(up.ready["kubeconfig"])}
    for answer, code, left in ((b"\n", 1, 1), (b"y\n", 0, 0)):
        with Terminal("identity", "delete", "bot", env=environment, cwd=tmp_path) as typed:
            typed.wait_for("[y/N]")
            typed.type(answer)
            assert typed.wait() == code
        found, _ = daypass(up, "identity", "list", "-n", "default", "-o", "json")
        assert len(json.loads(found)["identities"]) == left
