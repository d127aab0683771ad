"""What lines of logs say: the door's, a gate's, or the API server's about a TokenRequest.

Logs may be gzipped, cut off, interleaved, and have lines of any length. A line may begin as
`kubectl logs --prefix`, containerd or journald have it, or be in a field of an object, as log
shippers have it. What else is on a line is never read: text may quote a client.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedIOBase
from typing import Annotated, Any, Literal

from daypass._core.errors import DaypassError
from daypass._core.net import source_of

Object = Mapping[str, Any]
USER = "system:serviceaccount:"
_LONGEST = 512
"""Characters of a field. The user of a ServiceAccount has up to 339."""
_HOST = ("host", "authority", ":authority", "gate")
_ANNOTATION = "authentication.kubernetes.io/"
_SECRET = "authentication.k8s.io/legacy-token-manual-secret"  # noqa: S105 - a name


@dataclass(slots=True, kw_only=True)
class Event:
    """A line of a log. A text is empty, and a code 0, where a line has none."""

    component: Annotated[Literal["door", "api-server", "gate"], "whose line it is"]
    time: Annotated[str, "when the request began, as the log has it"]
    client: Annotated[str, "where it came from (IPv6: the /64); in `api-server` the last hop"]
    account: Annotated[str, "NAMESPACE/NAME that a token is for, or a verified caller's"]
    jti: Annotated[str, "the token; of a refused request it may be claimed"]
    request: Annotated[str, "the request ID"] = ""
    audit: Annotated[str, "the ID of the audit event, in lines of door and API server"]
    user: Annotated[str, "who requested a token, in `api-server`"] = ""
    credential: Annotated[str, "what that user has: `Secret NAMESPACE/NAME` or `JTI=...`"] = ""
    target: Annotated[str, "the host, or the name of the gate; in other lines the user agent"]
    code: Annotated[int, "the HTTP code of the response; an event of the authorizer has none"]
    reason: Annotated[str, "why a gate refused it, `allowed`, or `no line of the door`"] = ""

    @property
    def order(self) -> tuple[str, bool, str]:
        """A key to sort by time. The door's has milliseconds, the API server's microseconds: within
        a millisecond, a request was at the door first.
        """
        return self.time[: len("2026-01-01T00:00:00.000")], self.component != "door", self.time

    @property
    def is_refused(self) -> bool:
        return self.code >= 400 if self.component != "gate" else self.reason not in ("", "allowed")

    @property
    def may_use_the_door(self) -> bool:
        """Whether its user is no part of Kubernetes: those request tokens for Pods."""
        is_system = self.user.startswith("system:") and not self.user.startswith(USER)
        return not is_system and not self.user.startswith(f"{USER}kube-system:")


def read_event(line: Object) -> Event | None:
    """Return what an object of a log says; None if it is of something else.

    Fields have daypass's names, or those of the access logs of Istio and Envoy Gateway.
    """
    if line.get("kind") == "Event":
        return _audit_event(line)
    is_door = "audit_id" in line or "server_name" in line
    jti = "" if is_door else _text(line, "jti", "claimedJti")
    request = _text(line, "request_id", "x-request-id")
    if not (is_door or jti or request):
        return None
    return Event(
        component="door" if is_door else "gate",
        time=_text(line, "time", "start_time"),
        client=_source(_text(line, "client", "downstream_remote_address")),
        account=_account_in(_text(line, "path")) if is_door else account_of(_text(line, "user")),
        jti=jti,
        request=request,
        audit=_text(line, "audit_id"),
        target=_text(line, *(("user_agent",) if is_door else _HOST)),
        code=_code(line, "code", "response_code"),
        reason=_text(line, "reason", "why"),
    )


def _audit_event(event: Object) -> Event | None:
    names = ("objectRef", "user", "annotations", "responseStatus")
    target, user, notes, status = (_object(event, name) for name in names)
    kind = (target.get("resource"), target.get("subresource"), event.get("verb"))
    if kind != ("serviceaccounts", "token", "create") or event.get("stage") != "ResponseComplete":
        return None
    namespace, secret = _text(target, "namespace"), _text(notes, _SECRET)
    own = _text(_object(user, "extra"), f"{_ANNOTATION}credential-id")
    return Event(
        component="api-server",
        time=_text(event, "requestReceivedTimestamp"),
        client=_source(_text(event, "sourceIPs")),
        account=f"{namespace}/{_text(target, 'name')}",
        jti=_text(notes, f"{_ANNOTATION}issued-credential-id").removeprefix("JTI="),
        audit=_text(event, "auditID"),
        user=_text(user, "username"),
        credential=f"Secret {namespace}/{secret}" if secret else own,
        target=_text(event, "userAgent"),
        code=_code(status, "code"),
    )


def account_of(user: str) -> str:
    """Return NAMESPACE/NAME of a ServiceAccount's user; empty for other users."""
    return user.removeprefix(USER).replace(":", "/", 1) if user.startswith(USER) else ""


def _account_in(path: str) -> str:
    words = path.rsplit("/", 4)
    return f"{words[1]}/{words[3]}" if len(words) == 5 and words[2] == "serviceaccounts" else ""


@lru_cache(maxsize=4096)
def _source(text: str) -> str:
    """Return where a client is that a log names with or without its port."""
    host = text.rpartition(":")[0].strip("[]") if "]" in text or text.count(":") == 1 else text
    return source_of(host) or text


def _object(line: Object, name: str) -> Object:
    found = line.get(name)
    return found if isinstance(found, dict) else {}


def _text(line: Object, *names: str) -> str:
    """Return the first of these fields with a text; of a list the last, which no client adds."""
    for name in names:
        found = line.get(name)
        found = found[-1] if isinstance(found, list) and found else found
        if isinstance(found, str) and found != "-":
            return found[:_LONGEST].encode(errors="replace").decode()  # half a surrogate pair
    return ""


def _code(line: Object, *names: str) -> int:
    return next((it for it in map(line.get, names) if isinstance(it, int) and 0 < it < 1000), 0)


LONGEST_LINE_BYTES = 8 * 1024 * 1024
"""Longer lines are skipped. Events without bodies are smaller: of a request, they have up to 1 MiB,
of which each byte may be escaped in six."""
_STARTS = 8
"""How many objects are tried to find on a line that is broken."""
_WRAPPERS = ("log", "message", "@message", "MESSAGE")
"""Fields in which Docker, fluent-bit, vector, CloudWatch and journald have a line."""
_GZIP = b"\x1f\x8b"
_decode = json.JSONDecoder().raw_decode
_BROKEN = "lines were skipped, in part or whole: they are no whole JSON"
_TOO_LONG = f"lines were skipped: they have over {LONGEST_LINE_BYTES} bytes"

Skipped = Counter[str]
"""How many lines were skipped, by why."""


def read_objects(file: str, words: Sequence[bytes], skipped: Skipped) -> Iterator[dict[str, Any]]:
    """Yield the objects on all lines with one of these words. `-` is stdin. Raises DaypassError."""
    name = "stdin" if file == "-" else file
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as raw:
            is_gzip = raw.peek(2)[:2] == _GZIP
            for line in _lines(gzip.GzipFile(fileobj=raw) if is_gzip else raw, skipped):
                if any(map(line.__contains__, words)):
                    yield from objects_in(line.decode("utf-8", "replace"), skipped)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        skipped[f"file ends in the middle of its gzip data: {name}"] += 1
    except OSError as error:
        raise DaypassError(f"{name} cannot be read: {error.strerror}", "name log files") from None


def _lines(stream: BufferedIOBase, skipped: Skipped) -> Iterator[bytes]:
    is_rest = False
    while line := stream.readline(LONGEST_LINE_BYTES):
        is_whole = line.endswith(b"\n") or len(line) < LONGEST_LINE_BYTES
        if is_whole and not is_rest:
            yield line
        elif not is_rest:
            skipped[_TOO_LONG] += 1
        is_rest = not is_whole


def objects_in(
    text: str, skipped: Skipped, *, is_wrapped: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the objects on a line, up to text with a quotation mark, which may quote a client.

    A broken object is followed by that of another writer, or by a rest: in a string of its own, a
    quotation mark would be escaped.
    """
    end, failed = 0, 0
    at = text.find("{")
    while at >= 0 and failed < _STARTS:
        if '"' in text[end:at] and not failed:
            break
        try:
            found, end = _decode(text, at)
        except (ValueError, RecursionError):
            failed += 1
            at = text.find('{"', at + 1)
            continue
        yield found
        if not is_wrapped:
            for inner in filter(None, map(found.get, _WRAPPERS)):
                if isinstance(inner, str):
                    yield from objects_in(inner, skipped, is_wrapped=True)
        at = text.find("{", end)
    skipped.update([_BROKEN] * (failed > 0))
