"""An authorizer without a socket, and an API server that is a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from daypass.gate.authorizer.authorizer import Authorizer, Waiter
from daypass.gate.authorizer.decision_cache import AuthzResponse, AuthzResponses, DecisionCache
from daypass.gate.authorizer.metrics import AuditLog, Metrics
from daypass.gate.authorizer.review_queue import ReviewQueue
from daypass.gate.decision import Review, Rules
from support.timing import FakeClock
from support.tokens import Signer

HOST = "ekf.example.com"
AUDIENCE = "gate.example.com"
ISSUER = "https://kubernetes.default.svc"
USER = "system:serviceaccount:team:bot"
SIGNER = Signer("ours")
GOOD = Review(authenticated=True, user=USER, audiences=(AUDIENCE,))
REFUSED = Review(authenticated=False)


def claims(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    """Those of a good token of an hour; None leaves one out."""
    now = int(clock.unix())
    bound = {"namespace": "team", "serviceaccount": {"name": "bot", "uid": "sa-1"},
             "secret": {"name": "bot-daypass-x", "uid": "secret-1"}}  # fmt: skip
    whole = {"iss": ISSUER, "aud": [AUDIENCE], "sub": USER, "iat": now, "nbf": now,
             "exp": now + 3600, "jti": "j-1", "kubernetes.io": bound, **changes}  # fmt: skip
    return {name: value for name, value in whole.items() if value is not None}


class Tried:
    """An authorizer, and whatever it is asked and asks."""

    def __init__(
        self,
        *,
        remember_seconds: float = 60.0,
        memory: DecisionCache | None = None,
        flights: ReviewQueue[Waiter] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.lines: list[dict[str, Any]] = []
        self.metrics = Metrics()
        self.audit = AuditLog(lambda line: self.lines.append(json.loads(line)), self.clock)
        self.asked: list[str] = []
        self.says: Callable[[str], Review | float | None] = lambda token: GOOD
        """What the API server says; a number: it fails, and says after how long to come back."""
        rules = Rules(
            hosts=frozenset({HOST}), issuer=ISSUER, audience=AUDIENCE,
            longest_lifetime_seconds=7200,
        )  # fmt: skip
        answers = AuthzResponses(
            audience=AUDIENCE, user_header="kubeflow-userid", groups_header="kubeflow-groups",
            forward_token=False,
        )  # fmt: skip
        self.rules = rules
        self.authorizer = Authorizer(
            rules, answers, self.clock, remember_seconds=remember_seconds, metrics=self.metrics,
            audit=self.audit, memory=memory, flights=flights,
        )  # fmt: skip

    def token(self, **changes: Any) -> str:
        """A token with these claims, well signed."""
        return SIGNER.sign(claims(self.clock, **changes))

    def ask(self, *authorizations: str, host: str = HOST, source: str = "") -> AuthzResponse | None:
        """The answer to a request; None where it waits."""
        answers: list[AuthzResponse] = []
        values = [value.encode("latin-1") for value in authorizations]
        answer = self.authorizer.check(host.encode("latin-1"), values, source, answers.append)
        if answer is not None:
            assert answers == []
            return answer
        self.pump()
        return answers[0] if answers else None

    def pump(self) -> None:
        """Let the API server answer whatever it is asked."""
        while (question := self.authorizer.next_question()) is not None:
            self.asked.append(question.token)
            said = self.says(question.token)
            if isinstance(said, Review):
                self.authorizer.reviewed(question, said)
            else:
                self.authorizer.unreachable(question, said)

    def bearer(self, **changes: Any) -> AuthzResponse:
        """The answer to a request with a token of these claims."""
        answer = self.ask(f"Bearer {self.token(**changes)}")
        assert answer is not None
        return answer
