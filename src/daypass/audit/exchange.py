"""With credentials: a real exchange, the policy in force, and a look at the gate."""

from __future__ import annotations

import secrets
import string

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.status import Status, printable
from daypass.audit.asking import Asker, header
from daypass.audit.finding import Finding, failure, ok, skipped, warning
from daypass.client.credentials import Credentials
from daypass.client.http import Response
from daypass.client.identity import Identity
from daypass.client.order import Order
from daypass.client.settings import LONGEST_LIFETIME_SECONDS, Settings
from daypass.client.token import Token


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


def policy_question(settings: Settings) -> Order | None:
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
    absent = Identity(
        namespace=identity.namespace,
        service_account=identity.service_account,
        secret_name=f"{identity.service_account}-daypass-{suffix}",
    )
    return Order(
        door=settings.door,
        identity=absent,
        token=settings.token,
        audience=settings.audience or "daypass-verify",
        lifetime_seconds=LONGEST_LIFETIME_SECONDS,
    )


def judge_policy(response: Response, *, expected: bool, embedded: bool = False) -> Finding:
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


def look_at_gate(gate: Asker, token: Token) -> Finding:
    """Whether the gate takes a short-lived token: anything but a refusal or a login page."""
    return judge_gate(gate.ask("GET", "/", [("Authorization", f"Bearer {token.value.reveal()}")]))


def judge_gate(response: Response) -> Finding:
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
