"""Bad input: each command ends soon, with one message in plain English and the next step.

A row is a line as a user types it. It runs in a shell, in a process of its own, in a folder with
the files of `here`. Nothing secret of these files may be printed, and never a traceback.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.deploy.certificate_authority import Authority
from daypass.local.api_backend import EmbeddedApiServer
from support.fake_door import credentials_document, long_lived_token
from support.messages import check

PASSWORD = "sesame-open-sesame"
SECRETS = (PASSWORD, *long_lived_token().split(".")[1:])
SECONDS = 60
"""Ten times what a command takes on a busy machine."""

CONFIG = """
version: 1
cluster: {issuer: "https://kubernetes.default.svc"}
domains: {ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}}
policy: {audiences: [gate]}
gates: {default: {audience: gate, hosts: [ekf.example.com]}}
gatePods: {image: "r.example.com/daypass:1"}
"""
ONE_MACHINE = """
version: 1
domains: {here: {host: localhost, front: envoy}}
local: {door: 127.0.0.1:0}
"""
NOWHERE = {
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {"token": PASSWORD}}],
    "current-context": "c",
}
BROKEN = f"apiVersion: v1\nusers: [{{token: {PASSWORD}\n  clusters:\n"
MAIN = "import sys\nfrom daypass.cli import main\nsys.exit(main())"
WITHOUT_EXTRAS = """
import sys
for name in ("cryptography", "envoy", "grpc", "httpx2", "pydantic", "yaml"):
    sys.modules[name] = None
"""
WITHOUT_ENVOY = "import sys\nsys.modules['envoy'] = None\n"

Row = tuple[int, str]
"""The exit code, and what the message names."""

TYPOS: dict[str, Row] = {
    "daypass tokn": (2, "`daypass token`"),
    "daypass identity lst": (2, "`daypass identity list`"),
    "daypass token --audence x": (2, "`--audience`"),
    "daypass token --lifetime abc": (2, "--lifetime: 'abc'"),
    "daypass verify efk": (2, "it has: ekf"),
    "daypass identity show bto": (1, "daypass identity list -A"),
    "sed -i s/domains/domain/ daypass.yaml; daypass render": (2, "did you mean domains?"),
    "sed -i s/door/dor/ bot.json; daypass token --credentials bot.json": (2, "did you mean door?"),
}
UNUSABLE: dict[str, Row] = {
    "daypass token --credentials absent": (2, "absent"),
    "daypass token --credentials folder": (2, "folder"),
    "daypass token --credentials huge": (2, "huge"),
    "daypass run --credentials empty -- true": (2, "empty"),
    "daypass render --config binary": (2, "binary"),
    "daypass render --config folder": (2, "folder"),
    "daypass identity list --kubeconfig absent": (2, "absent"),
    "KUBECONFIG=binary daypass identity list": (2, "binary"),
    "daypass gate explain --host ekf.example.com --token-file binary": (2, "binary"),
    "daypass gate explain --host ekf.example.com --token-file token --keys empty": (2, "empty"),
    "daypass verify https://127.0.0.1:9/k --certificate-authority binary": (2, "binary"),
}
MIXED_UP: dict[str, Row] = {
    "daypass identity list --kubeconfig bot.json": (2, "credentials file"),
    "daypass token --credentials broken": (2, "daypass identity create"),
    "daypass agent --config bot.json": (2, "bot.json"),
    "chmod 644 bot.json; daypass token --credentials bot.json": (2, "chmod 600 bot.json"),
    "chmod 666 agent.toml; daypass agent --config agent.toml": (2, "agent.toml"),
    "mkdir -m 777 state; daypass up --config one.yaml --state state": (2, "chmod 700 state"),
    "daypass up --config one.yaml --state bot.json": (2, "--state: bot.json is not a folder"),
    "daypass up --config one.yaml --kubeconfig absent": (2, "apiServer: external"),
    "KUBECONFIG=nowhere daypass identity list": (1, "https://127.0.0.1:9"),
    "daypass token --credentials bot.json": (1, "127.0.0.1:9"),
    "sed -i s,https:.*:9,http${API#https}, bot.json; daypass token --credentials bot.json": (
        1,
        "does the port speak TLS?",
    ),
    "daypass trace team/bot absent": (1, "absent cannot be read"),
    "daypass trace team/bot - <&-": (1, "stdin cannot be read"),
    "daypass render --directory daypass.yaml": (1, "daypass.yaml"),
}
STREAMS: dict[str, Row] = {
    "daypass --help >/dev/full": (1, "No space left on device"),
    "daypass render >&-": (1, "stdout is closed"),
    "daypass gate explain --host ekf.example.com --token-file - <&-": (2, "stdin"),
}
PLACES: dict[str, Row] = {
    "cd gone; rmdir ../gone; daypass token --credentials bot.json": (1, "current folder"),
    "daypass token --audience $'a\\xff' --credentials bot.json": (2, "audience"),
    "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 daypass render --config müller.yaml": (2, "ller"),
    "DAYPASS_ENVOY=/absent daypass up --config one.yaml --state state": (1, "/absent"),
}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an API server that has one identity, default/bot."""
    folder = tmp_path_factory.mktemp("api")
    authority = Authority.create("tests", SYSTEM_CLOCK)
    backend = EmbeddedApiServer(authority, folder, SYSTEM_CLOCK)
    file = folder / "kubeconfig"
    cluster = {
        "server": backend.server.url,
        "certificate-authority": str(folder / "api-server-authority.crt"),
    }
    user = {"token": backend.server.admin_token.reveal()}
    document = {
        **NOWHERE,
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(json.dumps(document))
    try:
        yield file
    finally:
        backend.stop()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with good and bad files."""
    folder = tmp_path / "here"
    for name in ("folder", "gone", "home"):
        (folder / name).mkdir(parents=True)
    credentials = json.dumps(credentials_document("https://127.0.0.1:9/kubernetes"))
    files: dict[str, str | bytes] = {
        "agent.toml": f'[[token]]\npath = "{folder}/kept"\n',
        "binary": b"\x7fELF\0\xff\xfe\x80" + PASSWORD.encode() * 20,
        "bot.json": credentials,
        "broken": BROKEN,
        "daypass.yaml": CONFIG,
        "empty": "",
        "huge": "",
        "nowhere": json.dumps(NOWHERE),
        "one.yaml": ONE_MACHINE,
        "token": long_lived_token(),
    }
    for name, content in files.items():
        file = folder / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(0o600)
    os.truncate(folder / "huge", 1 << 40)  # with holes: it takes no space
    return folder


def run(
    line: str, here: Path, before: str = "", main: str = MAIN, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell. `before`: Python to run before daypass."""
    environment = environment_of(here, PYTHON=sys.executable, MAIN=before + main, **variables)
    return subprocess.run(
        ["bash", "-c", f'daypass() {{ "$PYTHON" -c "$MAIN" "$@"; }}\n{line}'],
        cwd=here, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
    )  # fmt: skip


def environment_of(here: Path, **variables: str) -> dict[str, str]:
    home = str(here / "home")
    return {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", **variables}


def assert_message(
    done: subprocess.CompletedProcess[str], code: int, named: str, reason: str | None = None
) -> None:
    """Fail unless a process has ended with this code and one message, which names this."""
    said = done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said + done.stdout
    assert "has a bug" not in said
    assert [secret for secret in SECRETS if secret in said + done.stdout] == []
    assert done.stdout == ""
    messages = [line for line in said.splitlines() if line.startswith("daypass: ")]
    messages = [line for line in messages if not line.startswith("daypass: note: ")]
    assert len(messages) == 1, said
    assert "\n  " in said or "; " in said, f"no next step: {said}"
    check(said, named, reason=reason or ("usage" if code == 2 else "failed"))


def ids(lines: Mapping[str, Row]) -> list[str]:
    return [re.sub(r"[^\x20-\x7e]|\\", "?", line) for line in lines]


ROWS = {**TYPOS, **UNUSABLE, **MIXED_UP, **STREAMS, **PLACES}


@pytest.mark.parametrize(("line", "row"), ROWS.items(), ids=ids(ROWS))
def test_a_mistake_ends_with_one_message_and_the_next_step(
    line: str, row: Row, here: Path, kubeconfig: Path
) -> None:
    (cluster,) = json.loads(kubeconfig.read_text())["clusters"]
    variables = {"KUBECONFIG": str(kubeconfig), "API": cluster["cluster"]["server"]}
    assert_message(run(line, here, **variables), *row)


@pytest.mark.parametrize("line", ["render", "identity list", "demo", "gate serve"])
def test_a_command_names_the_extra_that_it_needs(line: str, here: Path) -> None:
    (here / "daypass.yaml").write_text("version: 1\n")
    done = run(f"daypass {line}", here, WITHOUT_EXTRAS)
    assert_message(done, 2, "to install them: ", "missing-extra")


def test_a_machine_without_envoy_is_told_how_to_get_one(here: Path) -> None:
    done = run(f"PATH={here} daypass up --config one.yaml --state state", here, WITHOUT_ENVOY)
    assert_message(done, 1, "DAYPASS_ENVOY")


def test_a_closed_pipe_exits_with_1_and_prints_nothing(here: Path) -> None:
    done = run("exec 9> >(:); wait $!; daypass --help >&9", here)
    assert (done.returncode, done.stderr) == (1, "")
