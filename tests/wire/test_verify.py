"""`daypass verify` against a real door, and against what people find instead of one."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from daypass._core.clock import SYSTEM_CLOCK, utc
from daypass.local.stack import LocalStack
from daypass.testing.running import stack as running_stack
from daypass.verification.certificate import FAKE
from daypass.verification.report import Finding, Level
from daypass.verification.target import VerificationTarget, target_of_url
from daypass.verification.verify import Verifier
from support.authority import Authority, Certificate
from support.messages import check, line_with

SOMEWHERE = "https://localhost:1/kubernetes"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with running_stack() as running:
        yield running


def verify(*arguments: str) -> tuple[int, str, str]:
    """The command as a person starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "daypass", "verify", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_healthy_door_with_credentials_has_no_cross(stack: LocalStack, tmp_path: Path) -> None:
    identity = stack.make_identity()
    config = stack.config_file.read_text()
    for url in (stack.door, stack.gate):
        config = config.replace("localhost:0", url.split("/")[2], 1)
    file = tmp_path / "daypass.yaml"
    file.write_text(config)
    code, out, err = verify(
        "here", "--config", str(file), "--output", "json",
        "--certificate-authority", str(stack.authority_file),
        "--credentials", str(identity.credentials_file),
    )  # fmt: skip
    assert (code, err) == (0, "")
    levels = {each["check"]: each["level"] for each in json.loads(out)["domains"]["here"]}
    assert levels == {
        "name": "ok", "certificate": "ok", "api-server": "ok", "no-token": "ok",
        "plain-http": "skipped", "nothing-else": "ok", "gate-closed": "skipped",
        "exchange": "ok", "policy": "skipped", "gate": "ok",
    }  # fmt: skip
    assert identity.token.reveal() not in out


def test_a_gate_that_refuses_a_made_up_token_is_closed(stack: LocalStack, tmp_path: Path) -> None:
    config = stack.config_file.read_text() + f"cluster: {{issuer: '{stack.server.issuer}'}}\n"
    for url in (stack.door, stack.gate):
        config = config.replace("localhost:0", url.split("/")[2], 1)
    file = tmp_path / "daypass.yaml"
    file.write_text(config)
    code, out, _ = verify(
        "here", "--config", str(file), "--certificate-authority", str(stack.authority_file)
    )
    assert code == 0
    line = line_with(out, "gate-closed")
    assert line.startswith("✓ gate-closed ")
    assert " 401 " in line
    check(line, reason="gate-closed")


def test_credentials_of_another_door_are_not_sent_there(stack: LocalStack, tmp_path: Path) -> None:
    identity = stack.make_identity()
    other = stack.door.replace("/kubernetes", "/elsewhere")
    code, out, _ = verify(
        other, "--certificate-authority", str(stack.authority_file),
        "--credentials", str(identity.credentials_file),
    )  # fmt: skip
    assert code == 3
    assert stack.door in line_with(out, "- exchange ")
    check(line_with(out, "- exchange "), reason="exchange")
    assert " 404 " in line_with(out, "✗ no-token ")
    check(line_with(out, "✗ api-server "), reason="api-server")
    check(line_with(out, "✗ no-token "), reason="no-token")


def test_a_revoked_identity_fails_the_exchange_check(stack: LocalStack) -> None:
    identity = stack.make_identity(name="gone")
    stack.revoke(identity)
    code, out, _ = verify(
        stack.door, "--certificate-authority", str(stack.authority_file),
        "--credentials", str(identity.credentials_file),
    )  # fmt: skip
    assert code == 3
    assert "✗ exchange" in out


def test_the_gate_is_not_taken_for_a_door(stack: LocalStack) -> None:
    code, out, _ = verify(
        f"{stack.gate}/kubernetes", "--certificate-authority", str(stack.authority_file)
    )
    assert code == 3
    assert " 401 " in line_with(out, "✗ api-server ")
    check(line_with(out, "✗ api-server "), reason="api-server")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        pytest.param(["ekf"], "daypass.yaml", id="no config"),
        pytest.param(["http://ekf.example.com/kubernetes"], "http://", id="plain http"),
        pytest.param(["https://ekf.example.com"], "https://ekf.example.com", id="no path"),
        pytest.param([SOMEWHERE, "--wait", "soon"], "soon", id="--wait"),
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


def self_signed(common_name: str, host: str, *, ended: bool = False) -> Certificate:
    """As ingress-nginx makes one for itself; `ended`: one whose time is over."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = utc(SYSTEM_CLOCK.unix())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=-1 if ended else 90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


@contextmanager
def showing(certificate: Certificate, folder: Path) -> Iterator[int]:
    """A port of loopback that shows this certificate, and says no more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (folder / "pair.pem").write_text(certificate.certificate_pem + certificate.key_pem)
    context.load_cert_chain(folder / "pair.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True):
                        pass
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def looked_at(port: int, authority: Authority | None = None) -> list[Finding]:
    url = f"https://localhost:{port}/kubernetes"
    return Verifier().verify(target_of_url(url, authority.pem if authority else None))


def test_a_gate_without_a_concrete_host_is_skipped_with_a_reason(stack: LocalStack) -> None:
    target = replace(target_of_url(stack.door, stack.authority.pem), gate_audience="x")
    (finding,) = (f for f in Verifier().verify(target) if f.check == "gate-closed")
    assert finding.level is Level.SKIPPED
    check(finding.fact, reason=finding.check)


def test_the_fake_certificate_of_ingress_nginx_is_named_with_its_remedies(tmp_path: Path) -> None:
    with showing(self_signed(FAKE, "ingress.local"), tmp_path) as port:
        _, certificate, rest = looked_at(port)
    assert certificate.level is Level.FAILURE
    assert FAKE in certificate.fact
    assert [line[:2] for line in certificate.hint.split("\n")[1:]] == ["1.", "2.", "3."]
    check(certificate.fact, reason=certificate.check)
    check(certificate.hint, reason=certificate.check)
    assert rest.level is Level.SKIPPED


def test_a_bad_certificate_is_reported_with_issuer_and_names(tmp_path: Path) -> None:
    ours = Authority("our authority")
    cases = [
        (ours.server("localhost"), None, ["our authority"]),
        (ours.server("other.example.com"), ours, ["other.example.com", "localhost"]),
    ]
    for certificate, authority, values in cases:
        with showing(certificate, tmp_path) as port:
            finding = looked_at(port, authority)[1]
        assert finding.level is Level.FAILURE
        assert [value for value in values if value not in finding.fact] == []
        check(finding.fact, reason=finding.check)
    ended = self_signed("localhost", "localhost", ended=True)
    with showing(ended, tmp_path) as port:
        target = target_of_url(f"https://localhost:{port}/kubernetes", ended.certificate_pem)
        finding = Verifier().verify(target)[1]
    assert finding.level is Level.FAILURE
    check(finding.fact, reason=finding.check, hide=r"20\d\d-\S+")


def test_a_port_without_tls_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_in_the_clear() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 400 x\r\n")

        thread = threading.Thread(target=answer_in_the_clear)
        thread.start()
        finding = looked_at(server.getsockname()[1])[1]
        thread.join()
    assert finding.level is Level.FAILURE
    assert "localhost" in finding.fact
    check(finding.fact, reason=finding.check)


class Sleeper:
    """A clock that only moves when somebody sleeps, and what happens then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0

    def unix(self) -> float:
        return SYSTEM_CLOCK.unix()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1


def waited(target: VerificationTarget, seconds: float) -> tuple[Sleeper, list[str], list[Finding]]:
    sleeper, told = Sleeper(), list[str]()
    verifier = Verifier(
        wait_seconds=seconds, clock=sleeper, sleep=sleeper.sleep, progress=told.append
    )
    return sleeper, told, verifier.verify(target)


def test_waiting_stops_at_the_timeout_and_reports_what_it_waits_for() -> None:
    target = target_of_url("https://nowhere.invalid/kubernetes", None)
    sleeper, told, findings = waited(target, 60)
    assert sleeper.slept == 12
    (message,) = set(told)
    assert message.startswith("nowhere.invalid: ")
    check(message, reason="waiting")
    assert findings[0].level is Level.FAILURE


def test_verify_does_not_wait_when_all_is_well(stack: LocalStack) -> None:
    sleeper, told, findings = waited(target_of_url(stack.door, stack.authority.pem), 60)
    assert (sleeper.slept, told) == (0, [])
    assert all(each.level in (Level.OK, Level.SKIPPED) for each in findings)
