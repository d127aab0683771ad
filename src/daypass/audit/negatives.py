"""A quick negative set: what must not get through, asked without any token.

The whole of it is `daypass audit`'s; this is what costs a second.
"""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core.status import Status, printable
from daypass.audit.finding import Finding, failure, ok, warning
from daypass.audit.target import Target
from daypass.client.http import Response

CHECK = "nothing-else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """A request that must end before the API server, and what it tries."""

    what: str
    method: str
    target: str


def negatives(target: Target) -> list[Negative]:
    """One for each way in that has worked somewhere."""
    prefix, path = target.door.path, target.token_path
    accounts = path.rpartition("/default/token")[0]

    def get(what: str, target: str) -> Negative:
        return Negative(what=what, method="GET", target=target)

    return [
        get("another API", f"{prefix}/version"),
        get("the list of Secrets", f"{prefix}/api/v1/namespaces/default/secrets"),
        get("the way up", f"{accounts}/../secrets"),
        get("a path in disguise", f"{accounts}/default/%74oken"),
        get("a slash at the end", f"{path}/"),
        get("a query", f"{path}?dryRun=All"),
        get("two slashes", f"/{path}"),
        Negative(what="another method", method="DELETE", target=path),
    ]


def judge_negative(negative: Negative, response: Response | None, target: Target) -> Finding:
    """Whether a negative got through. None: the connection ended without an answer."""
    if response is None:
        return ok(CHECK, f"{negative.what}: the connection is ended")
    code = response.status
    status = Status.parse(response.body)
    message = printable(status.message) if status is not None else ""
    asked = f"{negative.method} {negative.target}"
    if 200 <= code < 300:
        return failure(CHECK, f"{negative.what} is answered with {code}: {asked}", _CLOSE)
    # The API server's own words: nobody else says these.
    if "system:anonymous" not in message and not (code == 401 and message == "Unauthorized"):
        return ok(CHECK, f"{negative.what}: {code}")
    fact = f"{negative.what} reaches the API server ({code}): {asked}"
    if '"serviceaccounts/token"' in message and negative.method == "GET":
        return warning(CHECK, fact, "still a TokenRequest, but the front changes paths on the way")
    if target.direct:
        return warning(CHECK, fact, "`direct: true` cannot refuse this: go through the door")
    return failure(CHECK, fact, _CLOSE)


_CLOSE = "more than TokenRequests is reachable: take the front down, and look at what it routes"
