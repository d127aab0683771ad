"""The access log: a line of JSON for each request, and no secret in any of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from hyperframe.frame import HeadersFrame, RstStreamFrame

from support.deadline import eventually
from support.doors import (
    EKF,
    JWT,
    PATH,
    UPSTREAM_PATH,
    DoorEnv,
    access_log,
    post,
    running_door_env,
)
from support.h2c import Http2
from support.recorder import ANSWER, answer_with

SENTINEL = "SeNtInElOfAsEcReT"
TOKEN = f"{base64.urlsafe_b64encode(b'{}').decode().rstrip('=')}.{SENTINEL}.sig"
BEARER = f"Authorization: Bearer {TOKEN}"
PLAIN = ("Content-Type: application/json",)


def leaky() -> Iterator[bytes]:
    """Requests with a secret wherever one may be by mistake."""
    # 1. Where it belongs, in requests that pass and in those that do not.
    yield post(headers=(BEARER,))
    yield post(headers=(BEARER, BEARER))
    yield post(headers=(f"{BEARER} junk",))
    yield post(headers=(f"authorization: bearer {TOKEN}",))
    yield post("/nothing", headers=(BEARER,))
    yield post(method="PUT", headers=(BEARER,))
    yield post(headers=(BEARER, "Content-Type: application/yaml"))
    yield post(headers=(BEARER,), body=b"x" * 9000)
    yield post(headers=(BEARER, "a_b: c"))
    yield post(headers=(BEARER, "X: " + "y" * 20_000))
    yield post(headers=(BEARER,), extra=("Content-Length: x",))
    # 2. In the target.
    for target in (
        f"/{SENTINEL}",
        f"{PATH}?token={TOKEN}",
        f"{PATH}#{TOKEN}",
        f"{PATH}/{TOKEN}",
        f"{PATH};{TOKEN}",
        PATH.replace("bot", SENTINEL),
        PATH.replace("team", TOKEN),
        f"{UPSTREAM_PATH}?access_token={TOKEN}",
        f"https://{EKF}/{SENTINEL}",
        f"/a b/{SENTINEL}",
        f"/\xe9{SENTINEL}",
    ):
        yield post(target, headers=PLAIN)
    # 3. In other headers, and in the body.
    for header in (
        "Cookie",
        "Proxy-Authorization",
        "X-Api-Key",
        "Sec-WebSocket-Protocol",
        "Referer",
        "X-Forwarded-For",
        "X-Forwarded-Access-Token",
        "Content-Type",
        "Accept",
        "traceparent",
        f"X-{SENTINEL}",
        f"X_{SENTINEL}",
        f"X {SENTINEL}",
    ):
        yield post(extra=(f"{header}: {TOKEN}",))
    yield post(body=SENTINEL.encode())
    yield post(body=f'{{"spec":{{"audiences":["{SENTINEL}"]}}}}'.encode(), headers=())


def broken_off(env: DoorEnv, path: str) -> None:
    """A request over HTTP/2 that its client takes back before there is an answer."""
    door = env.door
    with Http2(door.port, authority_pem=door.authority.pem, name=EKF) as client:
        names = ((":method", "POST"), (":scheme", "https"), (":authority", EKF), (":path", path))
        block = client.encode(names)
        headers = HeadersFrame(1, block, flags=["END_HEADERS"])
        client.send_raw(headers, RstStreamFrame(1, error_code=8))
        eventually("it is taken back", lambda: door.stat("http.door.downstream_rq_rx_reset"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the log of a door that was sent every leaky request and a few others."""
    folder = tmp_path_factory.mktemp("log")
    with running_door_env(folder) as env:
        env.send_each(leaky())
        broken_off(env, f"/{SENTINEL}")
        env.door.send(post(extra=("X-Request-Id: good", "User-Agent: agent")))
        env.door.send(post("/nothing", extra=("X-Request-Id: bad",)))
        env.door.send(post(PATH + "/", extra=("X-Request-Id: slash",)))
        env.door.send(post(method="PUT", extra=("X-Request-Id: method",)))
        env.door.send(post(extra=("X-Request-Id: id", 'User-Agent: a"b\\c\td')))
        env.door.envoy.stop()  # which writes what it still holds
    return folder


def line_of(log: Path, request_id: str) -> dict[str, object]:
    (line,) = [line for line in access_log(log) if line["request_id"] == request_id]
    return line


def test_no_secret_is_in_the_log(log: Path) -> None:
    text = (log / "envoy.log").read_text()
    assert SENTINEL not in text
    assert JWT not in text


def test_no_secret_is_in_the_statistics_or_the_config(tmp_path: Path) -> None:
    with running_door_env(tmp_path) as env:
        env.send_each(leaky())
        for page in ("/stats", "/clusters", "/config_dump", "/listeners", "/certs"):
            assert SENTINEL.encode() not in env.door.envoy.admin(page)


def test_each_request_is_a_line(log: Path) -> None:
    assert len(access_log(log)) == len([*leaky()]) + 6


def test_a_passed_request_is_logged_with_its_path(log: Path) -> None:
    line = line_of(log, "good")
    assert line.pop("time")
    assert isinstance(line.pop("duration_ms"), int)
    assert line == {
        "audit_id": None,
        "client": "127.0.0.1",
        "code": 201,
        "method": "POST",
        "path": UPSTREAM_PATH,
        "request_id": "good",
        "server_name": EKF,
        "user_agent": "agent",
    }


def test_the_audit_id_is_that_of_the_answer_whatever_a_client_sends(tmp_path: Path) -> None:
    answer = ANSWER.replace(b"\r\n", b"\r\nAudit-Id: of-the-server\r\n", 1)
    with running_door_env(tmp_path) as env:
        env.recorder.behave = answer_with(answer)
        env.door.send(post(extra=("X-Request-Id: good", "Audit-ID: of-the-client")))
        env.door.send(post("/nothing", extra=("X-Request-Id: bad", "Audit-ID: of-the-client")))
        env.door.envoy.stop()
    assert line_of(tmp_path, "good")["audit_id"] == "of-the-server"
    assert line_of(tmp_path, "bad")["audit_id"] is None
    assert "of-the-client" not in (tmp_path / "envoy.log").read_text()


def test_a_request_for_an_unpublished_path_is_logged_without_it(log: Path) -> None:
    for request_id in ("bad", "slash"):
        line = line_of(log, request_id)
        assert line["code"] == 404
        assert "path" not in line
        assert PATH not in str(line)


def test_a_refused_request_for_a_published_path_is_logged_with_it(log: Path) -> None:
    line = line_of(log, "method")
    assert (line["code"], line["path"]) == (405, PATH)


def test_a_malformed_request_is_logged_too(log: Path) -> None:
    assert any(line["code"] == 400 for line in access_log(log))
    assert any(line["code"] == 431 for line in access_log(log))


def test_what_a_client_calls_itself_cannot_begin_another_line(log: Path) -> None:
    assert line_of(log, "id")["user_agent"] == 'a"b\\c\td'
