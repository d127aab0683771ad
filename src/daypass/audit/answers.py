"""What a door's answers mean: pure judgements over what came back, one sentence a case."""

from __future__ import annotations

import re

from daypass._core.hints import command, kubectl
from daypass._core.status import Status, printable
from daypass.audit.asking import header
from daypass.audit.finding import Finding, failure, ok, warning
from daypass.audit.target import Target
from daypass.client.http import Response

ANONYMOUS = 'User "system:anonymous" cannot get resource "serviceaccounts/token"'
_USER = re.compile(r'User "([^"]*)" cannot')


def judge_anonymous(response: Response, target: Target) -> Finding:
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


def _foreign(check: str, response: Response, target: Target) -> Finding:
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


def judge_tokenless(response: Response, target: Target) -> Finding:
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


def judge_plain_http(response: Response | None, target: Target) -> Finding:
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
