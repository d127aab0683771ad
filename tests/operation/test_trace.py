"""`daypass trace` on the logs of a real API server, and of door and gate of `daypass up`.

The story: a bot obtains a token and uses it. The token leaks, and is used from a second address.
The long-lived token leaks too: its thief goes past the door, with a forged address and the audit ID
of an exchange of the bot.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tools.docs.pages import ROOT

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support import admin_shell, controlplane
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.raw import Answer, bearer, connect, exchange, get
from support.up import HOST, Up
from support.up_gate import AUDIENCE, gate_up

POLICY = ROOT / "src/daypass/trace/audit-policy.yaml"
ISSUED = "authentication.kubernetes.io/issued-credential-id"
BOT, THIEF, BYPASS = "127.0.0.1", "127.0.0.2", "127.0.0.3"
DOOR = {"127.0.0.1"}
"""Where the door's own connections come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened: the logs, the token, its bot, and the JTIs of its other tokens.

    `bypassed` is the one of `others` that was obtained past the door.
    """

    files: list[str]
    plane: ControlPlane
    bot: Identity
    jti: str
    bypassed: str
    others: set[str]
    audit: list[dict[str, Any]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    patched = pytest.MonkeyPatch()
    patched.setattr(controlplane, "AUDIT_POLICY", yaml.safe_load(POLICY.read_text()))
    (folder / "up").mkdir()
    with (
        patched.context(),
        ControlPlane.start(folder / "plane") as plane,
        gate_up(folder / "up", plane) as up,
    ):
        yield tell(folder, plane, up)


def tell(folder: Path, plane: ControlPlane, up: Up) -> Story:
    bot = plane.make_identity()
    earlier = obtain(up, bot, BOT)
    before = Secret(earlier.json["status"]["token"])
    eventually("the gate knows the bot", lambda: use(up, before, BOT).code == 200)
    first = obtain(up, bot, BOT)
    token = Secret(first.json["status"]["token"])
    assert [use(up, token, BOT).code for _ in range(3)] == [200] * 3
    assert use(up, token, THIEF).code == 200
    lines = (f"Audit-ID: {first.headers['audit-id']}", f"X-Forwarded-For: {BOT}")
    past = obtain_past_the_door(plane, bot, BYPASS, *lines)
    renewed = obtain(up, bot, BOT)
    last = use(up, Secret(renewed.json["status"]["token"]), BOT)
    (log,) = up.runtime.glob("*/envoy.log")
    eventually("it is logged", lambda: jti_of(renewed) in log.read_text() and last.code == 200)
    files = [str(folder / "envoy.log"), str(folder / "audit.log")]
    shutil.copy(log, files[0])
    audit = plane.audit_events()
    shutil.copy(plane.folder / "audit.log", files[1])
    return Story(
        files=files, plane=plane, bot=bot, jti=jti_of(first), bypassed=jti_of(past),
        others={jti_of(it) for it in (earlier, renewed, past)}, audit=audit,
    )  # fmt: skip


def obtain(up: Up, identity: Identity, source: str) -> Answer:
    """Exchange a long-lived token at the door."""
    port, path = urlsplit(up.door).port, urlsplit(up.door).path + identity.token_path
    assert port is not None
    pem = up.authority_file.read_text()
    with connect(port, authority_pem=pem, name=HOST, source=source) as connection:
        return exchange(connection, request_for(identity, path, HOST, identity.token))


def obtain_past_the_door(plane: ControlPlane, of: Identity, source: str, *lines: str) -> Answer:
    # As one who knows what is looked for in the audit log would write it: JSON escapes each `&`.
    path = f"{of.token_path.replace('/token', '/%74oken')}?{'&' * 900_000}"
    with connect(
        plane.port, authority_pem=plane.ca_pem, name="localhost", source=source
    ) as connection:
        return exchange(connection, request_for(of, path, HOST, of.token, *lines))


def request_for(identity: Identity, path: str, host: str, token: Secret, *lines: str) -> bytes:
    spec = {"audiences": [AUDIENCE], "expirationSeconds": 3600}
    body = json.dumps({"spec": {**spec, "boundObjectRef": identity.bound_object_ref}}).encode()
    more = (bearer(token), "Content-Type: application/json", f"Content-Length: {len(body)}")
    return get(*more, *lines, host=host, path=path).replace(b"GET", b"POST", 1) + body


def use(up: Up, token: Secret, source: str) -> Answer:
    """Call what the gate guards."""
    port = int(up.ready["listen"]["gate"].rpartition(":")[2])
    pem = up.authority_file.read_text()
    with connect(port, authority_pem=pem, name=HOST, source=source) as connection:
        return exchange(connection, get(bearer(token), host=HOST))


def jti_of(answer: Answer) -> str:
    return str(decode_unverified(answer.json["status"]["token"])[1]["jti"])


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `daypass trace` without a cluster."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return partial(admin_shell.run, capsys, "trace")


def traced(run: Run, what: str, story: Story, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(what, *story.files, "-o", "json", *options)[0])
    return document


def test_a_token_leads_to_the_client_that_obtained_it_and_to_all_that_used_it(
    story: Story, run: Run
) -> None:
    found = traced(run, story.jti, story)
    parts = [(line["component"], line["client"], line["code"]) for line in found["lines"]]
    assert parts == [
        ("door", BOT, 201), ("api-server", BOT, 201), *[("gate", BOT, 200)] * 3,
        ("gate", THIEF, 200),
    ]  # fmt: skip
    door, server, *_ = found["lines"]
    assert door["audit"] == server["audit"] != ""
    assert server["credential"] == f"Secret {story.bot.namespace}/{story.bot.secret_name}"
    assert [(it["source"], it["requests"]) for it in found["sources"]] == [(BOT, 4), (THIEF, 1)]
    assert {line["jti"] for line in found["others"]} == story.others


def test_a_request_at_door_or_gate_leads_to_its_token(story: Story, run: Run) -> None:
    door, _, gate, *_ = traced(run, story.jti, story)["lines"]
    for request in (door["request"], gate["request"]):
        found = traced(run, request, story)
        assert {line["jti"] for line in found["lines"]} - {""} == {story.jti}
        assert {line["component"] for line in found["lines"]} >= {"door", "api-server"}


def test_a_user_leads_to_all_its_tokens(story: Story, run: Run) -> None:
    name = f"{story.bot.namespace}/{story.bot.service_account}"
    for what in (name, story.bot.user):
        found = traced(run, what, story)
        jtis = {line["jti"] for line in found["lines"] if line["component"] == "api-server"}
        assert {story.jti, *story.others} <= jtis


def test_whether_the_secret_exists_is_looked_up_in_the_cluster(story: Story, run: Run) -> None:
    credential = f"Secret {story.bot.namespace}/{story.bot.secret_name}"
    assert traced(run, story.jti, story)["credentials"] == {credential: None}
    known = ("--kubeconfig", str(story.plane.kubeconfig))
    assert traced(run, story.jti, story, *known)["credentials"] == {credential: True}
    story.plane.admin.delete(story.bot.secret_path)
    assert traced(run, story.jti, story, *known)["credentials"] == {credential: False}


def test_a_request_past_the_door_is_found_though_it_has_the_audit_id_of_another(
    story: Story, run: Run
) -> None:
    found = traced(run, f"{story.bot.namespace}/bot", story)["lines"]
    (past,) = [line for line in found if line["reason"] == "no line of the door"]
    assert (past["jti"], past["client"]) == (story.bypassed, BYPASS)


def test_the_rendered_audit_policy_logs_what_is_needed_and_no_bodies(
    story: Story, run: Run
) -> None:
    assert run("--audit-policy")[0] == POLICY.read_text()
    resources = {(it["objectRef"]["resource"], it["level"]) for it in story.audit}
    assert resources == {("serviceaccounts", "Metadata"), ("secrets", "Metadata")}
    assert not [it for it in story.audit if "requestObject" in it or "responseObject" in it]
    assert story.bot.token.reveal() not in json.dumps(story.audit)
