"""Envoy's typed extension configs."""

from typing import Any

Json = dict[str, Any]
"""A JSON object in the form that Envoy reads."""


def typed(message: str, **fields: Any) -> Json:
    """A `google.protobuf.Any` in JSON: `message` is the name below `envoy.`, fields as given."""
    return {"@type": f"type.googleapis.com/envoy.{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Json:
    """A named extension, such as an HTTP filter, with its typed config."""
    return {"name": name, "typed_config": typed(message, **fields)}


def duration(seconds: float) -> str:
    """A `google.protobuf.Duration` in JSON, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def full_match(pattern: str) -> Json:
    """A RegexMatcher; Envoy matches it against the whole text."""
    return {"regex": pattern}
