"""The checks of a published domain, in the order in which a person would make them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.findings import Finding, Level, failure, ok, skipped, warning
from daypass._core.hints import command, kubectl
from daypass._core.net import HostPort
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.error_mapping import UNKNOWN_ISSUER, no_response
from daypass.client.http1 import USER_AGENT, HttpRequest, HttpResponse
from daypass.client.transport import Deadline, Route, TransportError, route_to, send
from daypass.verification.checks import (
    GATE_CLOSED,
    NO_ISSUER,
    BlockedRequest,
    GateTarget,
    VerificationTarget,
    blocked_requests,
    exchange,
    forged_token,
    judge_anonymous,
    judge_blocked,
    judge_forged,
    judge_gate,
    judge_plain_http,
    judge_policy,
    judge_tokenless,
    policy_request,
    worst_of_blocked,
)
from daypass.verification.diagnosis import get

PLAIN_HTTP_SECONDS = 3.0
REQUEST_SECONDS = 10.0
POLL_SECONDS = 5.0
THREADS = 12
_RENEWAL_DAYS = 14
RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """Sends requests with exact targets to one host, each on its own connection.

    After a 429 it waits and tries again, since the door limits the requests of a source. Responses
    come without `secrets`, which a server might quote.
    """

    route: Route
    authority: str
    secrets: tuple[Secret, ...]
    clock: Clock
    sleep: Callable[[float], None]

    def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]] = ()
    ) -> HttpResponse:
        """Return the response to a request; a POST has an empty JSON object. TransportError."""
        body = b"{}" if method == "POST" else b""
        content = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        return self.send(
            HttpRequest(
                method=method,
                target=target,
                headers=(
                    ("Host", self.authority),
                    ("User-Agent", f"{USER_AGENT} verify"),
                    ("Accept", "application/json"),
                    ("Connection", "close"),
                    *headers,
                    *(content if body else ()),
                ),
                body=body,
            )
        )

    def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to this request. Raises TransportError."""
        response = send(self.route, request, Deadline(self.clock, REQUEST_SECONDS))
        for _ in range(RETRIES):
            if response.status != 429:
                break
            self.sleep(1.0)
            response = send(self.route, request, Deadline(self.clock, REQUEST_SECONDS))
        return response.without(*self.secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Verifies targets.

    `credentials`: to try out. `wait_seconds`: how long to repeat the checks after a failure.
    `waiting` gets what is waited for.
    """

    credentials: CredentialsConfig | None = None
    wait_seconds: float = 0.0
    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = field(default=time.sleep)
    waiting: Callable[[str], object] = lambda text: None

    def verify(self, targets: Iterable[VerificationTarget]) -> dict[str, list[Finding]]:
        """Return the findings about each target by its name, without a failure if there is time.

        All of them share the time to wait.
        """
        deadline = self.clock.monotonic() + self.wait_seconds
        return {target.name: self._verify(target, deadline) for target in targets}

    def _verify(self, target: VerificationTarget, deadline: float) -> list[Finding]:
        while True:
            findings = list(self._check(target))
            failed = [each for each in findings if each.level is Level.FAILURE]
            if not failed or self.clock.monotonic() + POLL_SECONDS > deadline:
                return findings
            self.waiting(f"{target.name}: {failed[0].fact}")
            self.sleep(POLL_SECONDS)

    def _check(self, target: VerificationTarget) -> Iterator[Finding]:
        name = _check_name(target)
        yield name
        if name.level is Level.FAILURE:
            yield skipped("certificate", "there is no address to connect to")
            return
        prober = self._prober(target, target.door.address)
        certificate = _check_certificate(prober.route, target, self.clock.unix())
        yield certificate
        if certificate.level in (Level.FAILURE, Level.SKIPPED):
            yield skipped("api-server", "nothing is sent over an untrusted connection")
            return

        def judged(check: str, method: str, judge: Callable[[HttpResponse], Finding]) -> Finding:
            return _judged(
                lambda: prober.request(method, target.token_path),
                judge,
                partial(failure, check),
            )

        with ThreadPoolExecutor(THREADS) as pool:
            anonymous = pool.submit(
                judged, "api-server", "GET", partial(judge_anonymous, target=target)
            )
            tokenless = pool.submit(judged, "no-token", "POST", judge_tokenless)
            plain = pool.submit(self._check_plain_http, target)
            blocked = [
                pool.submit(_check_blocked, prober, each) for each in blocked_requests(target)
            ]
            forged = pool.submit(self._check_forged_tokens, target)
            with_credentials = pool.submit(self._check_credentials, prober, target)
            yield anonymous.result()
            yield tokenless.result()
            yield plain.result()
            yield worst_of_blocked([each.result() for each in blocked])
            yield from forged.result()
            yield from with_credentials.result()

    def _prober(self, target: VerificationTarget, address: HostPort, *secrets: Secret) -> Prober:
        """Return a client with verified TLS, through HTTPS_PROXY if that is set."""
        token = self.credentials.token if self.credentials is not None else None
        return Prober(
            route=route_to(address, target.certificate_authority, tls=True),
            authority=str(address).removesuffix(":443"),
            secrets=secrets if token is None else (token, *secrets),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _check_plain_http(self, target: VerificationTarget) -> Finding:
        address = target.door.address
        if address.port != 443:
            return skipped("plain-http", "only checked for a door at port 443")
        route, response = Route(target=HostPort(address.host, 80)), None
        with suppress(TransportError):
            request = get(address.host, target.token_path)
            response = send(route, request, Deadline(self.clock, PLAIN_HTTP_SECONDS))
        return judge_plain_http(response)

    def _check_forged_tokens(self, target: VerificationTarget) -> list[Finding]:
        gates = [gate for gate in target.gates if gate.is_checked]
        if target.issuer is None:
            return [skipped(GATE_CLOSED, NO_ISSUER)] if gates else []
        findings = []
        for gate in gates:
            token = Secret(forged_token(target.issuer, gate.audiences[0], self.clock.unix()))
            unclear = partial(skipped, GATE_CLOSED)
            findings.append(self._ask(target, gate, token, judge_forged, unclear))
        return findings

    def _check_credentials(self, prober: Prober, target: VerificationTarget) -> list[Finding]:
        config = self.credentials
        if config is None:
            return []
        door = config.door
        if str(door.address) != str(target.door.address) or door.path != target.door.path:
            return [skipped("exchange", f"the credentials are for {door.url}")]
        finding, token = exchange(Credentials(config))
        findings = [finding]
        if token is None:
            return findings
        if (request := policy_request(config)) is not None:
            findings.append(
                _judged(
                    lambda: prober.send(request.encode()),
                    lambda response: judge_policy(response, expected=target.has_policy),
                    partial(failure, "policy"),
                )
            )
        meant = [gate for gate in target.gates if {*token.audiences} & {*gate.audiences}]
        return findings + [
            self._ask(target, gate, token.value, judge_gate, partial(failure, "gate"))
            for gate in meant or target.gates
            if gate.address is not None and (meant or gate.is_checked)
        ]

    def _ask(
        self,
        target: VerificationTarget,
        gate: GateTarget,
        token: Secret,
        judge: Callable[[HttpResponse], Finding],
        unanswered: Callable[[str], Finding],
    ) -> Finding:
        """Judge a gate's response to a token; without one, return `unanswered` with the reason."""
        if gate.address is None:
            finding = unanswered(gate.why_not)
        else:
            prober = self._prober(target, gate.address, token)
            headers = [("Authorization", f"Bearer {token.reveal()}")]
            finding = _judged(
                lambda: prober.request("GET", "/", headers),
                judge,
                lambda words: unanswered(f"{prober.authority}: {words}"),
            )
        return replace(finding, fact=f"gate {gate.name}: {finding.fact}") if gate.name else finding


def _check_name(target: VerificationTarget) -> Finding:
    address = target.door.address
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        hint = (
            "create a DNS record that leads to the ingress or gateway, and check this machine's DNS"
        )
        if target.has_record:
            hint = (
                f"ExternalDNS may need minutes after `{command('apply')}`: --wait waits for it"
                ";\nthen check its log, and whether it manages this zone"
            )
        return failure("name", f"could not resolve {address.host}", hint)
    addresses = sorted({str(each[4][0]) for each in found})
    return ok("name", f"{address.host} is {', '.join(addresses)}")


def _check_certificate(route: Route, target: VerificationTarget, now_unix: float) -> Finding:
    """Connect to the door without sending anything, and judge its certificate."""
    check, address, context = "certificate", target.door.address, route.context
    if route.proxy is not None or context is None:
        return ok(check, "verified with each request (through a proxy)")
    try:
        to = socket.create_connection((address.host, address.port), REQUEST_SECONDS)
        with context.wrap_socket(to, server_hostname=address.host) as connection:
            fields = connection.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        fact = f"the certificate of {address.host} is not trusted: {error.verify_message}"
        return failure(check, fact, _certificate_hint(error.verify_code))
    except OSError as error:
        missing, reason = "connection to", error.strerror
        if isinstance(error, ssl.SSLError):
            missing, reason = "TLS with", error.reason
        return failure(
            check,
            f"no {missing} {address}: {printable(reason or type(error).__name__)}",
            "does the ingress or gateway listen there, and does a firewall let you through?",
        )
    days = int((ssl.cert_time_to_seconds(str(fields["notAfter"])) - now_unix) // 86400)
    fact = f"trusted, valid for {days} more days"
    if days >= _RENEWAL_DAYS:
        return ok(check, fact)
    hint = "renew it: cert-manager does that automatically (`tls: {issuer: NAME}`)"
    if target.has_issuer:
        described = kubectl("describe", "certificates", "-A")
        hint = f"cert-manager should have renewed it: {described}"
    return warning(check, fact, hint)


def _certificate_hint(verify_code: int) -> str:
    """Return what to do about a certificate, by OpenSSL's code of its verification."""
    if verify_code not in UNKNOWN_ISSUER:
        return "is it for this host, does the name lead to this cluster, and is your clock right?"
    return (
        "without a certificate for this host, an ingress controller presents its own: `tls:"
        " {secret: NAME}` or `tls: {issuer: NAME}`\nfor your own authority: --certificate-authority"
        f" FILE, and the same in the credentials of clients\n`{command('up')}` prints the path of"
        " its authority"
    )


def _judged(
    send_request: Callable[[], HttpResponse],
    judge: Callable[[HttpResponse], Finding],
    unanswered: Callable[[str], Finding],
) -> Finding:
    """Judge the response to a request; without one, return `unanswered` with the reason."""
    try:
        response = send_request()
    except TransportError as error:
        return unanswered(no_response(error))
    return judge(response)


def _check_blocked(prober: Prober, request: BlockedRequest) -> Finding:
    response = None
    with suppress(TransportError):
        response = prober.request(request.method, request.target)
    return judge_blocked(request, response)
