"""Sources of the exchanged token: variables, programs, GitHub; and the account it is for."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daypass._core.net import HostPort
from daypass._core.process import ProgramError, run_program
from daypass.client.credentials import Credentials
from daypass.client.errors import CredentialsError, DoorUnreachableError, ExchangeRefusedError
from daypass.client.http1 import HttpRequest
from daypass.client.retry import TRIES
from daypass.client.subject_token import ALLOW_EXEC
from daypass.client.transport import CONNECT, Route, TransportError
from support.deadline import eventually
from support.exchanges import CredentialsAtDoor
from support.fake_door import (
    SECRET,
    SENTINEL,
    answer,
    jwt,
    long_lived_token,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import raises
from support.timing import NOON, FakeClock, FakeTiming
from unit.client.conftest import Ask

NAMES = {"namespace": "team", "serviceAccount": "deployer"}
ANCHOR = "deployer-daypass-anchor-0123456789abcdefghij"
OIDC = jwt({"iss": "https://ci.example.com", "sub": "repo:a/b", "exp": int(NOON) + 300})
GITHUB = {"github": {"audience": "https://ekf.example.com/a&b"}}


def exchanged(wired: CredentialsAtDoor) -> str:
    [authorization] = [v for k, v in wired.wire.requests[-1].headers if k == "Authorization"]
    return authorization.removeprefix("Bearer ")


# -- federation


@pytest.mark.parametrize("named", [{}, {"secretName": ANCHOR}], ids=["no anchor", "anchor"])
def test_a_federated_token_is_exchanged_for_the_named_account_and_bound_to_the_named_secret(
    wired: CredentialsAtDoor, ask: Ask, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    source = {"token": {"variable": "CI_TOKEN"}}
    credentials = wired(lambda _: token_answer(), **source, **NAMES, **named)
    assert credentials.secret_name == named.get("secretName")
    ask(credentials)
    [request] = wired.wire.requests
    assert request.target.endswith("/namespaces/team/serviceaccounts/deployer/token")
    bound = json.loads(request.body)["spec"].get("boundObjectRef")
    expected = {"apiVersion": "v1", "kind": "Secret", "name": ANCHOR} if named else None
    assert bound == expected
    assert exchanged(wired) == OIDC


def test_an_expired_federated_token_is_sent_nowhere_even_though_it_was_good_when_it_was_read(
    wired: CredentialsAtDoor, timing: FakeTiming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    names = {**NAMES, "secretName": ANCHOR}
    credentials = wired(lambda _: token_answer(), token={"variable": "CI_TOKEN"}, **names)
    timing.fake_clock.advance(361)
    with raises(CredentialsError, match="expired"):
        credentials.token()
    assert wired.wire.requests == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"token": OIDC}, "ServiceAccount", id="no names"),
        pytest.param({"token": OIDC, "namespace": "team"}, "serviceAccount", id="namespace only"),
        pytest.param({"token": OIDC, "serviceAccount": "bot"}, "namespace", id="account only"),
        pytest.param(
            {"token": OIDC, "namespace": "a/b", "serviceAccount": "c"}, "namespace", id="a/b"
        ),
        pytest.param(
            {"token": OIDC, "namespace": "a", "serviceAccount": "../c"}, "serviceAccount", id="../c"
        ),
        pytest.param(
            {"token": OIDC, "namespace": 7, "serviceAccount": "c"}, "namespace", id="a number"
        ),
        pytest.param({"token": OIDC, "secretName": ANCHOR}, "namespace", id="Secret only"),
        pytest.param({"token": OIDC, **NAMES, "secretName": "../x"}, "secretName", id="../x"),
        pytest.param({"token": OIDC, **NAMES, "secretName": ""}, "secretName", id="no name"),
        pytest.param({"token": {"variable": "NOT_THERE"}, **NAMES}, "NOT_THERE", id="variable"),
        pytest.param({"token": GITHUB}, "namespace.*serviceAccount", id="github"),
        pytest.param({"token": {"exec": ["x"]}}, "namespace.*serviceAccount", id="exec"),
        pytest.param(
            {"token": jwt({"iss": "x", "exp": int(NOON) - 61}), **NAMES},
            "2027-01-15T07:58:59Z",
            id="expired",
        ),
        pytest.param({"token": "hello", **NAMES}, "three parts, .* 1", id="one part"),
    ],
)
def test_an_invalid_federation_is_refused_before_any_request(
    wired: CredentialsAtDoor, changes: dict[str, object], expected: str
) -> None:
    with raises(CredentialsError, match=expected) as raised:
        wired(lambda _: token_answer(), **changes)
    assert raised.value.hint


def test_names_that_match_the_token_are_accepted(wired: CredentialsAtDoor) -> None:
    names = {"namespace": "team", "serviceAccount": "bot"}
    assert wired(lambda _: token_answer(), **names).secret_name == SECRET


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (status_answer(401, "Unauthorized"), ("team/deployer", "401")),
        (
            status_answer(
                403,
                'serviceaccounts "deployer" is forbidden: User "ci:repo:a/b" cannot create '
                'resource "serviceaccounts/token" in API group "" in the namespace "team"',
            ),
            ("team/deployer", '(403): serviceaccounts "deployer" is'),
        ),
    ],
    ids=["401", "403"],
)
def test_a_refused_federation_names_the_missing_configuration(
    wired: CredentialsAtDoor,
    monkeypatch: pytest.MonkeyPatch,
    refusal: bytes,
    expected: tuple[str, ...],
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    with raises(ExchangeRefusedError) as raised:
        wired(lambda _: refusal, token={"variable": "CI_TOKEN"}, **NAMES).token()
    assert all(each in raised.value.fact for each in expected)
    assert "daypass identity federate" in raised.value.hint
    lines = ["iss: https://ci.example.com", "sub: repo:a/b", "aud: none"]
    assert raised.value.hint.splitlines()[-3:] == lines


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"sub": "repo:a/b", "aud": ["x", "y"]}, ["iss: none", "sub: repo:a/b", "aud: ['x', 'y']"]),
        ({"iss": "a\x1b[2J\nb", "sub": ["s"], "aud": "x"},
         ["iss: a [2J b", "sub: ['s']", "aud: x"]),
        ({"sub": "s" * 2_000, "aud": ["a"] * 1_000},
         ["iss: none", f"sub: {'s' * 256}", f"aud: {str(['a'] * 100)[:256]}"]),
    ],
    ids=["audiences", "control characters", "long"],
)  # fmt: skip
def test_claims_of_a_refused_subject_token_are_lines_of_bounded_length(
    wired: CredentialsAtDoor,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, Any],
    expected: list[str],
) -> None:
    monkeypatch.setenv("CI_TOKEN", jwt({**claims, "exp": int(NOON) + 300}))
    refusal = status_answer(401, "Unauthorized")
    with raises(ExchangeRefusedError) as raised:
        wired(lambda _: refusal, token={"variable": "CI_TOKEN"}, **NAMES).token()
    assert raised.value.hint.splitlines()[-3:] == expected


# -- GitHub Actions


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:9/idtoken/x?api-version=2")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "eyJ" + SENTINEL)


def github_first(first: bytes | Exception) -> Callable[[HttpRequest], bytes | Exception]:
    return lambda request: first if request.method == "GET" else token_answer()


POLICY = (
    "serviceaccounts \"deployer\" is forbidden: ValidatingAdmissionPolicy 'daypass' with binding"
    " 'daypass' denied request: binding: bind it to an anchor"
)


@pytest.mark.parametrize(
    ("refusal", "named", "expected"),
    [
        (status_answer(404, f'secrets "{ANCHOR}" not found'), {"secretName": ANCHOR}, "revoked"),
        (status_answer(403, POLICY), {}, "no Secret"),
    ],
    ids=["a deleted anchor", "an earlier file"],
)
def test_a_federation_without_its_anchor_names_whom_to_ask_and_is_tried_once(
    wired: CredentialsAtDoor,
    monkeypatch: pytest.MonkeyPatch,
    refusal: bytes,
    named: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    with raises(ExchangeRefusedError) as raised:
        wired(lambda _: refusal, token={"variable": "CI_TOKEN"}, **NAMES, **named).token()
    assert expected in raised.value.hint
    assert "administrator" in raised.value.hint
    assert "daypass identity federate" in raised.value.hint
    assert len(wired.wire.requests) == 1


@pytest.mark.usefixtures("job")
def test_the_request_to_github_is_that_of_its_toolkit(wired: CredentialsAtDoor, ask: Ask) -> None:
    given = answer(200, json.dumps({"count": 1, "value": OIDC}))
    ask(wired(github_first(given), token=GITHUB, **NAMES))
    get, post = wired.wire.requests
    assert get.target == ("/idtoken/x?api-version=2&audience=https%3A%2F%2Fekf.example.com%2Fa%26b")
    assert ("Authorization", f"Bearer eyJ{SENTINEL}") in get.headers
    assert ("Host", "127.0.0.1:9") in get.headers
    assert post.method == "POST"
    assert exchanged(wired) == OIDC


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (answer(401, f"no: {OIDC}"), CredentialsError, "401"),
        (answer(302, "", "Location: /x"), CredentialsError, "302"),
        (answer(200, "{}"), CredentialsError, "GitHub"),
        (answer(200, '{"value": 7}'), CredentialsError, "GitHub"),
        (answer(200, "[" * 90_000), CredentialsError, "GitHub"),
        (answer(200, json.dumps({"value": "eyJ" + SENTINEL})), CredentialsError, "GitHub"),
        (answer(200, '{"value": "x"}'), CredentialsError, "three parts, .* 1"),
        (answer(503), DoorUnreachableError, "503"),
        (answer(429), DoorUnreachableError, "429"),
    ],
    ids=["401", "302", "empty", "number", "nested", "echo", "one part", "503", "429"],
)
def test_an_error_answer_of_github_is_reported(
    wired: CredentialsAtDoor, given: bytes, kind: type[Exception], expected: str
) -> None:
    with raises(kind, match=expected) as raised:
        wired(github_first(given), token=GITHUB, **NAMES).token()
    assert OIDC[30:60] not in str(raised.value)
    assert SENTINEL not in str(raised.value)


@pytest.mark.usefixtures("job")
def test_github_is_requested_again_until_the_tries_are_over(
    wired: CredentialsAtDoor, ask: Ask
) -> None:
    refused = TransportError(CONNECT, Route(target=HostPort("127.0.0.1", 9)))
    refused.__cause__ = ConnectionRefusedError()
    with raises(DoorUnreachableError, match=r"127\.0\.0\.1:9\b.*GitHub"):
        ask(wired(github_first(refused), token=GITHUB, **NAMES))
    assert len(wired.wire.requests) == TRIES


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        ("", "x", "ACTIONS_ID_TOKEN_REQUEST_URL"),
        ("https://a/b", "", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
        ("http://a.example.com/b", "x", "https"),
        ("ftp://a/b", "x", "https"),
        ("https://a b/c", "x", "https"),
        ("https://a/b\r\nX: y", "x", "https"),
        ("https://user@a/b", "x", "https"),
        ("https://a/b", "x\r\nY: z", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    ],
    ids=["no url", "no token", "http", "ftp", "space", "line break", "user", "odd token"],
)
def test_a_job_without_permission_for_a_token_gets_the_permission_to_add(
    wired: CredentialsAtDoor, monkeypatch: pytest.MonkeyPatch, url: str, token: str, expected: str
) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token)
    with raises(CredentialsError, match=expected) as raised:
        wired(lambda _: token_answer(), token=GITHUB, **NAMES).token()
    assert "id-token: write" in raised.value.hint
    assert wired.wire.requests == []


# -- programs


PROGRAM = r"(?<=')\S*/python[\d.]*(?=')"  # where Python is differs between machines


def printing(code: str) -> dict[str, list[str]]:
    return {"exec": [sys.executable, "-c", code]}


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_EXEC, "1")


@pytest.mark.usefixtures("allowed")
def test_a_long_lived_token_of_a_program_is_exchanged_bound_to_its_secret(
    wired: CredentialsAtDoor, ask: Ask
) -> None:
    code = f"import sys; print({long_lived_token()!r}); print('words', file=sys.stderr)"
    names = {"namespace": "team", "serviceAccount": "bot"}
    credentials = wired(lambda _: token_answer(), token=printing(code), **names)
    assert ask(credentials).value.reveal() == short_lived_token()
    assert exchanged(wired) == long_lived_token()
    assert credentials.secret_name == SECRET


@pytest.mark.parametrize("value", [None, "", "0", "true", "yes"])
def test_no_program_is_run_unless_it_is_allowed(
    wired: CredentialsAtDoor,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    value: str | None,
) -> None:
    if value is not None:
        monkeypatch.setenv(ALLOW_EXEC, value)
    code = f"open({str(tmp_path / 'ran')!r}, 'w')"
    with raises(CredentialsError, match="DAYPASS_ALLOW_EXEC", hide=PROGRAM) as raised:
        ask(wired(lambda _: token_answer(), token=printing(code), **NAMES))
    assert "DAYPASS_ALLOW_EXEC=1" in raised.value.hint
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"import sys; sys.stderr.write('cannot: {OIDC}'); sys.exit(3)", r"\b3\n.*cannot: \*\*\*"),
        ("print('x' * 70000)", "65536 bytes"),
        ("import sys; sys.stderr.write('y' * 10**6); sys.exit(1)", r"\b1\n.*yyy"),
        ("print()", "three parts"),
    ],
    ids=["exit code", "long output", "long error", "no output"],
)
def test_a_token_program_that_fails_is_reported_without_tokens(
    wired: CredentialsAtDoor, ask: Ask, code: str, expected: str
) -> None:
    with raises(CredentialsError, match=expected, hide=PROGRAM) as raised:
        ask(wired(lambda _: token_answer(), token=printing(code), **NAMES))
    assert OIDC[30:60] not in str(raised.value)
    assert len(str(raised.value)) < 800
    assert raised.value.__cause__ is None
    assert wired.wire.requests == []


@pytest.mark.usefixtures("allowed")
def test_a_missing_token_program_is_reported(wired: CredentialsAtDoor, ask: Ask) -> None:
    for name, why in (("/nowhere/x", "No such file"), ("a\0b", "a")):
        with raises(CredentialsError, match=why):
            ask(wired(lambda _: token_answer(), token={"exec": [name]}, **NAMES))


def test_a_token_program_that_times_out_is_killed_with_its_children(tmp_path: Path) -> None:
    # The child closes neither pipe, and would go on writing into the folder.
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\n"
        "print('begun', flush=True)\n"
        "time.sleep(600)\n"
    )
    clock = FakeClock(step_seconds=4)
    with raises(ProgramError):
        run_program((sys.executable, "-c", code), timeout_seconds=10, limit_bytes=99, clock=clock)
    program, child = (int(pid) for pid in pids.read_text().split())
    assert not Path(f"/proc/{program}").exists()
    eventually("the child is killed as well", lambda: not _is_alive(child))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.usefixtures("allowed")
def test_a_token_program_does_not_block_the_event_loop(
    wired: CredentialsAtDoor, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    code = f"open({str(tmp_path / 'gate')!r}).read(); print({OIDC!r})"

    async def story() -> Any:
        credentials: Credentials = wired(lambda _: token_answer(), token=printing(code), **NAMES)
        task = asyncio.create_task(credentials.token_async())
        # Were the loop held up, nobody would ever open the gate.
        opened = await asyncio.to_thread(open, tmp_path / "gate", "w")
        opened.close()
        return (await task).value.reveal()

    assert asyncio.run(story()) == short_lived_token()
