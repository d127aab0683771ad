"""What a gate answers to a token at a URL, by the standard library alone."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Finding, failure, ok, warning
from daypass._core.hints import command
from daypass._core.installation import docs_page
from daypass._core.k8s_status import Status, excerpt
from daypass._core.net import HostPort
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass.client.error_mapping import no_response
from daypass.client.http1 import USER_AGENT, HttpRequest, HttpResponse
from daypass.client.transport import Deadline, TransportError, route_to, send
from daypass.integrations._bearer import require_tls
from daypass.rules.reasons import REASON_HEADER, Reason

UNTRUSTED = "untrusted"
_NEXT = {
    Reason.UNKNOWN_CREDENTIAL: "the API server has just issued this token, so the gate does not"
    " watch its namespace, or lags behind: tell your administrator",
    Reason.UNKNOWN: "the gate refuses every token now: try again, and tell your administrator",
    Reason.NOT_GUARDED: "is the host in the URL right?",
    Reason.AUDIENCE: "then configure it: `audience` in the credentials file, or DAYPASS_AUDIENCE",
}


def get(host: str, target: str, *headers: tuple[str, str]) -> HttpRequest:
    """Return a GET. `host`: the value of its Host header."""
    usual = (("Host", host), ("User-Agent", USER_AGENT), ("Accept", "application/json"))
    closing = ("Connection", "close")
    return HttpRequest(method="GET", target=target, headers=(*usual, *headers, closing))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateUrl:
    """A URL behind a gate. `host`: as in a Host header; `target`: its path and query."""

    tls: bool
    address: HostPort
    host: str
    target: str

    @classmethod
    def parse(cls, url: str) -> GateUrl:
        """Return the parts of a URL; raises UsageError, and CredentialsError for plain http."""
        hint = "it looks like https://kubeflow.example.com/pipeline/"
        try:
            parts = urlsplit(url)
        except ValueError:
            raise UsageError("--gate is not a URL", hint) from None
        tls = parts.scheme == "https"
        address = HostPort.parse(parts.netloc, default_port=443 if tls else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        is_plain = target.isascii() and target.isprintable() and " " not in target
        if parts.scheme not in ("https", "http") or address is None or not is_plain:
            raise UsageError("--gate is not an https:// URL with a host and a path", hint)
        require_tls(parts.scheme, address.host)
        return cls(tls=tls, address=address, host=parts.netloc.lower(), target=target)

    def ask(self, token: Secret | None, authority: str | None, deadline: Deadline) -> HttpResponse:
        """Return the response to a GET; raises DaypassError.

        `authority`: as of `route_to`. If it did not sign the certificate, the reason is UNTRUSTED.
        """
        headers = [("Authorization", f"Bearer {token.reveal()}")] if token else []
        route = route_to(self.address, authority, tls=self.tls)
        request = get(self.host, self.target, *headers)
        try:
            response = send(route, request, deadline, needs_body=False)
        except TransportError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                words = f"its certificate is not trusted: {error.__cause__.verify_message}"
                hint = "put its authority into a file, and export SSL_CERT_FILE=FILE"
                raise DaypassError(f"{self.host}: {words}", hint, reason=UNTRUSTED) from None
            hint = "is the URL right, host and port?"
            raise DaypassError(f"{self.host}: {no_response(error)}", hint) from None
        return response.without(*[token] if token else [])


def judge_gate(response: HttpResponse, url: GateUrl, *, has_token: bool) -> Finding:
    """Return the finding for a gate's response to a token, or to none."""
    code, reason = response.status, printable(response.header(REASON_HEADER), 40)
    status = Status.parse(response.body)
    message = excerpt(response.body) if status is None else printable(status.message, 1024)
    if not has_token and reason == Reason.NO_TOKEN:
        return ok("gate", f"a gate answers, without a token: {message}")
    if reason:
        message = message.partition(f" (`{command('doctor')}")[0]  # this is it
        page = f"{docs_page('reference/gate-refusals.md')} explains it"
        hint = next((_NEXT[each] for each in _NEXT if each == reason), page)
        return failure("gate", f"the gate refuses this ({code} {reason}): {message}", hint)
    if 300 <= code < 400:
        place = printable(response.header("location").partition("?")[0])
        hint = "it may be a login: is this a URL that the gate guards?"
        return failure("gate", f"{url.host} redirects to {place or 'nowhere'} ({code})", hint)
    if code in (401, 403):
        hint = "ask for access: an administrator grants it to the user of your token (above)"
        fact = f"the gate does not refuse this, but the service or a policy does ({code})"
        return failure("gate", f"{fact}: {message}", hint)
    if not has_token:
        return warning("gate", f"{url.host} answers {code} without a token: no gate guards it")
    if code >= 500:
        hint = "the gate has let it pass: ask the owner of the service"
        return warning("gate", f"the service does not work ({code}): {message}", hint)
    return ok("gate", f"{url.host} accepts the token ({code} from the service behind it)")
