"""An authorizer without a socket, and an API server that is a function."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from daypass.config import IstioGate
from daypass.config.gate import DEFAULT_GATE
from daypass.gate.authorizer.api_server import NoAnswerError
from daypass.gate.authorizer.audit_log import AuditLog
from daypass.gate.authorizer.authorizer import Authorizer
from daypass.gate.authorizer.followers import Models
from daypass.gate.authorizer.served_gate import AuthzResponse, ServedGate
from daypass.gate.signing_keys import TokenVerifier
from daypass.render.names import gate_prefix
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import Rules, TokenReview
from daypass.rules.models import Access
from daypass.rules.patterns import HostPattern, Model
from daypass.rules.published import CLUSTER_SHARDS
from support.publishing import published
from support.timing import FakeClock
from support.tokens import AUDIENCE, ISSUER, USER, Signer, good_claims

HOST = "ekf.example.com"
SIGNER = Signer("ours")
GOOD = TokenReview(authenticated=True, user=USER, audiences=(AUDIENCE,))
REFUSED = TokenReview(authenticated=False)


def headers_of(response: AuthzResponse) -> dict[str, str]:
    """What is added to the request that goes on, or sent with the refusal."""
    lines = response.http_head.decode().split("\r\n")[1:-3]
    return dict(line.split(": ", 1) for line in lines)


def body_of(response: AuthzResponse) -> bytes:
    """The body of a refusal."""
    return response.http.partition(b"\r\n\r\n")[2]


def claims(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    """Those of a good token of an hour; None leaves one out."""
    now = int(clock.unix())
    return good_claims(clock, **{"iat": now, "nbf": now, "exp": now + 3600, **changes})


def rules(*hosts: str, **changes: Any) -> Rules:
    """Those of a gate that guards some hosts, HOST if none are named."""
    return Rules(
        **{
            "hosts": tuple(map(HostPattern.parse, hosts or (HOST,))),
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "longest_lifetime_seconds": 7200,
            **changes,
        }
    )


class AskedAuthorizer:
    """An authorizer of gates, by name, what it is asked, and what it asks the API server."""

    def __init__(
        self,
        gates: Mapping[str, Rules] | None = None,
        *,
        verifier: TokenVerifier | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.lines: list[dict[str, Any]] = []
        self.audit = AuditLog(lambda line: self.lines.append(json.loads(line)), self.clock)
        self.asked: list[str] = []
        self.asked_for: list[str] = []
        """The audience of each TokenReview."""
        self.asked_accesses: list[tuple[str, Access]] = []
        self.says: Callable[[str], TokenReview | NoAnswerError] = lambda token: GOOD
        self.may: Callable[[str, Access], bool | NoAnswerError] = lambda user, access: True
        gate = IstioGate(audience=AUDIENCE, check="review")
        self.gates = {
            name: ServedGate(name, gate, each, is_verified=verifier is None)
            for name, each in (gates or {DEFAULT_GATE: rules()}).items()
        }
        self.authorizer = Authorizer(
            list(self.gates.values()), self._review, self._review_access, self.clock,
            audit=self.audit, verifier=verifier,
        )  # fmt: skip

    def publish(self, *uids: str, **denied: Any) -> None:
        """Let it take a set of these credentials; `denied`: what is."""
        closes = int(self.clock.unix() + 600)
        found = published(uids, closes_unix=closes, shards=CLUSTER_SHARDS, **denied)
        self.authorizer.take_published(found)

    def have(self, *models: Model, seconds: float = math.inf) -> None:
        """Let these models exist, which is known for so long."""
        names: dict[tuple[str, str], set[str]] = {}
        for resource, namespace, name in models:
            names.setdefault((resource, namespace), set()).add(name)
        kinds = {each for gate in self.gates.values() for each in gate.destinations.resources}
        until = dict.fromkeys(kinds, self.clock.monotonic() + seconds)
        self.authorizer.take_models(Models(names=names, valid_until=until))

    def token(self, **changes: Any) -> str:
        return SIGNER.sign(claims(self.clock, **changes))

    def ask(self, line: str, **request: Any) -> AuthzResponse:
        """The response to a request, after its reviews if there are any."""
        return asyncio.run(self._answer(line, **request))

    def cached(self, line: str, **request: Any) -> AuthzResponse | None:
        """The response from the caches alone."""
        target, host, model_header = _asked(**request)
        sent = line.encode("latin-1")
        return self.authorizer.look_up(target, host, sent, model_header=model_header)

    async def _answer(self, line: str, **request: Any) -> AuthzResponse:
        if (found := self.cached(line, **request)) is not None:
            return found
        target, host, model_header = _asked(**request)
        sent = (line.encode("latin-1"),)
        response = self.authorizer.ask(target, host, sent, source="", model_header=model_header)
        if not isinstance(response, AuthzResponse):
            response = await response
        while tasks := self.authorizer.tokens.tasks | self.authorizer.accesses.tasks:
            await asyncio.wait(tasks)
        return response

    def bearer(self, **changes: Any) -> AuthzResponse:
        return self.ask(f"Bearer {self.token(**changes)}")

    async def _review(self, token: str, audience: str) -> TokenReview:
        self.asked.append(token)
        self.asked_for.append(audience)
        if isinstance(says := self.says(token), NoAnswerError):
            raise says
        return says

    async def _review_access(self, identity: CallerIdentity, access: Access) -> bool:
        self.asked_accesses.append((identity.user, access))
        if isinstance(may := self.may(identity.user, access), NoAnswerError):
            raise may
        return may


def _asked(
    *, host: str = HOST, path: str = "/", gate: str = DEFAULT_GATE, model_header: bool = False
) -> tuple[bytes, bytes, bool]:
    """What the authorizer is asked about a request."""
    return (gate_prefix(gate) + path).encode("latin-1"), host.encode("latin-1"), model_header
