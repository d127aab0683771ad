"""A gate that the authorizer answers for: its responses, each rendered once and sent often, and
what the host and the path of a request mean at it, remembered for the next request.

A gate with `audiences` or `authorize` looks at the path: only at its first segments, as many as the
longest pattern has. So what is remembered is bounded, and is the same for every path that has them:
a pattern is a prefix of whole segments. What every proxy might read differently is refused before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import TypeAlias
from weakref import WeakValueDictionary

from daypass._core.kubernetes.status import failure
from daypass.config import Gate
from daypass.gate.authorizer.followers import Models
from daypass.gate.metrics import GateMetrics
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import Rules
from daypass.rules.models import Access, may_mean_models, needed_accesses
from daypass.rules.patterns import is_plain_path
from daypass.rules.reasons import (
    CODES,
    REASON_HEADER,
    STATUS_REASONS,
    UNAVAILABLE,
    Reason,
    refusal_message,
)

TO_REMOVE = "x-envoy-auth-headers-to-remove"
"""Tells Envoy which headers to remove from the request that goes on."""


class AuthzResponse:
    """One response. `http` is all of its bytes; `http_head` is for HEAD, without the body. `user`:
    the caller that passes, or "". There may be one for each of many users, so it has nothing twice.
    """

    __slots__ = ("__weakref__", "code", "http", "http_head", "reason", "user")

    def __init__(
        self,
        reason: Reason,
        code: int,
        headers: Iterable[tuple[str, str]],
        body: str = "",
        *,
        user: str = "",
    ) -> None:
        self.reason = reason
        self.code = code
        self.user = user
        sent, content = UNAVAILABLE if code == 503 else code, body.encode()
        lines = [f"HTTP/1.1 {sent} {HTTPStatus(sent).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"content-length: {len(content)}", "", ""]
        self.http_head = "\r\n".join(lines).encode()
        self.http = self.http_head + content


class AuthzResponses:
    """The responses of one gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._allowed: WeakValueDictionary[str, AuthzResponse] = WeakValueDictionary()
        self._refusals = {reason: _refused(reason, gate.audience) for reason in Reason}

    def allowed(self, identity: CallerIdentity) -> AuthzResponse:
        """Return the response that lets a request pass, the same for all tokens of its caller."""
        response = self._allowed.get(identity.user)
        if response is None:
            names = self._gate.headers
            headers = [(names.user, identity.user), (names.groups, ",".join(identity.groups))]
            if not self._gate.forward_token:
                headers.append((TO_REMOVE, "authorization"))
            response = AuthzResponse(Reason.ALLOWED, 200, headers, user=identity.user)
            self._allowed[identity.user] = response
        return response

    def refused(self, reason: Reason) -> AuthzResponse:
        """Return the refusal for a reason."""
        return self._refusals[reason]


@lru_cache(maxsize=100)
def unavailable(retry_after_seconds: int) -> AuthzResponse:
    """Return the refusal of any gate that can't decide now."""
    return _refused(Reason.UNKNOWN, "", retry_after_seconds)


def _refused(reason: Reason, audience: str, retry_after_seconds: int = 1) -> AuthzResponse:
    code = CODES.get(reason, 401)
    headers = [("content-type", "application/json"), (REASON_HEADER, str(reason))]
    if code == 401:
        headers.append(("www-authenticate", "Bearer"))
    if code == 503:
        headers.append(("retry-after", str(retry_after_seconds)))
    body = failure(code, STATUS_REASONS.get(code, ""), refusal_message(reason, audience))
    # As Envoy writes its own, so that they do not differ.
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return AuthzResponse(reason, code, headers, text + "\n")


LIMIT_DESTINATIONS = 10_000
LIMIT_KEY_BYTES = 800
"""A host name has at most 253 bytes, two names in a path 316; Envoy takes anything after a colon
for a port."""

Key: TypeAlias = tuple[bytes, bytes]
"""A host, and the first segments of a path, or "" where no path matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a host and a path mean.

    `audiences`: of the tokens that open it. `may_mean_models`: if they exist. `accesses`: what is
    needed, see `needed_accesses`; None if it needs no model.
    """

    audiences: frozenset[str]
    may_mean_models: bool
    accesses: tuple[Access, ...] | None


class Destinations:
    """The destinations of a gate. `remembered`: those of requests that passed `check_claims`.

    `resources`: the kinds of its models, as PLURAL.GROUP. `models_until`: until when what is known
    of them counts (monotonic).
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._reads_paths = rules.reads_paths
        places = [*rules.authorize, *chain.from_iterable(rules.audiences.values())]
        paths = [place.path for place in places if place.path is not None]
        self._depth = max((len(path.parts) for path in paths), default=0)
        self.remembered: dict[Key, Destination] = {}
        self.resources = frozenset(each.resource for each in rules.authorize)
        self.models_until = -math.inf
        self._models = Models()

    def take_models(self, models: Models) -> None:
        """Read hosts and paths by these models from now on."""
        if models.names is not self._models.names:
            self.remembered.clear()
        self._models = models
        self.models_until = models.are_known_until(self.resources)

    def look_up(self, host: bytes, path: bytes, *, model_header: bool) -> Destination | None:
        """Return the destination of a request, if it is remembered and all read the path alike."""
        if self._reads_paths and (model_header or not is_plain_path(path.decode("latin-1"))):
            return None
        return self.remembered.get(self._key(host, path) if self._depth else (host, b""))

    def find(self, host: bytes, path: bytes) -> Destination:
        """Return the destination of a request that passed `check_claims`, and remember it."""
        key = self._key(host, path)
        destination = self.remembered.get(key)
        if destination is None:
            destination = self._read(host.decode("latin-1"), key[1].decode("latin-1") or "/")
            if sum(map(len, key)) <= LIMIT_KEY_BYTES:
                if len(self.remembered) >= LIMIT_DESTINATIONS:  # one name, with thousands of ports
                    self.remembered.clear()
                self.remembered[key] = destination
        return destination

    def _key(self, host: bytes, path: bytes) -> Key:
        if not self._depth:
            return host, b""
        segments = path.partition(b"?")[0].split(b"/", self._depth + 1)
        return host, b"/".join(segments[: self._depth + 1])

    def _read(self, host: str, path: str) -> Destination:
        place = self._rules.authorize, host, path
        needed = needed_accesses(*place, self._models.names_in)
        audiences = (self._rules.audience, *self._rules.audiences)
        return Destination(
            audiences=frozenset(each for each in audiences if self._rules.opens(each, host, path)),
            may_mean_models=may_mean_models(*place),
            accesses=None if needed is None else tuple(needed),
        )


class ServedGate:
    """One gate. `is_verified`: its proxy has verified the tokens, so the authorizer does not."""

    def __init__(self, name: str, gate: Gate, rules: Rules, *, is_verified: bool) -> None:
        self.name = name
        self.rules = rules
        self.is_verified = is_verified
        self.cache_ttl_seconds = gate.cache_ttl_seconds
        self.responses = AuthzResponses(gate)
        self.metrics = GateMetrics()
        self.destinations = Destinations(rules)
