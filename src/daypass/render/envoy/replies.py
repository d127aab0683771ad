"""The door's own answers: every local reply of Envoy becomes a Kubernetes Status in JSON."""

from collections.abc import Iterable

from daypass.render.envoy.typed import Json
from daypass.spec.exposure import Refusal


def status_replies(refusals: Iterable[Refusal]) -> Json:
    """A LocalReplyConfig that answers each refusal's code with its Status.

    It covers what routes answer directly and what filters and the codec refuse. A code that is not
    among the refusals keeps its number and says no more than that.
    """
    return {
        "mappers": [_mapper(refusal) for refusal in refusals],
        "body_format": _status("%RESPONSE_CODE%", "", "the door refused the request"),
    }


def _mapper(refusal: Refusal) -> Json:
    mapper: Json = {
        "filter": {
            "status_code_filter": {
                "comparison": {
                    "op": "EQ",
                    "value": {
                        "default_value": refusal.code,
                        "runtime_key": f"daypass.unused.{refusal.code}",
                    },
                }
            }
        },
        "body_format_override": _status(refusal.code, refusal.reason, refusal.message),
    }
    if headers := _HEADERS.get(refusal.code):
        mapper["headers_to_add"] = [
            {
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers.items()
        ]
    return mapper


_HEADERS = {
    401: {"www-authenticate": "Bearer"},
    405: {"allow": "GET, POST"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}


def _status(code: int | str, reason: str, message: str) -> Json:
    return {
        "json_format": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            # Envoy's formatter reads a percent sign as the start of a command.
            "message": message.replace("%", "%%"),
            "reason": reason,
            "code": code,
        },
    }
