"""The checks of one published domain, in the order in which a person would make them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.hints import command
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.door_url import DoorUrl, HostPort
from daypass.client.http1 import HttpResponse
from daypass.client.token import Token
from daypass.client.transport import RESOLVE, TransportError
from daypass.verification.certificate import (
    judge_certificate,
    judge_untrusted,
    presented_certificate,
    unsafe_shown_certificate,
)
from daypass.verification.forged_tokens import (
    NO_HOST,
    NO_ISSUER,
    forged_token,
    judge_closed,
    not_asked,
)
from daypass.verification.report import Finding, Level, failure, ok, skipped
from daypass.verification.requests import CHECK as NEGATIVE
from daypass.verification.requests import (
    Negative,
    RawClient,
    ask_in_the_clear,
    judge_negative,
    negatives,
    raw_client,
)
from daypass.verification.responses import (
    exchange,
    judge_anonymous,
    judge_plain_http,
    judge_policy,
    judge_tokenless,
    look_at_gate,
    policy_question,
)
from daypass.verification.target import VerificationTarget

CONNECT_SECONDS = 5.0
POLL_SECONDS = 5.0
WORKERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Verifies targets. `held`: credentials to try out; `wait_seconds`: how long failures may go on
    before they count.

    `progress` is told what is being waited for.
    """

    held: CredentialsConfig | None = None
    wait_seconds: float = 0.0
    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = time.sleep
    progress: Callable[[str], None] = lambda words: None

    def verify(self, target: VerificationTarget) -> list[Finding]:
        """All findings about a target, in order; asked again until they are good, or time is up."""
        ends = self.clock.monotonic() + self.wait_seconds
        while True:
            findings = list(self._look(target))
            bad = [each for each in findings if each.level is Level.FAILURE]
            if not bad or self.clock.monotonic() + POLL_SECONDS > ends:
                return findings
            self.progress(f"{target.name}: {bad[0].fact}")
            self.sleep(POLL_SECONDS)

    def _look(self, target: VerificationTarget) -> Iterator[Finding]:
        name = _look_up(target)
        yield name
        if name.level is Level.FAILURE:
            yield skipped("certificate", "there is nothing to connect to")
            return
        certificate = self._certificate(target)
        yield certificate
        if certificate.level in (Level.FAILURE, Level.SKIPPED):
            yield skipped("api-server", "nothing is sent over a connection that is not trusted")
            return
        ask = self._asker(target.door, target)
        with ThreadPoolExecutor(WORKERS) as pool:
            anonymous = pool.submit(self._answer, ask, "GET", target.token_path)
            tokenless = pool.submit(self._answer, ask, "POST", target.token_path)
            plain = pool.submit(self._plain_http, target)
            refused = [
                (each, pool.submit(self._answer, ask, each.method, each.target))
                for each in negatives(target)
            ]
            closed = pool.submit(self._closed, target)
            held = pool.submit(self._with_credentials, target)
            yield self._judged("api-server", anonymous.result(), judge_anonymous, target)
            yield self._judged("no-token", tokenless.result(), judge_tokenless, target)
            yield plain.result()
            yield _negative(target, [(each, answer.result()) for each, answer in refused])
            yield from closed.result()
            yield from held.result()

    def _asker(self, door: DoorUrl, target: VerificationTarget) -> RawClient:
        return raw_client(
            door.address,
            door.authority,
            target.certificate_authority,
            secrets=self._secrets(),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _secrets(self, *others: Secret) -> tuple[Secret, ...]:
        held = self.held.token if self.held is not None else None
        return others if held is None else (held, *others)

    def _answer(self, ask: RawClient, method: str, path: str) -> HttpResponse | TransportError:
        try:
            body = b"{}" if method == "POST" else b""
            kind = [("Content-Type", "application/json")] if body else []
            return ask.ask(method, path, kind, body)
        except TransportError as error:
            return error

    def _judged(
        self,
        check: str,
        answer: HttpResponse | TransportError,
        judge: Callable[[HttpResponse, VerificationTarget], Finding],
        target: VerificationTarget,
    ) -> Finding:
        if isinstance(answer, TransportError):
            return failure(check, f"no answer comes: {_reason(answer)}")
        return judge(answer, target)

    def _plain_http(self, target: VerificationTarget) -> Finding:
        if target.door.address.port != 443:
            return skipped("plain-http", "only looked at beside port 443")
        try:
            host = target.door.address.host
            return judge_plain_http(ask_in_the_clear(host, target.token_path, self.clock), target)
        except TransportError:
            return judge_plain_http(None, target)

    def _certificate(self, target: VerificationTarget) -> Finding:
        ask = self._asker(target.door, target)
        address, context = target.door.address, ask.route.context
        if ask.route.proxy is not None or context is None:
            return ok("certificate", "verified with each request (through a proxy)")
        try:
            with context.wrap_socket(_dial(address), server_hostname=address.host) as connection:
                fields = connection.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            seen = unsafe_shown_certificate(lambda: _dial(address), address.host)
            return judge_untrusted(error, seen, target)
        except ssl.SSLError as error:
            return failure(
                "certificate",
                f"TLS with {address} fails: {printable(error.reason or type(error).__name__)}",
                "does this port speak TLS, and is it the front's?",
            )
        except OSError as error:
            return failure(
                "certificate",
                f"no connection to {address}: {error.strerror or type(error).__name__}",
                "does the front listen there, and does a firewall let you through?",
            )
        return judge_certificate(presented_certificate(fields), target, self.clock.unix())

    def _with_credentials(self, target: VerificationTarget) -> list[Finding]:
        held = self.held
        if held is None:
            return []
        door = held.door
        if str(door.address) != str(target.door.address) or door.path != target.door.path:
            return [skipped("exchange", f"the credentials are for {door.url}")]
        finding, token = exchange(Credentials(held))
        findings = [finding]
        question = policy_question(held)
        if question is not None and token is not None:
            ask = self._asker(target.door, target)
            try:
                answer = ask.send(question.request())
                findings.append(
                    judge_policy(answer, expected=target.has_policy, embedded=target.is_embedded)
                )
            except TransportError as error:
                findings.append(failure("policy", f"no answer comes: {_reason(error)}"))
        if token is not None and target.gate_url is not None:
            findings.append(self._gate(target, target.gate_url, token))
        return findings

    def _closed(self, target: VerificationTarget) -> list[Finding]:
        if target.gate_url is None:
            return [not_asked(NO_HOST)] if target.gate_audience else []
        if target.issuer is None:
            return [not_asked(NO_ISSUER)]
        token = forged_token(target.issuer, target.gate_audience, self.clock.unix())
        ask = self._gate_asker(target, target.gate_url)
        try:
            return [judge_closed(ask.ask("GET", "/", [("Authorization", f"Bearer {token}")]))]
        except TransportError as error:
            return [not_asked(f"{ask.authority}: no answer comes: {_reason(error)}")]

    def _gate(self, target: VerificationTarget, url: str, token: Token) -> Finding:
        ask = self._gate_asker(target, url, token.value)
        try:
            return look_at_gate(ask, token)
        except TransportError as error:
            return failure("gate", f"{ask.authority}: no answer comes: {_reason(error)}")

    def _gate_asker(self, target: VerificationTarget, url: str, *secrets: Secret) -> RawClient:
        authority = url.removeprefix("https://").rstrip("/")
        address = HostPort.parse(authority, default_port=443)
        assert address is not None  # noqa: S101 - made of a checked config
        return raw_client(
            address,
            authority,
            target.certificate_authority,
            secrets=self._secrets(*secrets),
            clock=self.clock,
            sleep=self.sleep,
        )


def _look_up(target: VerificationTarget) -> Finding:
    address = target.door.address
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        hint = "make a DNS record that leads to the front, and check this machine's DNS"
        if target.dns == "external-dns":
            hint = (
                f"ExternalDNS may need minutes after `{command('apply')}`: --wait 10m waits for it"
                ";\nthen look at its log, and whether it serves this zone"
            )
        return failure("name", f"could not resolve {address.host}", hint)
    addresses = sorted({str(each[4][0]) for each in found})
    return ok("name", f"{address.host} is {', '.join(addresses)}")


def _dial(address: HostPort) -> socket.socket:
    return socket.create_connection((address.host, address.port), CONNECT_SECONDS)


def _negative(
    target: VerificationTarget, answers: list[tuple[Negative, HttpResponse | TransportError]]
) -> Finding:
    """The worst of all negatives, or one line for all of them."""
    findings = [
        judge_negative(each, None if isinstance(answer, TransportError) else answer, target)
        for each, answer in answers
    ]
    for level in (Level.FAILURE, Level.WARNING):
        bad = [each for each in findings if each.level is level]
        if bad:
            facts = "\n".join(each.fact for each in bad)
            return Finding(check=NEGATIVE, level=level, fact=facts, hint=bad[0].hint)
    return ok(NEGATIVE, f"{len(findings)} ways to something else are closed")


def _reason(error: TransportError) -> str:
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "it takes too long"
    words = cause.strerror if isinstance(cause, OSError) else None
    return printable(words or type(cause).__name__) + (" (name)" if error.stage == RESOLVE else "")
