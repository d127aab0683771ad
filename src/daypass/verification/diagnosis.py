"""What is wrong on this machine, or with these credentials: the steps of `daypass doctor`.

STEPS is the whole use case. A step returns what it found, or raises a DaypassError, whose hint is
what to do next. It needs the standard library alone, and no right in the cluster. The long-lived
token is sent only to its door, a new short-lived one only to the gate that is named.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from daypass._core import VERSION
from daypass._core.clock import format_duration, parse_http_date, rfc3339
from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Finding, Level, failure, ok, skipped, warning
from daypass._core.hints import command, docs_page, how_to_install
from daypass._core.jwt import unverified_claims
from daypass._core.kubernetes.status import Status, excerpt
from daypass._core.kubernetes.syntax import ANONYMOUS, PROBE_PATH
from daypass._core.net import HostPort, proxy_variable
from daypass._core.secret import Secret, redact
from daypass._core.text import printable
from daypass.client.config import CredentialsConfig
from daypass.client.credentials_source import FILE_VARIABLE, read_source
from daypass.client.door import DoorUrl, TokenRequest, require_tls
from daypass.client.error_mapping import (
    explain_refusal,
    explain_transport,
    no_response,
)
from daypass.client.errors import ExchangeRefusedError
from daypass.client.exchange import exchange
from daypass.client.http1 import USER_AGENT, HttpRequest, HttpResponse
from daypass.client.shared_cache import CacheWarning, SharedTokenCache, cache_folder
from daypass.client.token import Token
from daypass.client.transport import (
    RESOLVE,
    Deadline,
    Route,
    Timing,
    TransportError,
    resolve,
    route_to,
    send,
)
from daypass.rules.reasons import REASON_HEADER, Reason

LIMIT_SECONDS = 10.0
STEP_SECONDS = 3.0
"""How long a step waits at most: those after it need time, too."""
REPORTED_SKEW_SECONDS = 300
LOGIN = re.compile(r"login|oauth|\bauth(?!ors?\b)|\bdex\b|\bsso", re.IGNORECASE)
"""What the URL of a login has."""
_REVOKED = ("long-lived-token-refused", "no-secret", "no-service-account")
"""Reasons of a refused exchange: the credentials exist no more."""
_NEXT: dict[str, str] = {
    Reason.UNKNOWN_CREDENTIAL: "the API server has just issued this token, so the gate does not"
    " watch its namespace, or lags behind: tell your administrator",
    Reason.UNKNOWN: "the gate refuses every token now: try again, and tell your administrator",
    Reason.NOT_GUARDED: "is the host in the URL right?",
    Reason.AUDIENCE: "then configure it: `audience` in the credentials file",
}
"""What to do after a gate's refusal, by its reason."""


class GateUrl(DoorUrl):
    """A URL behind a gate. `path`: with the query."""

    @classmethod
    def parse(cls, text: str) -> GateUrl:
        """Return the parts of a URL; raises UsageError, and CredentialsError for plain http."""
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        tls = parts.scheme == "https"
        address = HostPort.parse(parts.netloc, default_port=443 if tls else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        is_plain = path.isascii() and path.isprintable() and " " not in path
        if parts.scheme not in ("https", "http") or address is None or not is_plain:
            hint = "it looks like https://kubeflow.example.com/pipeline/"
            raise UsageError("--gate is not an https:// URL with a host and a path", hint)
        require_tls(parts.scheme, address.host)
        return cls(tls=tls, address=address, path=path, url=text)


@dataclass(slots=True, kw_only=True)
class Diagnosis:
    """The options, and what the steps have found so far.

    `path`: a credentials file, instead of the variables. `passed`: the steps without a failure; a
    step reads only what those that it needs have set. `refusal`: the reason of a failed exchange.
    """

    path: str | None
    audience: str | None
    gate: GateUrl | None
    timing: Timing
    deadline: Deadline
    passed: set[str] = field(default_factory=set)
    config: CredentialsConfig = field(init=False)
    request: TokenRequest = field(init=False)
    route: Route = field(init=False)
    response: HttpResponse = field(init=False)
    token: Token = field(init=False)
    refusal: str = ""

    def wait(self) -> Deadline:
        """Return the deadline of a step that begins now."""
        return Deadline(self.timing.clock, min(STEP_SECONDS, self.deadline.seconds_left() - 0.5))


Step: TypeAlias = Callable[[Diagnosis], Finding]


def diagnose(case: Diagnosis) -> Iterator[Finding]:
    """Yield what each step finds, as soon as it does, and last which steps were not tried."""
    left = []
    for name, step, needs in STEPS:
        if not case.passed.issuperset(needs) or case.deadline.seconds_left() <= 0:
            left.append(name)
            continue
        finding = _tried(case, name, step)
        if finding.level is not Level.FAILURE:
            case.passed.add(name)
        yield replace(finding, fact=redact(finding.fact), hint=redact(finding.hint))
    if left:
        yield skipped("not tried", ", ".join(left))


def _tried(case: Diagnosis, name: str, step: Step) -> Finding:
    """Return what a step finds, or what it raises as a failure."""
    try:
        return step(case)
    except TransportError as error:
        problem = explain_transport(error, case.request, case.timing.clock.unix())
    except DaypassError as error:
        problem = error
    return failure(name, problem.fact, problem.hint)


def check_python(case: Diagnosis) -> Finding:
    lines = (
        f"daypass {VERSION} on Python {platform.python_version()}, {sys.executable}",
        f"to add an extra: {how_to_install('NAME')}",
    )
    return ok("python", "\n".join(lines))


def read_credentials(case: Diagnosis) -> Finding:
    """Find out which credentials are used, whose they are, and that nobody else can read them."""
    source = read_source(os.environ, case.path)
    case.config = config = CredentialsConfig(source)
    identity, token = config.identity, config.token or Secret("")
    case.request = TokenRequest(
        door=config.door, identity=identity, token=token, audience="", lifetime_seconds=0
    )
    origin = "--credentials" if case.path else FILE_VARIABLE
    kind = "a token of another issuer for" if identity.is_federated else "the long-lived token of"
    secret = f", in its Secret {identity.secret_name}" if identity.secret_name else ""
    trusted = " and ".join(filter(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))
    if config.certificate_authority is not None:
        trusted = "certificateAuthority of the credentials"
    lines = [
        f"{origin}: {kind} {identity.namespace}/{identity.service_account}{secret}",
        f"door: {config.door.url}, audience: {config.audience or 'none is configured'}",
        f"the door is trusted by {trusted or 'the authorities of this machine'}",
    ]
    for path, _ in config.files:
        status = os.stat(path)
        owner = "yours" if status.st_uid == os.geteuid() else f"of user {status.st_uid}"
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
        lines.append(f"{printable(os.path.abspath(path))}: {mode}, {owner}")
    return ok("credentials", "\n".join(lines))


def check_proxy(case: Diagnosis) -> Finding:
    """Find out which proxy leads to the door, and which variables daypass does not follow."""
    door = case.config.door
    case.route = route_to(door.address, case.config.certificate_authority, tls=door.tls)
    named = proxy_variable(os.environ, "https_proxy")
    others = [each for each in ("all_proxy", "http_proxy") if proxy_variable(os.environ, each)]
    way = "directly: HTTPS_PROXY is not set"
    if case.route.proxy is not None:
        way = f"through {case.route.first}, by HTTPS_PROXY"
    elif named:
        way = "without HTTPS_PROXY: it is this machine, or NO_PROXY lists it"
    fact = f"{door.address.host} is reached {way}"
    if named or others:
        fact += "\nso daypass gets tokens; for calls with them, your HTTP library has its own rules"
    if not others or named:
        return ok("proxy", fact)
    fact += f"\ndaypass does not follow {' and '.join(others)}"
    return warning("proxy", fact, "if it needs a proxy: export HTTPS_PROXY=http://HOST:PORT")


def resolve_name(case: Diagnosis) -> Finding:
    try:
        found = resolve(case.route.first, case.wait().remaining())
    except OSError as error:
        raise TransportError(RESOLVE, case.route) from error
    addresses = sorted({str(each[4][0]) for each in found})
    return ok("dns", f"{case.route.first.host} is {', '.join(addresses[:8])}")


def check_connection(case: Diagnosis) -> Finding:
    """Ask the door, without a token, for what the API server itself refuses."""
    door = case.config.door
    case.response = send(case.route, get(door.authority, door.path + PROBE_PATH), case.wait())
    how = "its certificate is trusted" if door.tls else "without TLS"
    return ok("connection", f"{door.address} answers, {how}")


def check_door(case: Diagnosis) -> Finding:
    url, code = case.config.door.url, case.response.status
    message = _message(case.response)
    if (code == 403 and ANONYMOUS in message) or (code == 401 and message == "Unauthorized"):
        return ok("door", f"the API server answers at {url} ({code} without a token)")
    problem = explain_refusal(case.response, case.request)
    if isinstance(problem, ExchangeRefusedError):  # of a token, which this request has not
        hint = f"is the URL right? An administrator sees more with `{command('verify', url)}`"
        return failure("door", f"{url} is not a door: it answers {code}: {message}", hint)
    raise problem


def check_clock(case: Diagnosis) -> Finding:
    date_unix = parse_http_date(case.response.header("date"))
    if date_unix is None:
        return skipped("clock", "the door's answer has no date")
    ahead = case.timing.clock.unix() - date_unix
    side = "ahead of" if ahead > 0 else "behind"
    fact = f"this machine's clock is {format_duration(int(abs(ahead)))} {side} the door's"
    if abs(ahead) < REPORTED_SKEW_SECONDS:
        return ok("clock", fact)
    return failure("clock", fact, "set it right: sudo timedatectl set-ntp true")


def exchange_token(case: Diagnosis) -> Finding:
    """Get a new token, and cache it nowhere."""
    config, begun = case.config, case.timing.clock.monotonic()
    try:
        key = config.key(case.audience, None)
        cached = exchange(config, key, case.wait(), case.timing, send=send, tries=1)
    except DaypassError as error:
        case.refusal = error.reason
        if error.reason in _REVOKED and not config.identity.is_federated:
            name, namespace = config.identity.service_account, config.identity.namespace
            line = command("identity", "create", name, "-n", namespace)
            error.hint += f"\n(who makes them with `{line}`)"
        raise
    case.token = cached.token
    seconds = case.timing.clock.monotonic() - begun
    fact = f"a new token for {', '.join(case.token.audiences)} in {seconds:.2f} s"
    return ok("exchange", fact)


def check_claims(case: Diagnosis) -> Finding:
    """Report the claims of the new token, and whether gates accept such a token."""
    user, secret, jti = _claims(case.token.value.reveal())
    bound = f"bound to Secret {secret}" if secret else "bound to no Secret"
    fact = f"{user}, {bound}, until {rfc3339(case.token.expires_at)}, jti {jti}"
    if secret:
        return ok("token", fact)
    hint = "gates refuse what cannot be revoked: ask your administrator for a Secret"
    return warning("token", fact, hint)


def check_gate(case: Diagnosis) -> Finding:
    if case.gate is None:
        return skipped("gate", "--gate URL, which your program calls, sends the new token there")
    return _ask(case, case.gate, case.token.value if "exchange" in case.passed else None)


def check_cache(case: Diagnosis) -> Finding:
    """Look for tokens that commands use although the credentials were revoked."""
    clock, clear = case.timing.clock, command("token", "--clear-cache")
    try:
        folder = cache_folder(os.environ)
        cache = SharedTokenCache(folder=folder, environ=os.environ, warn=lambda problem: None)
        stored = [cache.load(name, clock) for name in cache.names()]
    except CacheWarning as problem:
        return warning("cache", problem.fact, problem.hint or clear)
    tokens = [each for each in stored if each is not None and each.is_usable(clock)]
    secret = case.config.identity.secret_name if "credentials" in case.passed else None
    own = [each for each in tokens if secret and _claims(each.value)[1] == secret]
    if not tokens:
        return ok("cache", f"no tokens in {printable(folder)}")
    fact = f"{len(own)} of {len(tokens)} in {printable(folder)} are of these credentials"
    for each in own[:8]:
        age = format_duration(int(each.age_seconds(clock)))
        fact += f"\nfor {printable(', '.join(each.token.audiences))}, {age} old"
    if own and case.refusal in _REVOKED:
        until = max(each.expires_at for each in own)
        return failure("cache", f"{fact}\nrevoked since then, and used until {until}", clear)
    return ok("cache", fact)


def get(host: str, path: str, *headers: tuple[str, str]) -> HttpRequest:
    """Return a GET of a path with these headers, too. `host`: as in the Host header."""
    usual = (("Host", host), ("User-Agent", USER_AGENT), ("Accept", "application/json"))
    closing = ("Connection", "close")
    return HttpRequest(method="GET", target=path, headers=(*usual, *headers, closing))


def _message(response: HttpResponse) -> str:
    status = Status.parse(response.body)
    return excerpt(response.body) if status is None else printable(status.message, 1024)


def _ask(case: Diagnosis, gate: GateUrl, token: Secret | None) -> Finding:
    """Judge what a gate answers to a token, or to none, with the authorities of this machine."""
    secrets = [token] if token else []
    headers = [("Authorization", f"Bearer {each.reveal()}") for each in secrets]
    request = get(gate.authority, gate.path, *headers)
    try:
        route = route_to(gate.address, tls=gate.tls)
        response = send(route, request, case.wait(), needs_body=False)
    except TransportError as error:
        words, hint = no_response(error), "is the URL right, host and port?"
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            words = f"its certificate is not trusted: {error.__cause__.verify_message}"
            hint = "put its authority into a file, for your program too: export SSL_CERT_FILE=FILE"
        return failure("gate", f"{gate.authority}: {words}", hint)
    return judge_token(response.without(*secrets), gate.authority, has_token=token is not None)


def judge_token(response: HttpResponse, host: str, *, has_token: bool) -> Finding:
    """Judge the response of a host behind a gate to a token, or to none."""
    code, reason = response.status, printable(response.header(REASON_HEADER), 40)
    message, location = _message(response), printable(response.header("location").partition("?")[0])
    if not has_token and reason == Reason.NO_TOKEN:
        return ok("gate", f"a gate answers, without a token: {message}")
    if reason:
        message = message.partition(f" (`{command('doctor')}")[0]  # this is it
        page = f"{docs_page('reference/gate-refusals.md')} explains it"
        fact = f"the gate refuses this ({code} {reason}): {message}"
        return failure("gate", fact, _NEXT.get(reason, page))
    if 300 <= code < 400 and LOGIN.search(location):
        hint = "does the gate guard this URL? It has to come before the login"
        return failure("gate", f"{host} redirects to a login: {location} ({code})", hint)
    if code in (401, 403):
        fact = f"the gate does not refuse this, but the service or a policy does ({code})"
        hint = "ask for access: an administrator grants it to the user of the token"
        return failure("gate", f"{fact}: {message}", hint)
    if not has_token:
        return warning("gate", f"{host} answers {code} without a token: no gate guards it")
    if code >= 500:
        hint = "the gate has let it pass: ask the owner of the service"
        return warning("gate", f"the service does not work ({code}): {message}", hint)
    return ok("gate", f"{host} accepts the token ({code} from the service behind it)")


def _claims(token: str) -> tuple[str, str, str]:
    """Return subject, Secret and ID in a token of an API server, "" for what it lacks."""
    claims = unverified_claims(token)
    secret: Any = claims.get("kubernetes.io")
    for key in ("secret", "name"):
        secret = secret.get(key) if isinstance(secret, dict) else None
    user, jti = claims.get("sub"), claims.get("jti")
    return printable(str(user or "")), printable(str(secret or "")), printable(str(jti or ""))


STEPS: tuple[tuple[str, Step, tuple[str, ...]], ...] = (
    ("python", check_python, ()),
    ("credentials", read_credentials, ()),
    ("proxy", check_proxy, ("credentials",)),
    ("dns", resolve_name, ("proxy",)),
    ("connection", check_connection, ("dns",)),
    ("door", check_door, ("connection",)),
    ("clock", check_clock, ("connection",)),
    ("exchange", exchange_token, ("door",)),
    ("token", check_claims, ("exchange",)),
    ("gate", check_gate, ()),
    ("cache", check_cache, ()),
)  # fmt: skip
"""The name of each step, and the steps that it needs."""
