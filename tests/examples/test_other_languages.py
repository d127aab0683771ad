"""The examples in Go, Node and Java at a real gate, with the token file that daypass keeps fresh.

`.ci/setup` installs Java and Node; Go is one of the development environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tools.gobuild import go_environment, go_program

import daypass.testing
from daypass._core.secret import Secret
from daypass.local.stack import LocalStack, MadeIdentity
from integrations.service import Said, Seen, Service, running_service
from support.deadline import eventually
from support.examples import EXAMPLES
from support.raw import bearer, connect, exchange, get

LANGUAGES = ("go", "node", "java")
DAYPASS = (sys.executable, "-m", "daypass")
RUN_FILE = (*DAYPASS, "run", "--file", "--")
Run = Callable[..., subprocess.Popen[str]]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DAYPASS_")}
TRUST = "keytool -importcert -noprompt -file authority.crt -keystore trusted.p12 -storepass trusted"
TRUSTED = "-Djavax.net.ssl.trustStore=trusted.p12 -Djavax.net.ssl.trustStorePassword=trusted"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """What the gate guards."""
    with running_service(None) as running:
        yield running


@pytest.fixture(scope="module")
def stack(service: Service) -> Iterator[LocalStack]:
    with daypass.testing.stack(upstream=service.origin) as running:
        yield running


@pytest.fixture
def identity(stack: LocalStack, service: Service) -> MadeIdentity:
    service.seen.clear()
    service.answer = lambda _: Said()
    return stack.make_identity("team", "bot")


@pytest.fixture(scope="module")
def folder(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs run: it has the gate's authority."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "authority.crt").write_text(stack.authority_file.read_text())
    subprocess.run(TRUST.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def programs(folder: Path) -> dict[str, list[str]]:
    build = [go_program(), "build", "-o", str(folder / "with_go"), "."]
    subprocess.run(build, cwd=EXAMPLES / "with_go", env=go_environment(), check=True, timeout=300)
    return {
        "go": [str(folder / "with_go")],
        "node": ["node", str(EXAMPLES / "with_node.mjs")],
        "java": ["java", *TRUSTED.split(), str(EXAMPLES / "WithJava.java")],
    }


@pytest.fixture
def run(folder: Path, programs: dict[str, list[str]]) -> Iterator[Run]:
    """Starts the program of a language with these URLs and variables."""
    trust = {"SSL_CERT_FILE": "authority.crt", "NODE_EXTRA_CA_CERTS": "authority.crt"}
    with ExitStack() as started:

        def start(
            language: str, *urls: str, before: Sequence[str] = (), **variables: str
        ) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [*before, *programs[language], *urls],
                cwd=folder, env={**CLEAN, **trust, **variables},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_passes_the_gate(
    language: str, run: Run, stack: LocalStack, identity: MadeIdentity, service: Service
) -> None:
    started = run(
        language, f"{stack.gate}/x", before=RUN_FILE,
        DAYPASS_CREDENTIALS=str(identity.credentials_file),
    )  # fmt: skip
    assert started.communicate(timeout=60)[0] == "200 ok\n"
    (seen,) = service.seen
    assert seen.headers["kubeflow-userid"] == identity.user


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_shows_why_it_is_refused(
    language: str, run: Run, stack: LocalStack, identity: MadeIdentity, service: Service
) -> None:
    started = run(
        language, f"{stack.gate}/x", before=[*RUN_FILE[:-1], "--audience", "elsewhere", "--"],
        DAYPASS_CREDENTIALS=str(identity.credentials_file),
    )  # fmt: skip
    printed, _ = started.communicate(timeout=60)
    code, _, body = printed.partition(" ")
    assert code == "403"
    assert "another audience" in json.loads(body)["message"]
    assert service.seen == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_goes_on_when_its_first_token_has_ended(
    language: str, run: Run, stack: LocalStack, identity: MadeIdentity, service: Service,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The agent gets other credentials, and those of the first token are revoked."""
    may_end = threading.Event()

    def answer(seen: Seen) -> Said:
        assert seen.path != "/first" or may_end.wait(60)
        return Said()

    service.answer = answer
    successor = stack.make_identity("team", "successor")
    with agent(identity.credentials_file, tmp_path) as file:
        first = Secret(file.read_text())
        started = run(
            language, f"{stack.gate}/first", f"{stack.gate}/second",
            DAYPASS_ACCESS_TOKEN_FILE=str(file),
        )  # fmt: skip
        eventually("the first request has passed the gate", lambda: service.seen)
        successor.credentials_file.replace(identity.credentials_file)
        eventually("the file has a new token", lambda: file.read_text() != first.reveal())
        stack.revoke(identity)
        eventually("the gate refuses the first token", lambda: refused(stack, first))
        may_end.set()
        assert started.communicate(timeout=60)[0] == "200 ok\n200 ok\n"
    users = {seen.path: seen.headers["kubeflow-userid"] for seen in service.seen}
    assert (users["/first"], users["/second"]) == (identity.user, successor.user)


@contextmanager
def agent(credentials: Path, folder: Path) -> Iterator[Path]:
    """The agent of these credentials keeps this file fresh."""
    file, config = folder / "gate.token", folder / "agent.toml"
    config.write_text(f'credentials = "{credentials}"\n[[token]]\npath = "{file}"\n')
    with subprocess.Popen([*DAYPASS, "agent", "--config", str(config)], env=CLEAN) as process:
        try:
            eventually("the agent writes the file", file.exists)
            yield file
        finally:
            process.terminate()


def refused(stack: LocalStack, token: Secret) -> bool:
    """Whether the gate says 401 to this token."""
    port, authority = int(stack.gate.rpartition(":")[2]), stack.authority_file.read_text()
    with connect(port, authority_pem=authority, name="localhost") as connection:
        request = get(bearer(token), host="localhost", path="/old")
        return exchange(connection, request).code == 401


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_redirect_does_not_take_the_token_elsewhere(
    language: str, run: Run, stack: LocalStack, identity: MadeIdentity, service: Service
) -> None:
    with running_service(None) as elsewhere:
        service.answer = lambda _: Said(code=307, location=f"{elsewhere.origin}/x")
        started = run(
            language, f"{stack.gate}/x", before=RUN_FILE,
            DAYPASS_CREDENTIALS=str(identity.credentials_file),
        )  # fmt: skip
        started.communicate(timeout=60)
    assert len(service.seen) == 1
    assert elsewhere.tokens == ([None] if language == "node" else [])


CURL = ("curl", "-sS", "--cacert", "authority.crt")
WGET = ("wget", "-O-", "--tries=1", "--ca-certificate=authority.crt")


@pytest.mark.parametrize(
    ("command", "is_shown"),
    [
        ([*CURL], True), ([*CURL, "-f"], False), ([*CURL, "--fail-with-body"], True),
        ([*WGET], False), ([*WGET, "-S"], True),
    ],
    ids=["curl", "curl -f", "curl --fail-with-body", "wget", "wget -S"],
)  # fmt: skip
def test_curl_and_wget_show_a_refusal_if_asked(
    command: list[str], is_shown: bool, folder: Path, stack: LocalStack
) -> None:
    done = subprocess.run(
        [*command, f"{stack.gate}/x"], cwd=folder, capture_output=True, text=True, check=False
    )
    seen = done.stdout + done.stderr
    assert ("the request has no token" in seen or "daypass-reason: no-token" in seen) is is_shown
