"""What a door's answers mean: pure judgements over what came back, one sentence a case.

With credentials: a real exchange, the policy in force, and a look at the gate.
"""

from __future__ import annotations

import re
import secrets
import string

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass._core.status import Status
from daypass._core.text import printable
from daypass.client.config import LONGEST_LIFETIME_SECONDS, CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.http1 import HttpResponse
from daypass.client.subject import TokenIdentity
from daypass.client.token import Token
from daypass.client.token_request import TokenRequest
from daypass.verification.report import Finding, failure, ok, skipped, warning
from daypass.verification.requests import RawClient, header
from daypass.verification.target import VerificationTarget

ANONYMOUS = 'User "system:anonymous" cannot get resource "serviceaccounts/token"'
_USER = re.compile(r'User "([^"]*)" cannot')


def judge_anonymous(response: HttpResponse, target: VerificationTarget) -> Finding:
    """The check that people do by hand: an anonymous GET, and the API server's own 403."""
    check, code = "api-server", response.status
    status = Status.parse(response.body)
    if status is None:
        return _foreign(check, response, target)
    message = printable(status.message)
    if code == 403 and ANONYMOUS in status.message:
        return ok(check, f"the API server itself answers: 403 {ANONYMOUS}")
    user = _USER.search(status.message)
    if user is not None and user[1] != "system:anonymous":
        return failure(
            check,
            f"a request without a token reaches the API server as {user[1]}",
            "something on the way adds an identity of its own: whoever comes is that user. Close "
            "this way\nnow, and look for what adds an Authorization header or a client certificate",
        )
    if code == 401 and message == "Unauthorized":
        return ok(check, "the API server itself answers: 401 (it takes no anonymous requests)")
    if 200 <= code < 300:
        return failure(
            check,
            f"a request without a token is answered with {code}",
            "somebody who has no token can read this: look for what adds an identity on the way",
        )
    if "the gate " in message:
        return failure(
            check,
            f"the gate answers, and not a door: {code} {message}",
            f"the door has a URL of its own, which ends in {target.door.path}",
        )
    if "nothing is published here" in message:
        return failure(
            check,
            f"a door answers, and not for this host and prefix: {code} {message}",
            f"is the host's door the one of this config, with the prefix {target.door.path}?",
        )
    if code >= 500:
        return failure(
            check,
            f"the door cannot reach the API server: {code} {message}",
            "cluster.server, cluster.serverName and cluster.certificateAuthority say where it is "
            "and how it is known;\nthe log of the door says what went wrong",
        )
    return failure(
        check,
        f"another answer than the API server's: {code} {message}",
        "does the name lead to another cluster or service?",
    )


def _foreign(check: str, response: HttpResponse, target: VerificationTarget) -> Finding:
    code, location = response.status, printable(header(response, "location"))
    if 300 <= code < 400:
        login = any(word in location.lower() for word in ("login", "oauth", "auth", "dex", "sso"))
        return failure(
            check,
            f"it redirects to {location or 'nowhere'} ({code})",
            f"the gateway's login comes before {target.door.path}: exclude the prefix from it"
            if login
            else "does the name lead to the front that this config is for?",
        )
    page = "an HTML page" if "html" in header(response, "content-type") else "no Kubernetes Status"
    if code == 404:
        return failure(
            check,
            f"the front has no route for {target.door.path} (404, {page})",
            f"does `{command('up')}` run with this config?"
            if target.front == "envoy"
            else f"is it applied, and does the front's class take it? `{command('apply')}`, then\n"
            + kubectl("get", "ingress,virtualservice,httproute", "-A"),
        )
    if code in (502, 503, 504):
        return failure(
            check,
            f"the front cannot reach the door ({code}, {page})",
            "are the door's pods ready, and does the front trust the door's certificate?",
        )
    return failure(
        check,
        f"something else than a door answers ({code}, {page})",
        "does the name lead to the front that this config is for?",
    )


def judge_tokenless(response: HttpResponse, target: VerificationTarget) -> Finding:
    """A POST without a token is refused by the door already."""
    check, code = "no-token", response.status
    status = Status.parse(response.body)
    message = printable(status.message) if status is not None else ""
    if code == 401 and header(response, "www-authenticate").lower().startswith("bearer"):
        return ok(check, "a POST without a token ends at the door: 401, WWW-Authenticate: Bearer")
    if status is not None and code in (401, 403):
        return warning(
            check,
            f"a POST without a token reaches the API server, which refuses it ({code})",
            "as it must without a door (`direct: true`)"
            if target.direct
            else "is there a door between front and API server?",
        )
    if 200 <= code < 300:
        return failure(
            check,
            f"a POST without a token is answered with {code}",
            "whoever comes gets a token: close this way now",
        )
    return failure(check, f"a POST without a token gets {code} {message}".rstrip())


def judge_plain_http(response: HttpResponse | None, target: VerificationTarget) -> Finding:
    """Plain http leads nowhere. None: nothing listens, or no answer came."""
    check = "plain-http"
    if response is None:
        return ok(check, "nothing answers on http://")
    code, location = response.status, header(response, "location")
    status = Status.parse(response.body)
    if status is not None and ("system:anonymous" in status.message or 200 <= code < 300):
        return failure(
            check,
            f"http:// reaches the API server ({code})",
            "a token sent that way is seen by everybody on it: close http for this prefix",
        )
    if 300 <= code < 400 and location.startswith("https://"):
        return warning(
            check,
            f"http:// is redirected to https:// ({code})",
            "a client that is redirected has sent its token in the clear already, each time anew:\n"
            "better close http for this prefix",
        )
    if 200 <= code < 300:
        return failure(check, f"http:// is answered with {code}", "close http for this prefix")
    return ok(check, f"http:// is refused ({code})")


def exchange(credentials: Credentials) -> tuple[Finding, Token | None]:
    """Trade the long-lived token once."""
    who = f"{credentials.namespace}/{credentials.service_account}"
    try:
        token = credentials.token()
    except DaypassError as error:
        return failure("exchange", error.fact, error.hint), None
    ends = f"{token.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    audiences = ", ".join(token.audiences)
    return ok("exchange", f"{who} got a token for {audiences}, until {ends}"), token


def policy_question(settings: CredentialsConfig) -> TokenRequest | None:
    """A TokenRequest that the policy refuses and that mints nothing where there is none.

    It asks for the longest lifetime of all, bound to a Secret that does not exist: admission comes
    first, the Secret is looked for after it, and the token would be signed last. None without a
    long-lived token to ask with.
    """
    if settings.token is None or settings.identity.secret_name is None:
        return None
    identity = settings.identity
    alphabet = string.ascii_lowercase + string.digits
    suffix = "".join(secrets.choice(alphabet) for _ in range(20))
    absent = TokenIdentity(
        namespace=identity.namespace,
        service_account=identity.service_account,
        secret_name=f"{identity.service_account}-daypass-{suffix}",
    )
    return TokenRequest(
        door=settings.door,
        identity=absent,
        token=settings.token,
        audience=settings.audience or "daypass-verify",
        lifetime_seconds=LONGEST_LIFETIME_SECONDS,
    )


def judge_policy(response: HttpResponse, *, expected: bool, embedded: bool = False) -> Finding:
    """What the answer to `policy_question` says of the policy. `expected`: the config has one.

    `embedded`: the API server is the one of `daypass up`, which enforces none.
    """
    check = "policy"
    if embedded:
        return skipped(check, "the embedded API server enforces no policy; a cluster does")
    status = Status.parse(response.body)
    message = printable(status.message, 400) if status is not None else ""
    if "ValidatingAdmissionPolicy" in message:
        return ok(check, "a policy limits what tokens may be asked for")
    if response.status == 404 and "secrets" in message:
        return (failure if expected else warning)(
            check,
            "no policy limits tokens in this namespace",
            "whoever holds the long-lived token may mint unbound ones for any audience:\n"
            f"`{command('policy', 'apply')}`, and the namespace's label",
        )
    return skipped(check, f"it could not be asked for: {response.status} {message}".rstrip())


def look_at_gate(gate: RawClient, token: Token) -> Finding:
    """Whether the gate takes a short-lived token: anything but a refusal or a login page."""
    return judge_gate(gate.ask("GET", "/", [("Authorization", f"Bearer {token.value.reveal()}")]))


def judge_gate(response: HttpResponse) -> Finding:
    """What the gate's answer to a request with a token means."""
    check, code = "gate", response.status
    status = Status.parse(response.body)
    if 300 <= code < 400:
        location = printable(header(response, "location"))
        if any(word in location.lower() for word in ("login", "oauth", "/auth", "dex")):
            return failure(
                check,
                f"the gate sends a bearer of a token to a login: {location} ({code})",
                "the login is asked before the token: the gate has to come first",
            )
    if code in (401, 403):
        said = printable(status.message, 400) if status is not None else "no Kubernetes Status"
        return failure(
            check,
            f"the gate refuses the token: {code} {said}",
            "are gate.audience and the audience of the credentials the same?",
        )
    return ok(check, f"the gate takes the token ({code} by what it guards)")
