"""The steps of `daypass demo`: what passes door and gate, and above all what does not.

Each step sends real requests through the running door and gate. No step shows a whole token.
"""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from daypass._core.errors import DaypassError
from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.client.token import Token
from daypass.local.stack import AUDIENCE, LocalStack, MadeIdentity
from daypass.rules.reasons import MESSAGES, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """One step: the request, the answer, and whether that is the expected one."""

    title: str
    request: str
    answer: tuple[str, ...]
    as_expected: bool
    refusal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer, parsed if it is JSON."""

    code: int
    document: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.document.get("message", ""))

    @property
    def fact(self) -> str:
        """The message without the advice of the gate, which is the same in each refusal."""
        fact, advice, _ = self.message.partition(" (the gate takes ")
        return f"{fact} (...)" if advice else fact


def run_demo(stack: LocalStack) -> Iterator[DemoStep]:
    """Yield the steps as they happen."""
    identity = stack.make_identity()
    yield _made(identity)
    token = identity.credentials().token()
    yield _exchanged(identity, token)
    yield _used(stack, identity, token.value)
    yield from _refused_at_the_door(stack)
    yield from _refused_at_the_gate(stack, identity)
    yield _revoked(stack, identity)


def _made(identity: MadeIdentity) -> DemoStep:
    return DemoStep(
        title="an administrator creates an identity for a bot",
        request=f"ServiceAccount {identity.namespace}/{identity.name}, the right to request "
        "its own tokens, and a long-lived token",
        answer=(
            f"Secret            {identity.secret_name}",
            f"long-lived token  {shown(identity.token)}",
            f"credentials file  {identity.credentials_file}  (mode 0600)",
        ),
        as_expected=identity.credentials_file.stat().st_mode & 0o777 == 0o600,
    )


def _exchanged(identity: MadeIdentity, token: Token) -> DemoStep:
    claims = decode_unverified(token.value.reveal())[1]
    bound = claims["kubernetes.io"].get("secret", {}).get("name")
    return DemoStep(
        title="the bot exchanges its token at the door for a short-lived one",
        request=f"POST {identity.credentials().door}/api/v1/namespaces/{identity.namespace}"
        f"/serviceaccounts/{identity.name}/token",
        answer=(
            f"short-lived token {shown(token.value)}",
            f"  sub  {claims['sub']}",
            f"  aud  {', '.join(claims['aud'])}",
            f"  exp  {token.expires_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"{claims['exp'] - claims['iat']} s after it was issued",
            f"  bound to Secret {bound}: it is invalid once that is deleted",
        ),
        as_expected=claims["aud"] == [AUDIENCE] and bound == identity.secret_name,
    )


def _used(stack: LocalStack, identity: MadeIdentity, token: Secret) -> DemoStep:
    reply = ask(stack, stack.gate, "/pipeline/apis/v2beta1/runs", token)
    headers = reply.document.get("headers", {})
    return DemoStep(
        title="with that token it passes the gate, and the service gets its name",
        request=f"GET {stack.gate}/pipeline/apis/v2beta1/runs",
        answer=(
            f"{reply.code}, and the service received:",
            f"  kubeflow-userid: {headers.get('kubeflow-userid')}",
            f"  kubeflow-groups: {headers.get('kubeflow-groups')}",
            f"  authorization:   {headers.get('authorization', '(not forwarded)')}",
        ),
        as_expected=reply.code == 200
        and headers.get("kubeflow-userid") == identity.user
        and "authorization" not in headers,
    )


def _refused(title: str, request: str, reply: Reply, code: int, words: str) -> DemoStep:
    return DemoStep(
        title=title,
        request=request,
        answer=(f"{reply.code} {reply.fact}",),
        as_expected=reply.code == code and words in reply.message,
        refusal=True,
    )


def _refused_at_the_door(stack: LocalStack) -> Iterator[DemoStep]:
    for title, path, code, words in (
        (
            "a request without a token at the door: the API server refuses it",
            PROBE_PATH,
            403,
            'User "system:anonymous" cannot get',
        ),
        (
            "another path of the API server: the door does not expose it",
            "/api/v1/secrets",
            404,
            "nothing is published here",
        ),
    ):
        reply = ask(stack, stack.door, path)
        yield _refused(title, f"GET {stack.door}{path}", reply, code, words)


def _refused_at_the_gate(stack: LocalStack, identity: MadeIdentity) -> Iterator[DemoStep]:
    other = stack.make_token(identity, audiences=["somewhere.else"])
    reply = ask(stack, stack.gate, "/", other)
    request = f"GET {stack.gate}/  with a token for the audience somewhere.else"
    yield _refused("a token for another audience", request, reply, 403, MESSAGES[Reason.AUDIENCE])

    forged = {"kubeflow-userid": "admin@example.com"}
    good = stack.make_token(identity)
    reply = ask(stack, stack.gate, "/", good, forged)
    seen = reply.document.get("headers", {}).get("kubeflow-userid")
    alone = ask(stack, stack.gate, "/", None, forged)
    yield DemoStep(
        title="a forged kubeflow-userid",
        request=f"GET {stack.gate}/  with kubeflow-userid: admin@example.com",
        answer=(
            f"with a good token: {reply.code}, the service received {seen}",
            f"without one: {alone.code} {alone.fact}",
        ),
        as_expected=reply.code == 200 and seen == identity.user and alone.code == 401,
        refusal=True,
    )

    reply = ask(stack, stack.gate, "/", identity.token)
    request = f"GET {stack.gate}/  with the long-lived token"
    yield _refused("the long-lived token at the gate", request, reply, 401, "exchange it there")

    reply = ask(stack, stack.gate, "/", stack.make_token(identity, expired=True))
    request = f"GET {stack.gate}/  with a token that expired a minute ago"
    yield _refused("an expired token", request, reply, 401, MESSAGES[Reason.EXPIRED])


def _revoked(stack: LocalStack, identity: MadeIdentity) -> DemoStep:
    stack.revoke(identity)
    try:
        answer = str(identity.credentials().token().expires_at)
    except DaypassError as error:
        answer = error.fact
    return DemoStep(
        title="its Secret is deleted: the long-lived token gets no token that is bound to it",
        request=f"delete Secret {identity.secret_name}, then exchange the token again",
        answer=(answer,),
        as_expected="does not exist" in answer,
        refusal=True,
    )


def ask(
    stack: LocalStack,
    base: str,
    path: str,
    token: Secret | None = None,
    headers: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
) -> Reply:
    """Send a GET, or a POST of `body`, to the door or the gate, and return the answer."""
    address, slash, prefix = base.removeprefix("https://").partition("/")
    target = f"{slash}{prefix}{path}"
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token.reveal()}"
    context = client_context(stack.authority.pem)
    connection = http.client.HTTPSConnection(address, timeout=10, context=context)
    try:
        if body is None:
            connection.request("GET", target, headers=sent)
        else:
            sent["Content-Type"] = "application/json"
            connection.request("POST", target, json.dumps(body), sent)
        answer = connection.getresponse()
        try:
            document = json.loads(answer.read(64 * 1024))
        except ValueError:
            document = {}
        return Reply(code=answer.status, document=document if isinstance(document, dict) else {})
    finally:
        connection.close()


def shown(token: Secret) -> str:
    """Return the beginning of a token and its length, too little to use."""
    text = token.reveal()
    return f"{text[:12]}... ({len(text)} characters)"
