"""What `daypass trace` finds in logs with few, strange, many or wrong lines."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daypass.trace import search as searching
from daypass.trace.events import read_event
from support import admin_shell

BOT = "system:serviceaccount:team:bot"
PATH = "/api/v1/namespaces/team/serviceaccounts/bot/token"


def at(seconds: int) -> str:
    return f"2026-11-24T16:{seconds // 60:02}:{seconds % 60:02}.5Z"


def door(seconds: int, audit: str | None, client: str = "192.0.2.1", **more: Any) -> dict[str, Any]:
    return {
        "time": at(seconds), "client": client, "code": 201, "path": PATH, "request_id": f"d{audit}",
        "server_name": "ekf.example.com", "audit_id": audit, "user_agent": "curl", **more,
    }  # fmt: skip


def audit(seconds: int, audit_id: str, jti: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Event", "verb": "create", "stage": "ResponseComplete", "auditID": audit_id,
        "objectRef": {
            "resource": "serviceaccounts", "subresource": "token", "namespace": "team",
            "name": "bot",
        },
        "requestURI": PATH, "user": {"username": BOT}, "sourceIPs": ["192.0.2.1", "10.0.0.9"],
        "requestReceivedTimestamp": at(seconds), "responseStatus": {"code": 201},
        "annotations": {
            "authentication.kubernetes.io/issued-credential-id": f"JTI={jti}",
            "authentication.k8s.io/legacy-token-manual-secret": "bot-daypass-x",
        },
        **more,
    }  # fmt: skip


def gate(seconds: int, jti: str, client: str = "192.0.2.1", **more: Any) -> dict[str, Any]:
    return {
        "time": at(seconds), "client": client, "code": 200, "user": BOT, "jti": jti,
        "request_id": f"g{seconds}", "host": "ekf.example.com", "reason": None, **more,
    }  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return partial(admin_shell.run, capsys, "trace")


def write(file: str, *lines: dict[str, Any]) -> None:
    Path(file).write_text("".join(json.dumps(line) + "\n" for line in lines))


def trace(run: Any, what: str, *files: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(what, *files, "-o", "json")[0])
    return document


def past_the_door(traced: dict[str, Any]) -> list[str]:
    """The tokens that came past the door."""
    lines = [*traced["lines"], *traced["others"]]
    return [line["jti"] for line in lines if line["reason"] == searching.PAST_THE_DOOR]


def test_a_user_of_another_issuer_is_found(run: Any) -> None:
    event = audit(
        2, "x", "a", annotations={"authentication.kubernetes.io/issued-credential-id": "JTI=a"}
    )
    user = {
        "username": "github:repo",
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=u"]},
    }
    write("1", door(1, "x"), {**event, "user": user})
    found = trace(run, "github:repo", "1")
    assert [line["credential"] for line in found["lines"]] == ["", "JTI=u"]


def test_clocks_that_differ_are_noted(run: Any) -> None:
    write("1", door(0, "x"), audit(300, "x", "a"))
    (note,) = trace(run, "a", "1")["notes"]
    assert note.startswith("1 ")
    assert "clock" in note


def test_within_a_millisecond_the_door_comes_first_though_its_time_has_fewer_digits(
    run: Any,
) -> None:
    event = {**audit(1, "x", "a"), "requestReceivedTimestamp": "2026-11-24T16:00:01.500001Z"}
    write("log", event, {**door(1, "x"), "time": "2026-11-24T16:00:01.500Z"})
    components = [line["component"] for line in trace(run, "team/bot", "log")["lines"]]
    assert components == ["door", "api-server"]


def test_nothing_steers_the_terminal(run: Any) -> None:
    escape = "\x1b[2J\u202e\x07"
    write("1", door(1, "x", user_agent=escape), gate(2, "a", escape, host=escape))
    write("2", audit(1, "x", "a", userAgent=escape, user={"username": f"{BOT}{escape}"}))
    for code, words in ((0, ("a", "1", "2")), (1, (escape, "1"))):
        out, err = run(*words, code=code)
        assert not [c for c in out + err if not c.isprintable() and c != "\n"]


def test_memory_is_bounded_and_what_was_forgotten_is_noted(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "LIMIT_EXCHANGES", 10)
    monkeypatch.setattr(searching, "LIMIT_SOURCES", 10)
    write("1", *(door(n, f"x{n}", f"192.0.2.{n}") for n in range(100)))
    write("2", *(audit(n, f"x{n}", f"a{n}") for n in range(100)))
    found = trace(run, "team/bot", "1", "2")
    assert len(found["sources"]) == 10
    assert any("90 exchanges" in note for note in found["notes"])


def test_a_refused_request_at_the_door_lends_its_audit_id_to_none_past_it(run: Any) -> None:
    """Its client sees the ID. The API server's event of it is none of a TokenRequest."""
    lent = door(2, "A2", code=403, method="GET")
    write("door.log", door(1, "A1"), lent, door(4, "A4"))
    write("audit.log", audit(1, "A1", "a"), audit(3, "A2", "b"), audit(4, "A4", "c"))
    lines = trace(run, "b", "door.log", "audit.log")["lines"]
    assert [(line["component"], line["reason"]) for line in lines] == [
        ("api-server", "no line of the door")
    ]


def test_what_anyone_can_send_takes_no_room_from_what_was_accepted(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "LIMIT_EXCHANGES", 10)
    monkeypatch.setattr(searching, "LIMIT_SOURCES", 10)
    monkeypatch.setattr(searching, "LIMIT_LISTED", 10)
    nobody = {"responseStatus": {"code": 401}, "user": {}, "annotations": {}}
    node = {"user": {"username": "system:node:one"}}
    path = PATH.replace("bot", "{}").format
    write(
        "door.log",
        door(1, "A1"),
        *(door(n, f"D{n}", code=401, path=path(f"x{n}")) for n in range(2, 200)),
        door(200, "A200"),
    )
    write(
        "audit.log",
        audit(1, "A1", "a"),
        audit(2, "A2", "past"),
        *(audit(n, f"E{n}", "", **nobody) for n in range(3, 100)),
        *(audit(n, f"E{n}", f"j{n}", **node) for n in range(100, 200)),
        audit(200, "A200", "c"),
    )
    write(
        "gate.log",
        *(gate(n, "a", f"198.51.100.{n}", reason="not-guarded", code=404) for n in range(2, 200)),
        gate(200, "a"),
        gate(201, "a", "203.0.113.9"),
        *(gate(n, "a", f"198.51.100.{n}", reason="not-guarded", code=404) for n in range(202, 250)),
    )
    traced = trace(run, "a", "door.log", "audit.log", "gate.log")
    assert past_the_door(traced) == ["past"]
    assert traced["sources"][-1]["source"] == "203.0.113.9"
    assert [line["audit"] for line in traced["lines"] if line["audit"]] == ["A1", "A1"]


def test_a_request_id_that_is_another_users_name_is_no_trace_of_that_user(run: Any) -> None:
    other = {"user": "system:serviceaccount:team:other", "request_id": "team/bot"}
    write("gate.log", gate(1, "a"), gate(2, "b", "203.0.113.9", **other))
    write("door.log", door(1, "A1"), door(2, "A2", "203.0.113.9", path="/x", request_id="team/bot"))
    user = {"username": other["user"]}
    write("audit.log", audit(1, "A1", "a"), audit(2, "A2", "b", user=user, objectRef={}))
    for what in ("team/bot", BOT):
        found = trace(run, what, "gate.log", "door.log", "audit.log")
        assert [each["source"] for each in found["sources"]] == ["192.0.2.1"]
        assert {line["jti"] for line in found["lines"]} == {"a", ""}


def test_half_a_surrogate_pair_and_a_code_of_many_digits_can_be_printed(run: Any) -> None:
    write("gate.log", gate(1, "a\ud800", code=10**4000, request_id="r"))
    for output in ("text", "json", "yaml"):
        out, _ = run("r", "gate.log", "-o", output)
        assert "a?" in out
        assert len(out) < 4000


ISTIO = {
    "start_time": at(1), "authority": "ekf.example.com", "request_id": "r", "response_code": 200,
    "requested_server_name": "ekf.example.com", "downstream_remote_address": "192.0.2.1:80",
    "path": "/", "user_agent": "curl", "method": "GET", "x_forwarded_for": "192.0.2.1",
}  # fmt: skip
ENVOY_GATEWAY = {
    "start_time": at(1), ":authority": "ekf.example.com", "x-request-id": "r",
    "downstream_remote_address": "[2001:db8::1]:80", "response_code": 401,
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "client"), [(ISTIO, "192.0.2.1"), (ENVOY_GATEWAY, "2001:db8::/64")]
)
def test_default_access_logs_of_gateways_are_read(line: dict[str, Any], client: str) -> None:
    event = read_event(line)
    assert event is not None
    assert (event.component, event.client, event.request) == ("gate", client, "r")
    assert (event.time, event.target) == (at(1), "ekf.example.com")


def test_only_with_a_log_of_the_door_a_token_is_said_to_come_past_it(run: Any) -> None:
    Path("audit.log").write_text(f"{json.dumps(audit(1, 'a', 'j'))}\n")
    assert "came past the door" not in run("j", "audit.log")[0]
    Path("door.log").write_text(f"{json.dumps(door(1, 'b'))}\n")
    assert "came past the door" in run("j", "audit.log", "door.log")[0]
