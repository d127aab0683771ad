"""The steps of `daypass doctor`: what each finds, and that none keeps the others waiting."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from daypass._core.findings import Finding, Level
from daypass.client.transport import SYSTEM_TIMING, Deadline
from daypass.rules.reasons import Reason
from daypass.verification.diagnosis import Diagnosis, GateUrl, diagnose
from support.authority import Authority
from support.fake_door import (
    AUDIENCE,
    SECRET,
    Behaviour,
    FakeDoor,
    answer,
    drip,
    http_date,
    jwt,
    long_lived_token,
    say_nothing,
    status_answer,
)
from unit.cli.conftest import OpenDoor, Run, good_answer

Found: TypeAlias = dict[str, Finding]
ANONYMOUS = (
    'serviceaccounts "default" is forbidden: User "system:anonymous" cannot get resource '
    '"serviceaccounts/token" in API group "" in the namespace "default"'
)
HOSTILE = "\x1b[2J\x07\u202e" + long_lived_token()


def at_the_door(ahead_seconds: float = 0.0) -> bytes:
    date = http_date(SYSTEM_CLOCK.unix() + ahead_seconds)
    return status_answer(403, ANONYMOUS, f"Date: {date}")


def new_token(**changes: object) -> bytes:
    claims = {
        "sub": "system:serviceaccount:team:bot", "jti": "1", "aud": [AUDIENCE],
        "kubernetes.io": {"secret": {"name": SECRET, "uid": "u"}}, **changes,
    }  # fmt: skip
    ends = rfc3339(utc(SYSTEM_CLOCK.unix() + 3600))
    return good_answer(status={"token": jwt(claims, "c2hvcnQ"), "expirationTimestamp": ends})


def examine(*, gate: str | None = None, seconds: float = 20.0) -> Found:
    """What it finds, by step. Nothing of it steers a terminal or is a token."""
    case = Diagnosis(
        path=None,
        audience=None,
        gate=None if gate is None else GateUrl.parse(gate),
        timing=SYSTEM_TIMING,
        deadline=Deadline(SYSTEM_CLOCK, seconds),
    )
    found = {each.check: each for each in diagnose(case)}
    for each in found.values():
        assert (each.fact + each.hint).replace("\n", "").isprintable()
        assert "eyJ" not in each.fact + each.hint
    return found


def failed(found: Found) -> list[str]:
    return [name for name, each in found.items() if each.level is Level.FAILURE]


@pytest.mark.parametrize(
    ("claims", "level"),
    [
        ({"sub": HOSTILE, "jti": HOSTILE}, Level.OK),
        ({"sub": None, "kubernetes.io": [1]}, Level.WARNING),
        ({"kubernetes.io": {"pod": {"name": "p"}}}, Level.WARNING),
        ({"kubernetes.io": {"secret": {"name": {"a": 1}}}}, Level.OK),
    ],
)
def test_claims_that_a_gate_would_refuse_are_found(
    open_door: OpenDoor, claims: dict[str, object], level: Level
) -> None:
    open_door(at_the_door(), new_token(**claims))
    assert examine()["token"].level is level


@pytest.mark.parametrize(("ahead_seconds", "is_wrong"), [(-200, False), (600, True), (-600, True)])
def test_a_clock_that_is_far_from_the_doors_is_a_problem(
    open_door: OpenDoor, ahead_seconds: float, is_wrong: bool
) -> None:
    open_door(at_the_door(ahead_seconds), new_token())
    found = examine()
    assert failed(found) == (["clock"] if is_wrong else [])
    if is_wrong:
        assert re.search("(9m5|10m).* (ahead of|behind)", found["clock"].fact)
        assert ("behind" in found["clock"].fact) is (ahead_seconds > 0)


@pytest.mark.parametrize(
    ("response", "step", "named"),
    [
        (status_answer(503, "the door cannot reach the API server"), "door", "503"),
        (status_answer(404, "nothing is published here"), "door", "404"),
        (status_answer(401, "no", f"daypass-reason: {Reason.NO_TOKEN}"), "door", "the gate"),
        (answer(302, "", "Location: https://example.com/login?x=1"), "door", "redirects"),
        (answer(200, "<html>", content_type="text/html"), "door", "answers 200"),
        (status_answer(403, HOSTILE), "door", "403"),
        (b"HTTP/1.1 200 \x1b[2J\r\n\r\n", "connection", "invalid"),
    ],
)
def test_what_a_door_never_answers_is_found(
    open_door: OpenDoor, response: bytes, step: str, named: str
) -> None:
    open_door(response)
    found = examine()
    assert failed(found) == [step]
    assert named in found[step].fact
    assert found[step].hint
    assert found["not tried"].fact.endswith("exchange, token")


@pytest.mark.parametrize(
    ("response", "named"),
    [
        (status_answer(401, "Unauthorized"), "daypass identity create bot -n team"),
        (status_answer(403, "ValidatingAdmissionPolicy 'daypass' denied: audience"), "audience"),
        (status_answer(403, 'User "x" cannot create resource'), "administrator"),
        (status_answer(429, "wait"), "later"),
        (status_answer(503, HOSTILE), "later"),
    ],
)
def test_a_refused_exchange_names_who_can_help(
    open_door: OpenDoor, response: bytes, named: str
) -> None:
    open_door(at_the_door(), response)
    found = examine()
    assert failed(found) == ["exchange"]
    assert named in found["exchange"].hint


@pytest.mark.parametrize("output", ["text", "json", "yaml"])
def test_nothing_that_a_server_sends_steers_the_terminal(
    open_door: OpenDoor, run: Run, output: str
) -> None:
    for script in ([status_answer(503, HOSTILE)], [at_the_door(), status_answer(403, HOSTILE)]):
        open_door(*script)
        out, err = run(f"doctor -o {output}", code=3)
        assert out.replace("\n", "").isprintable()
        assert err == ""
        assert "eyJ" not in out


@pytest.mark.parametrize(
    ("variables", "level", "named"),
    [
        ({"HTTPS_PROXY": "http://me:sesame@proxy:3128"}, Level.OK, "proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}, Level.OK, "NO_PROXY"),
        ({"ALL_PROXY": "socks5://proxy"}, Level.WARNING, "all_proxy"),
        ({"HTTPS_PROXY": "socks5://me:sesame@proxy"}, Level.FAILURE, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://\x1b[2J"}, Level.FAILURE, "HTTPS_PROXY"),
    ],
)
def test_proxy_variables_are_told_from_those_that_daypass_ignores(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str], level: Level, named: str,
) -> None:  # fmt: skip
    open_door(at_the_door(), door="https://door.example.com/kubernetes")
    monkeypatch.setattr(socket, "getaddrinfo", _unknown)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = examine()
    assert found["proxy"].level is level
    assert named in found["proxy"].fact
    assert "sesame" not in str(found)


def _unknown(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


@pytest.mark.parametrize("behaviour", [say_nothing, drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")])
def test_a_server_that_never_ends_is_given_up(open_door: OpenDoor, behaviour: Behaviour) -> None:
    open_door(behaviour)
    begun = SYSTEM_CLOCK.monotonic()
    found = examine(seconds=1.5)
    assert failed(found) == ["connection"]
    assert found["cache"].level is Level.OK
    assert SYSTEM_CLOCK.monotonic() - begun < 1.5


def test_a_resolver_that_hangs_is_given_up(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: may_end.wait())
    open_door(at_the_door(), door="https://door.example.com/kubernetes")
    found = examine(seconds=1.0)
    may_end.set()
    assert failed(found) == ["dns"]
    assert "door.example.com" in found["dns"].fact


@pytest.fixture
def ask_gate(
    authority: Authority, open_door: OpenDoor, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Finding]]:  # fmt: skip
    """What is found of a gate that answers this to a good token."""
    file = tmp_path / "authority.pem"
    file.write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with ExitStack() as stack:

        def ask(response: bytes | Behaviour, seconds: float = 20.0) -> Finding:
            open_door(at_the_door(), new_token())
            context = authority.context("127.0.0.1")
            gate = stack.enter_context(FakeDoor(response, context=context))
            url = f"https://127.0.0.1:{gate.port}/pipeline/?a=1"
            found = examine(gate=url, seconds=seconds)["gate"]
            assert gate.requests[0].startswith(b"GET /pipeline/?a=1 HTTP/1.1\r\n")
            assert gate.requests[0].count(b"\r\nAuthorization: Bearer eyJ") == 1
            assert long_lived_token().encode() not in gate.requests[0]
            return found

        yield ask


def reasoned(code: int, reason: str, message: str = "why") -> bytes:
    return status_answer(code, message, f"daypass-reason: {reason}")


@pytest.mark.parametrize(
    ("response", "level", "named"),
    [
        (answer(200, "{}"), Level.OK, "200"),
        (answer(404, "no page"), Level.OK, "404"),
        (answer(500, "broken"), Level.WARNING, "500"),
        (reasoned(401, Reason.UNKNOWN_CREDENTIAL), Level.FAILURE, Reason.UNKNOWN_CREDENTIAL),
        (reasoned(403, Reason.MODEL), Level.FAILURE, Reason.MODEL),
        (reasoned(503, Reason.UNKNOWN), Level.FAILURE, Reason.UNKNOWN),
        (reasoned(401, "\x1b[2J", HOSTILE), Level.FAILURE, "control"),
        (reasoned(401, "x" * 9000, HOSTILE), Level.FAILURE, "401"),
        (answer(403, "RBAC: access denied"), Level.FAILURE, "RBAC: access denied"),
        (answer(302, "", "Location: https://e.com/dex/auth?state=s"), Level.FAILURE, "/dex/auth"),
    ],
)
def test_each_answer_of_a_gate_is_told(
    ask_gate: Callable[..., Finding], response: bytes, level: Level, named: str
) -> None:
    found = ask_gate(response)
    assert found.level is level
    if level is Level.FAILURE:
        assert found.hint
    if named != "control":
        assert named in found.fact


def test_a_response_that_never_ends_is_an_answer(ask_gate: Callable[..., Finding]) -> None:
    events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert ask_gate(drip(events, b"data: 1\n\n")).level is Level.OK
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    assert ask_gate(drip(big, b"x")).level is Level.OK


@pytest.mark.parametrize("url", ["kubeflow.example.com", "http://kubeflow.example.com/"])
def test_a_url_that_gets_no_token_is_a_usage_error(url: str, run: Run) -> None:
    out, err = run(f"doctor --gate {url}", code=2)
    assert out == ""
    assert "\n  " in err


def test_a_cache_that_cannot_be_read_is_a_warning(open_door: OpenDoor, tmp_path: Path) -> None:
    open_door(at_the_door(), new_token())
    folder = tmp_path / "home" / ".cache" / "daypass"
    folder.mkdir(parents=True)
    (folder / "tokens").touch()
    assert examine()["cache"].level is Level.WARNING
    (folder / "tokens").unlink()
    (folder / "tokens").mkdir(0o700)
    (folder / "tokens" / ("a" * 64)).write_text("\x1b[2J")
    found = examine()["cache"]
    assert found.level is Level.WARNING
    assert "--clear-cache" in found.hint
