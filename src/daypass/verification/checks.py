"""What `daypass verify` checks: requests to a door and a gate, and what the responses mean.

Does the API server itself answer, and is anything else reachable? Does the gate refuse a forged
token, and accept a real one? An Envoy that rejects the gate's filters keeps its previous config for
all hosts, and reports that only in its log: a forged token shows it from outside.

Each `judge_` function returns the finding for one response.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass

from daypass._core.clock import rfc3339
from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, Level, failure, ok, skipped, warning
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes.status import Status
from daypass._core.kubernetes.syntax import (
    ANONYMOUS,
    LONGEST_TOKEN_SECONDS,
    PROBE_PATH,
    SHORTEST_TOKEN_SECONDS,
)
from daypass._core.net import HostPort
from daypass._core.text import printable
from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.door import DoorUrl, TokenRequest
from daypass.client.http1 import HttpResponse
from daypass.client.subject_token import TokenIdentity
from daypass.client.token import Token
from daypass.config import Config, Domain, TlsIssuer
from daypass.identity.accounts import new_secret_name
from daypass.render.fronts import fronts_of
from daypass.rules.patterns import EVERY_HOST, HostPattern
from daypass.rules.reasons import REASON_HEADER, Reason
from daypass.verification.diagnosis import LOGIN, judge_token

MADE_UP = "daypass-verify"
"""Stands for a model and its namespace where a gate guards no host by name."""
BLOCKED = "nothing-else"
_USER = re.compile(r'User "([^"]*)" cannot')
_TAKE_DOWN = "more than TokenRequests is reachable: remove the route, and check what it leads to"
GATE_CLOSED = "gate-closed"
_ACCEPTED_ELSEWHERE = (Reason.MODEL, Reason.AUDIENCE_OPENING)
"""Reasons of refusals that depend on the URL, which is that of no model."""
NO_ISSUER = "the issuer is not known: set cluster.issuer in the config"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTarget:
    """A gate. `name`: the config's, if there are several. `audiences`: of tokens for it, the one
    that opens all first. `address`: where it answers; None if that is not known, for a reason.
    `is_checked`: with this domain: it is at its host, or at no host of a better domain.
    """

    name: str
    audiences: tuple[str, ...]
    address: HostPort | None
    why_not: str = ""
    is_checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationTarget:
    """A published domain. `name`: the config's, or the host of the URL.

    `is_local`: `daypass up` serves it, not a cluster. `has_issuer`: cert-manager issues its
    certificate. `has_record`: ExternalDNS creates its record. `certificate_authority`: PEM to trust
    instead of the system's authorities. `gates`: all of the config. `issuer`: the `iss` of the
    cluster's tokens. `has_policy`: the config has a policy for it.
    """

    name: str
    door: DoorUrl
    is_local: bool = False
    has_issuer: bool = False
    has_record: bool = False
    certificate_authority: str | None = None
    gates: tuple[GateTarget, ...] = ()
    issuer: str | None = None
    has_policy: bool = False

    @property
    def token_path(self) -> str:
        """The path of a TokenRequest that an anonymous caller may not make."""
        return self.door.path + PROBE_PATH


def target_of_url(url: str, certificate_authority: str | None) -> VerificationTarget:
    """Return a target without a config. Raises CredentialsError for an invalid door URL."""
    door = DoorUrl.parse(url)
    return VerificationTarget(
        name=door.address.host, door=door, certificate_authority=certificate_authority
    )


def targets_of(
    config: Config,
    name: str | None,
    certificate_authority: str | None,
    machine_authority: str | None = None,
) -> list[VerificationTarget]:
    """Return the domains of a config, or the one of this name. Raises UsageError if it has none.

    `machine_authority`: PEM of the authority of `daypass up`, for domains with its certificates.
    """
    if name is not None:
        config.find_domain(name)
    fronts = {front.name: front for front in fronts_of(config)}
    names = set(config.gates)
    own = {each: config.gate_of(domain) for each, domain in config.domains.items()}
    checked = {each: names if found is None else {found[0]} for each, found in own.items()}
    if name is None:  # with the first domain, those of no domain
        checked[next(iter(own))] |= names - set().union(*checked.values())
    targets = []
    for each, domain in config.domains.items():
        if name not in (None, each):
            continue
        front = fronts.get(each)
        door = HostPort(domain.host, config.port_of(domain, config.local.door))
        own_authority = machine_authority if domain.tls is None else None
        gates = (
            _gate_target(config, gate, domain, is_checked=gate in checked[each])
            for gate in config.gates
        )
        target = VerificationTarget(
            name=each,
            door=DoorUrl.parse(f"https://{door}{config.prefix}"),
            is_local=front is None,
            has_issuer=isinstance(domain.tls, TlsIssuer),
            has_record=front is not None and bool(front.dns_annotations),
            certificate_authority=certificate_authority or own_authority,
            gates=tuple(gates),
            issuer=config.cluster.issuer,
            has_policy=config.policy is not None and front is not None,
        )
        targets.append(target)
    return targets


def _gate_target(config: Config, name: str, domain: Domain, *, is_checked: bool) -> GateTarget:
    """Return where a gate answers: at the domain, or else at a host of its own."""
    gate, several = config.gates[name], len(config.gates) > 1
    host, why_not = gate.verify_host or domain.host, ""
    if gate.verify_host is None and config.gate_of(domain) != (name, gate):
        patterns = sorted(map(HostPattern.parse, gate.hosts), key=lambda each: not each.is_literal)
        forms = (each.example(MADE_UP) for each in patterns if each.text != EVERY_HOST)
        host = next(forms, "")
        hosts = f"gates.{name}.hosts"
        if not host:
            why_not = f"{hosts} name no host to send the request to: add verifyHost"
        elif host.endswith(".svc.cluster.local"):
            why_not = f"{hosts} are names inside the cluster"
    return GateTarget(
        name=name if several else "",
        audiences=(gate.audience, *gate.audiences),
        address=None if why_not else HostPort(host, config.port_of(domain, config.local.gate)),
        why_not=why_not,
        is_checked=is_checked,
    )


def judge_anonymous(response: HttpResponse, target: VerificationTarget) -> Finding:
    """Judge an anonymous GET of a token path, to which the API server answers 403."""
    check, code = "api-server", response.status
    status = Status.parse(response.body)
    if status is None:
        return _judge_foreign(check, response, target)
    message = printable(status.message)
    if code == 403 and ANONYMOUS in status.message:
        return ok(check, f"the API server itself answers: 403 {ANONYMOUS}")
    user = _USER.search(status.message)
    if user is not None and user[1] != "system:anonymous":
        return failure(
            check,
            f"a request without a token reaches the API server as {user[1]}",
            "something in between adds its own credentials, and every caller is that user. Remove"
            " the route\nnow, and look for what adds an Authorization header or a client"
            " certificate",
        )
    if code == 401 and message == "Unauthorized":
        return ok(check, "the API server itself answers: 401 (it allows no anonymous requests)")
    if 200 <= code < 300:
        return failure(
            check,
            f"a request without a token is answered with {code}",
            "anybody can read this: look for what adds credentials in between",
        )
    if "the gate " in message:
        return failure(
            check,
            f"the gate answers, and not a door: {code} {message}",
            f"the door has its own URL, which ends in {target.door.path}",
        )
    if "nothing is published here" in message:
        return failure(
            check,
            f"a door answers, but not for this host and prefix: {code} {message}",
            f"is the host's door the one of this config, with the prefix {target.door.path}?",
        )
    if code >= 500:
        return failure(
            check,
            f"the door cannot reach the API server: {code} {message}",
            "check cluster.server, cluster.serverName and cluster.certificateAuthority;\nthe door's"
            " log shows the cause",
        )
    return failure(
        check,
        f"this is not the API server's answer: {code} {message}",
        "does the name lead to another cluster or service?",
    )


def _judge_foreign(check: str, response: HttpResponse, target: VerificationTarget) -> Finding:
    code, location = response.status, printable(response.header("location"))
    if 300 <= code < 400:
        return failure(
            check,
            f"it redirects to {location or 'nowhere'} ({code})",
            f"the gateway's login covers {target.door.path}: exclude the prefix from it"
            if LOGIN.search(location)
            else "does the name lead to the ingress or gateway of this config?",
        )
    page = "an HTML page" if "html" in response.header("content-type") else "no Kubernetes Status"
    if code == 404:
        return failure(
            check,
            f"the ingress or gateway has no route for {target.door.path} (404, {page})",
            f"does `{command('up')}` run with this config?"
            if target.is_local
            else f"is it applied, and does its class match? `{command('apply')}`, then\n"
            + kubectl("get", "ingress,virtualservice,httproute", "-A"),
        )
    if code in (502, 503, 504):
        return failure(
            check,
            f"the ingress or gateway cannot reach the door ({code}, {page})",
            "are the door's pods ready, and is the door's certificate trusted?",
        )
    return failure(
        check,
        f"something other than a door answers ({code}, {page})",
        "does the name lead to the ingress or gateway of this config?",
    )


def judge_tokenless(response: HttpResponse) -> Finding:
    """Judge a POST without a token, which the door itself refuses."""
    check, code = "no-token", response.status
    status = Status.parse(response.body)
    message = printable(status.message) if status is not None else ""
    if code == 401 and response.header("www-authenticate").lower().startswith("bearer"):
        return ok(check, "the door refuses a POST without a token: 401, WWW-Authenticate: Bearer")
    if status is not None and code in (401, 403):
        return warning(
            check,
            f"a POST without a token reaches the API server, which refuses it ({code})",
            "is there a door before the API server?",
        )
    if 200 <= code < 300:
        return failure(
            check,
            f"a POST without a token is answered with {code}",
            "every caller gets a token: remove the route now",
        )
    return failure(check, f"a POST without a token gets {code} {message}".rstrip())


def judge_plain_http(response: HttpResponse | None) -> Finding:
    """Judge a request over plain http. None: there was no answer."""
    check = "plain-http"
    if response is None:
        return ok(check, "nothing answers on http://")
    code, location = response.status, response.header("location")
    status = Status.parse(response.body)
    if status is not None and ("system:anonymous" in status.message or 200 <= code < 300):
        return failure(
            check,
            f"http:// reaches the API server ({code})",
            "everybody on the way can read tokens that are sent to it: close http for this prefix",
        )
    if 300 <= code < 400 and location.startswith("https://"):
        return warning(
            check,
            f"http:// is redirected to https:// ({code})",
            "a client has sent its token in clear text before it is redirected, each time:\n"
            "better close http for this prefix",
        )
    if 200 <= code < 300:
        return failure(check, f"http:// is answered with {code}", "close http for this prefix")
    return ok(check, f"http:// is refused ({code})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedRequest:
    """A request that must not reach the API server. `what`: what it tries."""

    what: str
    method: str
    target: str


def blocked_requests(target: VerificationTarget) -> list[BlockedRequest]:
    """Return a request for each way to reach more than TokenRequests."""
    prefix, path = target.door.path, target.token_path
    accounts = path.rpartition("/default/token")[0]

    def get(what: str, target: str) -> BlockedRequest:
        return BlockedRequest(what=what, method="GET", target=target)

    return [
        get("another API", f"{prefix}/version"),
        get("the list of Secrets", f"{prefix}/api/v1/namespaces/default/secrets"),
        get("a path with ..", f"{accounts}/../secrets"),
        get("an encoded path", f"{accounts}/default/%74oken"),
        get("a trailing slash", f"{path}/"),
        get("a query", f"{path}?dryRun=All"),
        get("a double slash", f"/{path}"),
        BlockedRequest(what="another method", method="DELETE", target=path),
    ]


def judge_blocked(request: BlockedRequest, response: HttpResponse | None) -> Finding:
    """Judge the response to a request that must be blocked. None: the connection was closed."""
    if response is None:
        return ok(BLOCKED, f"{request.what}: the connection is closed")
    code = response.status
    status = Status.parse(response.body)
    message = printable(status.message) if status is not None else ""
    shown = f"{request.method} {request.target}"
    if 200 <= code < 300:
        return failure(BLOCKED, f"{request.what} is answered with {code}: {shown}", _TAKE_DOWN)
    # Only the API server's own answers contain these.
    if "system:anonymous" not in message and not (code == 401 and message == "Unauthorized"):
        return ok(BLOCKED, f"{request.what}: {code}")
    fact = f"{request.what} reaches the API server ({code}): {shown}"
    if '"serviceaccounts/token"' in message and request.method == "GET":
        return warning(
            BLOCKED, fact, "it is still a TokenRequest, but its path is changed on the way"
        )
    return failure(BLOCKED, fact, _TAKE_DOWN)


def worst_of_blocked(findings: list[Finding]) -> Finding:
    """Return the worst findings of all blocked requests as one, or that all are blocked."""
    for level in (Level.FAILURE, Level.WARNING):
        bad = [each for each in findings if each.level is level]
        if bad:
            facts = "\n".join(each.fact for each in bad)
            return Finding(check=BLOCKED, level=level, fact=facts, hint=bad[0].hint)
    return ok(BLOCKED, f"{len(findings)} other requests are blocked")


def exchange(credentials: Credentials) -> tuple[Finding, Token | None]:
    identity = f"{credentials.namespace}/{credentials.service_account}"
    try:
        token = credentials.token()
    except DaypassError as error:
        return failure("exchange", error.fact, error.hint), None
    fact = f"{identity} got a token for {', '.join(token.audiences)}"
    return ok("exchange", f"{fact}, until {rfc3339(token.expires_at)}"), token


def policy_request(config: CredentialsConfig) -> TokenRequest | None:
    """Return a TokenRequest that the policy denies, and that gives no token without a policy.

    It has the longest possible lifetime, and a Secret that does not exist. The API server runs
    admission first, then looks up the Secret, then signs. None without a token to send it with.
    """
    identity = config.identity
    if config.token is None or identity.secret_name is None:
        return None
    absent = TokenIdentity(
        namespace=identity.namespace,
        service_account=identity.service_account,
        secret_name=new_secret_name(identity.service_account),
        is_federated=identity.is_federated,
    )
    return TokenRequest(
        door=config.door,
        identity=absent,
        token=config.token,
        audience=config.audience or "daypass-verify",
        lifetime_seconds=LONGEST_TOKEN_SECONDS,
    )


def judge_policy(response: HttpResponse, *, expected: bool) -> Finding:
    """Judge the response to `policy_request`. `expected`: the config has a policy for a cluster."""
    check = "policy"
    status = Status.parse(response.body)
    message = printable(status.message, 400) if status is not None else ""
    if "ValidatingAdmissionPolicy" in message:
        return ok(check, "a policy restricts which tokens can be requested")
    if response.status == 404 and "secrets" in message:
        fact = "no policy restricts tokens in this namespace"
        risk = "a client can get unbound tokens for any audience"
        if not expected:
            return warning(
                check, fact, f"{risk}; in a cluster, `policy` in daypass.yaml forbids that"
            )
        remedy = f"`{command('apply')}`, and the namespace's label"
        return failure(check, fact, f"{risk}:\n{remedy}")
    return skipped(check, f"the answer is unexpected: {response.status} {message}".rstrip())


def forged_token(issuer: str, audience: str, now_unix: float) -> str:
    """Return a token that the gate would accept if its signature were valid."""
    now = int(now_unix)
    bound = {
        "namespace": "daypass-verify",
        "serviceaccount": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"},
        "secret": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000001"},
    }
    claims = {
        "iss": issuer,
        "aud": [audience],
        "sub": "system:serviceaccount:daypass-verify:nobody",
        "iat": now,
        "nbf": now,
        "exp": now + SHORTEST_TOKEN_SECONDS,
        "jti": "00000000-0000-4000-8000-000000000002",
        "kubernetes.io": bound,
    }
    parts = (json.dumps({"alg": "RS256", "kid": "nobody"}), json.dumps(claims))
    encoded = [_base64url(part.encode()) for part in parts]
    return ".".join([*encoded, _base64url(bytes(256))])


def judge_forged(response: HttpResponse) -> Finding:
    """Judge the response to a forged token."""
    check, code, status = GATE_CLOSED, response.status, Status.parse(response.body)
    if code in (401, 403) and status is not None:
        return ok(check, f"a forged token is refused: {code} {printable(status.message, 100)}")
    if code == 503 and status is not None:
        return warning(
            check, f"the gate refuses all requests: {code} {printable(status.message, 200)}"
        )
    if code in (401, 403):
        return warning(
            check,
            f"a forged token is refused, but not by the gate ({code})",
            "are its filters loaded? The gateway's log and its config_dump show it",
        )
    if 300 <= code < 400:
        return failure(
            check,
            f"a forged token is redirected: {printable(response.header('location'))}",
            "the login comes before the gate, or there is no gate",
        )
    return failure(
        check,
        f"a forged token gets past the gate ({code} from the service behind it)",
        f"is the gate applied? `{command('apply')}`. If so, its filters are not loaded: see the"
        " gateway's log\nuntil then callers can set identity headers themselves",
    )


def judge_gate(response: HttpResponse) -> Finding:
    """Judge the response to a valid token: anything but a refusal or a login is good."""
    if response.header(REASON_HEADER) in _ACCEPTED_ELSEWHERE:
        return ok("gate", f"the gate accepts the token, but not for this URL ({response.status})")
    return judge_token(response, "the gate", has_token=True)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
