"""An authorizer without a socket, and an API server that is a function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from daypass.config import IstioGate
from daypass.gate.authorizer.audit_log import AuditLog
from daypass.gate.authorizer.authorizer import Authorizer
from daypass.gate.authorizer.responses import AuthzResponse
from daypass.gate.authorizer.token_reviews import ReviewFailure
from daypass.gate.signing_keys import TokenVerifier
from daypass.rules.decision import Review, Rules
from daypass.rules.patterns import HostPattern
from daypass.rules.published import Published
from support.publishing import denied_by_hand, parts_of
from support.timing import FakeClock
from support.tokens import AUDIENCE, ISSUER, USER, Signer, good_claims

HOST = "ekf.example.com"
SIGNER = Signer("ours")
GOOD = Review(authenticated=True, user=USER, audiences=(AUDIENCE,))
REFUSED = Review(authenticated=False)


def claims(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    """Those of a good token of an hour; None leaves one out."""
    now = int(clock.unix())
    return good_claims(clock, **{"iat": now, "nbf": now, "exp": now + 3600, **changes})


class AskedAuthorizer:
    """An authorizer, what it is asked, and what it asks the API server."""

    def __init__(
        self,
        *,
        verifier: TokenVerifier | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.lines: list[dict[str, Any]] = []
        self.audit = AuditLog(lambda line: self.lines.append(json.loads(line)), self.clock)
        self.asked: list[str] = []
        self.says: Callable[[str], Review | ReviewFailure | float | None] = lambda token: GOOD
        """The API server's result; a number or None: it fails, with this Retry-After."""
        rules = Rules(
            hosts=(HostPattern.parse(HOST),), issuer=ISSUER, audience=AUDIENCE,
            longest_lifetime_seconds=7200,
        )  # fmt: skip
        self.rules = rules
        self.authorizer = Authorizer(
            IstioGate(audience=AUDIENCE, check="review"), rules, self._review, self.clock,
            audit=self.audit, verifier=verifier,
        )  # fmt: skip
        self.metrics, self.responses = self.authorizer.metrics, self.authorizer.responses

    def publish(self, *uids: str, seconds: float = 600, **denied: Any) -> None:
        """Let it take a set of these credentials, valid for so long; `denied`: what is."""
        closes = int(self.clock.unix() + seconds)
        credentials = parts_of(uids, closes)
        denials = denied_by_hand(**{"closes_unix": closes, **denied})
        self.authorizer.take_published(Published(parts=credentials, denials=denials))

    def token(self, **changes: Any) -> str:
        return SIGNER.sign(claims(self.clock, **changes))

    def ask(self, *authorizations: str, host: str = HOST, source: str = "") -> AuthzResponse:
        """The response to a request, after its review if there is one."""
        responses: list[AuthzResponse] = []
        values = [value.encode("latin-1") for value in authorizations]

        async def send() -> AuthzResponse | None:
            response = self.authorizer.check(
                host.encode("latin-1"), values, source, responses.append
            )
            while self.authorizer.tasks:
                await asyncio.wait(self.authorizer.tasks)
            return response

        now = asyncio.run(send())
        (response,) = responses if now is None else [now, *responses]
        return response

    def bearer(self, **changes: Any) -> AuthzResponse:
        return self.ask(f"Bearer {self.token(**changes)}")

    async def _review(self, token: str) -> Review | ReviewFailure:
        self.asked.append(token)
        result = self.says(token)
        if isinstance(result, Review | ReviewFailure):
            return result
        return ReviewFailure(why="it fails", retry_after_seconds=result)
