"""The building blocks of Envoy's JSON: typed extensions, durations, patterns, headers."""

from typing import Any

Json = dict[str, Any]
"""A JSON object in the form that Envoy reads."""


def protobuf_any(message: str, **fields: Any) -> Json:
    """Return a `google.protobuf.Any`; `message` is its name below `envoy.`."""
    return {"@type": f"type.googleapis.com/envoy.{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Json:
    """Return a named extension, such as an HTTP filter, with its typed config."""
    return {"name": name, "typed_config": protobuf_any(message, **fields)}


def duration(seconds: float) -> str:
    """Return a `google.protobuf.Duration`, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def full_match(pattern: str) -> Json:
    """Return a RegexMatcher; Envoy matches it against the whole text."""
    return {"regex": pattern}


JWT_AUTHENTICATION = "extensions.filters.http.jwt_authn.v3.JwtAuthentication"
RBAC = "extensions.filters.http.rbac.v3.RBAC"


def discovered_filter(name: str, source: Json, message: str, **more: object) -> Json:
    """Return an HTTP filter that gets its config, a `message`, from a source.

    A new config applies to open connections, too. `more`: fields for the time until it arrives.
    """
    types = [f"type.googleapis.com/envoy.{message}"]
    return {
        "name": name,
        "config_discovery": {"config_source": source, **more, "type_urls": types},
    }


def set_header(name: str, value: str, *, keeps_existing: bool = False) -> Json:
    """Return a HeaderValueOption that replaces a header, or keeps it; `value` is a format."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "ADD_IF_ABSENT" if keeps_existing else "OVERWRITE_IF_EXISTS_OR_ADD",
    }
