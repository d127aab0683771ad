"""The checks of a published domain, in the order in which a person would make them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.hints import command
from daypass._core.net import HostPort
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.http1 import USER_AGENT, HttpRequest, HttpResponse
from daypass.client.transport import RESOLVE, Deadline, Route, TransportError, route_to, send
from daypass.verification.certificate import (
    judge_certificate,
    judge_untrusted,
    read_certificate,
    read_untrusted_certificate,
)
from daypass.verification.door_checks import (
    blocked_requests,
    exchange,
    judge_all_blocked,
    judge_anonymous,
    judge_plain_http,
    judge_policy,
    judge_tokenless,
    policy_request,
)
from daypass.verification.gate_checks import (
    GATE_CLOSED,
    NO_HOST,
    NO_ISSUER,
    forged_token,
    judge_forged,
    judge_gate,
)
from daypass.verification.report import Finding, Level, failure, ok, skipped
from daypass.verification.target import VerificationTarget

CONNECT_SECONDS = 5.0
PLAIN_HTTP_SECONDS = 3.0
REQUEST_SECONDS = 10.0
POLL_SECONDS = 5.0
THREADS = 12
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

    def get_with_token(self, token: str) -> HttpResponse:
        """Return the response to a GET of / with a bearer token. Raises TransportError."""
        return self.request("GET", "/", [("Authorization", f"Bearer {token}")])

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
    `progress` gets what is waited for.
    """

    credentials: CredentialsConfig | None = None
    wait_seconds: float = 0.0
    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = field(default=time.sleep)
    progress: Callable[[str], None] = lambda text: None

    def verify(self, target: VerificationTarget) -> list[Finding]:
        """Return all findings, once they are without a failure or the time is over."""
        deadline = self.clock.monotonic() + self.wait_seconds
        while True:
            findings = list(self._check(target))
            failed = [each for each in findings if each.level is Level.FAILURE]
            if not failed or self.clock.monotonic() + POLL_SECONDS > deadline:
                return findings
            self.progress(f"{target.name}: {failed[0].fact}")
            self.sleep(POLL_SECONDS)

    def _check(self, target: VerificationTarget) -> Iterator[Finding]:
        name = _check_name(target)
        yield name
        if name.level is Level.FAILURE:
            yield skipped("certificate", "there is no address to connect to")
            return
        prober = self._prober(target, target.door.address, target.door.authority)
        certificate = self._check_certificate(prober, target)
        yield certificate
        if certificate.level in (Level.FAILURE, Level.SKIPPED):
            yield skipped("api-server", "nothing is sent over an untrusted connection")
            return
        with ThreadPoolExecutor(THREADS) as pool:
            anonymous = pool.submit(_try_request, prober, "GET", target.token_path)
            tokenless = pool.submit(_try_request, prober, "POST", target.token_path)
            plain = pool.submit(self._check_plain_http, target)
            blocked = [
                (each, pool.submit(_try_request, prober, each.method, each.target))
                for each in blocked_requests(target)
            ]
            forged = pool.submit(self._check_forged_token, target)
            with_credentials = pool.submit(self._check_credentials, prober, target)
            yield _judged("api-server", anonymous.result(), judge_anonymous, target)
            yield _judged("no-token", tokenless.result(), judge_tokenless, target)
            yield plain.result()
            responses = [(each, _response(task.result())) for each, task in blocked]
            yield judge_all_blocked(responses, target)
            yield from forged.result()
            yield from with_credentials.result()

    def _prober(
        self, target: VerificationTarget, address: HostPort, authority: str, *secrets: Secret
    ) -> Prober:
        """Return a client with verified TLS, through HTTPS_PROXY if that is set."""
        token = self.credentials.token if self.credentials is not None else None
        return Prober(
            route=route_to(address, target.certificate_authority, tls=True),
            authority=authority,
            secrets=secrets if token is None else (token, *secrets),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _gate_prober(self, target: VerificationTarget, url: str, *secrets: Secret) -> Prober:
        authority = url.removeprefix("https://").rstrip("/")
        address = HostPort.parse(authority, default_port=443)
        assert address is not None  # noqa: S101 - from a validated config
        return self._prober(target, address, authority, *secrets)

    def _check_certificate(self, prober: Prober, target: VerificationTarget) -> Finding:
        address, context = target.door.address, prober.route.context
        if prober.route.proxy is not None or context is None:
            return ok("certificate", "verified with each request (through a proxy)")
        try:
            with context.wrap_socket(_connect(address), server_hostname=address.host) as connection:
                fields = connection.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            seen = read_untrusted_certificate(lambda: _connect(address), address.host)
            return judge_untrusted(error, seen, target)
        except ssl.SSLError as error:
            return failure(
                "certificate",
                f"TLS with {address} fails: {printable(error.reason or type(error).__name__)}",
                "does this port speak TLS, and is it that of the ingress or gateway?",
            )
        except OSError as error:
            return failure(
                "certificate",
                f"no connection to {address}: {error.strerror or type(error).__name__}",
                "does the ingress or gateway listen there, and does a firewall let you through?",
            )
        return judge_certificate(read_certificate(fields), target, self.clock.unix())

    def _check_plain_http(self, target: VerificationTarget) -> Finding:
        address = target.door.address
        if address.port != 443:
            return skipped("plain-http", "only checked for a door at port 443")
        request = HttpRequest(
            method="GET",
            target=target.token_path,
            headers=(("Host", address.host), ("User-Agent", USER_AGENT), ("Connection", "close")),
        )
        route = Route(target=HostPort(address.host, 80))
        try:
            response = send(route, request, Deadline(self.clock, PLAIN_HTTP_SECONDS))
        except TransportError:
            return judge_plain_http(None, target)
        return judge_plain_http(response, target)

    def _check_forged_token(self, target: VerificationTarget) -> list[Finding]:
        if target.gate_url is None:
            return [skipped(GATE_CLOSED, NO_HOST)] if target.gate_audience else []
        if target.issuer is None:
            return [skipped(GATE_CLOSED, NO_ISSUER)]
        prober = self._gate_prober(target, target.gate_url)
        token = forged_token(target.issuer, target.gate_audience, self.clock.unix())
        try:
            return [judge_forged(prober.get_with_token(token))]
        except TransportError as error:
            return [skipped(GATE_CLOSED, f"{prober.authority}: {_no_response(error)}")]

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
        request = policy_request(config)
        if request is not None:
            try:
                response = prober.send(request.encode())
                findings.append(
                    judge_policy(response, expected=target.has_policy, embedded=target.is_embedded)
                )
            except TransportError as error:
                findings.append(failure("policy", _no_response(error)))
        if target.gate_url is not None:
            gate = self._gate_prober(target, target.gate_url, token.value)
            try:
                findings.append(judge_gate(gate.get_with_token(token.value.reveal())))
            except TransportError as error:
                findings.append(failure("gate", f"{gate.authority}: {_no_response(error)}"))
        return findings


def _check_name(target: VerificationTarget) -> Finding:
    address = target.door.address
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        hint = (
            "create a DNS record that leads to the ingress or gateway, and check this machine's DNS"
        )
        if target.dns == "external-dns":
            hint = (
                f"ExternalDNS may need minutes after `{command('apply')}`: --wait 10m waits for it"
                ";\nthen check its log, and whether it manages this zone"
            )
        return failure("name", f"could not resolve {address.host}", hint)
    addresses = sorted({str(each[4][0]) for each in found})
    return ok("name", f"{address.host} is {', '.join(addresses)}")


def _connect(address: HostPort) -> socket.socket:
    return socket.create_connection((address.host, address.port), CONNECT_SECONDS)


def _try_request(prober: Prober, method: str, target: str) -> HttpResponse | TransportError:
    try:
        return prober.request(method, target)
    except TransportError as error:
        return error


def _response(result: HttpResponse | TransportError) -> HttpResponse | None:
    return None if isinstance(result, TransportError) else result


def _judged(
    check: str,
    result: HttpResponse | TransportError,
    judge: Callable[[HttpResponse, VerificationTarget], Finding],
    target: VerificationTarget,
) -> Finding:
    if isinstance(result, TransportError):
        return failure(check, _no_response(result))
    return judge(result, target)


def _no_response(error: TransportError) -> str:
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "there is no answer: it takes too long"
    text = cause.strerror if isinstance(cause, OSError) else None
    stage = " (name)" if error.stage == RESOLVE else ""
    return f"there is no answer: {printable(text or type(cause).__name__)}{stage}"
