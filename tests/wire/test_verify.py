"""`daypass verify` against a real door, and against what people find instead of one."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.findings import Finding, Level
from daypass.local.stack import LocalStack
from daypass.testing import stack as running_stack
from daypass.verification.checks import GateTarget, VerificationTarget, target_of_url
from daypass.verification.verify import Verifier
from support.authority import Authority
from support.fake_door import FakeDoor
from support.messages import check, line_with
from support.output_schema import mistakes_in
from support.programs import DAYPASS, run
from support.timing import FakeClock

SOMEWHERE = "https://localhost:1/kubernetes"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with running_stack() as running:
        yield running


def verify(*arguments: str) -> tuple[int, str, str]:
    done = run(*DAYPASS, "verify", *arguments)
    assert mistakes_in(("verify", *arguments), done.returncode, done.stdout) == ""
    return done.returncode, done.stdout, done.stderr


def verify_at(stack: LocalStack, *arguments: str) -> tuple[int, str, str]:
    """The command, where the stack's certificates are trusted."""
    return verify(*arguments, "--certificate-authority", str(stack.authority_file))


def published_config(stack: LocalStack, folder: Path, more: str = "") -> Path:
    """The config of the stack, with the ports that were chosen."""
    config = stack.config_file.read_text() + more
    for url in (stack.door, stack.gate):
        config = config.replace("localhost:0", url.split("/")[2], 1)
    file = folder / "daypass.yaml"
    file.write_text(config)
    return file


def test_a_healthy_door_with_credentials_has_no_cross(stack: LocalStack, tmp_path: Path) -> None:
    identity = stack.make_identity()
    file = published_config(stack, tmp_path)
    credentials = ("--credentials", str(identity.credentials_file))
    code, out, err = verify_at(
        stack, "here", "--config", str(file), "--output", "json", *credentials
    )
    assert (code, err) == (0, "")
    levels = {each["check"]: each["level"] for each in json.loads(out)["domains"]["here"]}
    assert levels == {
        "name": "ok", "certificate": "ok", "api-server": "ok", "no-token": "ok",
        "plain-http": "skipped", "nothing-else": "ok", "gate-closed": "skipped",
        "exchange": "ok", "policy": "warning", "gate": "ok",
    }  # fmt: skip
    assert identity.token.reveal() not in out


def test_a_gate_that_refuses_a_made_up_token_is_closed(stack: LocalStack, tmp_path: Path) -> None:
    file = published_config(stack, tmp_path, f"cluster: {{issuer: '{stack.server.issuer}'}}\n")
    code, out, _ = verify_at(stack, "here", "--config", str(file))
    assert code == 0
    line = line_with(out, "gate-closed")
    assert line.startswith("✓ gate-closed ")
    assert " 401 " in line
    check(line, reason="gate-closed")


def test_credentials_of_another_door_are_not_sent_there(stack: LocalStack, tmp_path: Path) -> None:
    identity = stack.make_identity()
    other = stack.door.replace("/kubernetes", "/elsewhere")
    code, out, _ = verify_at(stack, other, "--credentials", str(identity.credentials_file))
    assert code == 3
    assert stack.door in line_with(out, "- exchange ")
    check(line_with(out, "- exchange "), reason="exchange")
    assert " 404 " in line_with(out, "✗ no-token ")
    check(line_with(out, "✗ api-server "), reason="api-server")
    check(line_with(out, "✗ no-token "), reason="no-token")


def test_a_revoked_identity_fails_the_exchange_check(stack: LocalStack) -> None:
    identity = stack.make_identity(name="gone")
    stack.revoke(identity)
    code, out, _ = verify_at(stack, stack.door, "--credentials", str(identity.credentials_file))
    assert code == 3
    assert "✗ exchange" in out


def test_the_gate_is_not_taken_for_a_door(stack: LocalStack) -> None:
    code, out, _ = verify_at(stack, f"{stack.gate}/kubernetes")
    assert code == 3
    assert " 401 " in line_with(out, "✗ api-server ")
    check(line_with(out, "✗ api-server "), reason="api-server")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        pytest.param(["ekf"], "daypass.yaml", id="no config"),
        pytest.param(["http://ekf.example.com/kubernetes"], "http://", id="plain http"),
        pytest.param(["https://ekf.example.com"], "https://ekf.example.com", id="no path"),
        pytest.param([SOMEWHERE, "--timeout", "soon"], "soon", id="--timeout"),
        pytest.param([SOMEWHERE, "--certificate-authority", "none"], "none", id="authority"),
        pytest.param([SOMEWHERE, "--credentials", "none"], "none", id="credentials"),
        pytest.param([SOMEWHERE, "--kubeconfig", "none"], "URL", id="kubeconfig"),
    ],
)
def test_invalid_arguments_are_refused_before_any_request(
    arguments: list[str], value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = verify(*arguments)
    assert (code, out) == (2, "")
    assert value in err
    assert "Traceback" not in err
    check(err, reason="usage")


def test_a_gate_without_a_concrete_host_is_skipped_with_a_reason(stack: LocalStack) -> None:
    why = "gate.hosts has no host"
    gate = GateTarget(name="serving", audiences=("x",), address=None, why_not=why, is_checked=True)
    known = target_of_url(stack.door, stack.authority.pem)
    target = replace(known, gates=(gate,), issuer="https://issuer.example.com")
    (finding,) = (f for f in Verifier().verify([target])[target.name] if f.check == "gate-closed")
    assert (finding.level, finding.fact) == (Level.SKIPPED, f"gate serving: {why}")


AUTHORITY = Authority("fake door authority")


@pytest.mark.parametrize(
    ("context", "authority_pem"),
    [
        (AUTHORITY.context("localhost"), None),
        (AUTHORITY.context("other.example.com"), AUTHORITY.pem),
        (AUTHORITY.context("localhost", begins_in_days=-9, days=8), AUTHORITY.pem),
        (None, None),
    ],
    ids=["unknown issuer", "another name", "expired", "no TLS"],
)
def test_a_bad_certificate_is_reported_with_what_to_do(
    context: ssl.SSLContext | None, authority_pem: str | None
) -> None:
    in_the_clear = b"HTTP/1.1 400 x\r\n\r\n"
    with FakeDoor(in_the_clear, context=context, reads=False) as door:
        target = target_of_url(f"https://localhost:{door.port}/kubernetes", authority_pem)
        finding = Verifier().verify([target])[target.name][1]
    assert finding.level is Level.FAILURE
    assert "localhost" in finding.fact
    check(finding.fact, reason=finding.check)


def waited(target: VerificationTarget) -> tuple[list[float], list[str], list[Finding]]:
    """The waits of at most a minute for a target, what was reported meanwhile, and the findings."""
    clock, waits, told = FakeClock(SYSTEM_CLOCK.unix()), list[float](), list[str]()

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        waits.append(seconds)

    verifier = Verifier(wait_seconds=60, clock=clock, sleep=sleep, waiting=told.append)
    return waits, told, verifier.verify([target])[target.name]


def test_waiting_stops_at_the_timeout_and_reports_what_it_waits_for() -> None:
    waits, told, findings = waited(target_of_url("https://nowhere.invalid/kubernetes", None))
    assert len(waits) == 12
    (message,) = set(told)
    assert message.startswith("nowhere.invalid: ")
    check(message, reason="waiting")
    assert findings[0].level is Level.FAILURE


def test_verify_does_not_wait_when_all_is_well(stack: LocalStack) -> None:
    waits, told, findings = waited(target_of_url(stack.door, stack.authority.pem))
    assert (waits, told) == ([], [])
    assert all(each.level in (Level.OK, Level.SKIPPED) for each in findings)
