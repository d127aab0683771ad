"""The base of a config's sections, the marks of keys that open more, and the types of values.

Each check returns the value, or raises a fault that names what to write instead.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import (
    no_info_after_validator_function,
    no_info_before_validator_function,
    tagged_union_schema,
)

from daypass._core.clock import DURATION, format_duration, parse_duration
from daypass._core.kubernetes.syntax import (
    AUDIENCE,
    AUDIENCE_HINT,
    LABEL,
    LABEL_HINT,
    LABEL_KEY,
    LABEL_VALUE,
    SUBDOMAIN,
)
from daypass.config.errors import expected, fault, shown

T = TypeVar("T")


def key_of(name: str) -> str:
    """Return the key of a field in the file: `longest_lifetime_seconds` is `longestLifetime`."""
    return to_camel(name.removesuffix("_seconds"))


class Section(BaseModel):
    """Fields are constructed by their Python names, and read and written by their keys.

    `model_dump(mode="json", exclude_none=True)` gives what a file would hold. Made in Python, a
    section raises pydantic's ValidationError; made from a file, `load` and `parse` raise
    ConfigError.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=key_of,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedBy:
    """Marks a union of sections: the value of `key` selects one of them, or else `default`.

    Each of them has a field `key`, a Literal of the one value that selects it.
    """

    key: str
    default: str | None = None

    def kinds(self, union: Any) -> dict[str, type[Section]]:
        """Return the sections of the union, by the value that selects each."""
        return {
            get_args(kind.model_fields[self.key].annotation)[0]: kind for kind in get_args(union)
        }

    def value_in(self, section: Any) -> Any:
        """Return the value that selects a section, which is a mapping of the file or a Section."""
        if isinstance(section, Section):
            return getattr(section, self.key)
        return section.get(self.key, self.default)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        kinds = self.kinds(source)

        def check(section: Any) -> Any:
            if not isinstance(section, dict | Section):
                raise expected("a mapping")
            value = self.value_in(section)
            if value is None:
                raise PydanticCustomError("missing", "{at} is missing", {"at": (self.key,)})
            if value not in kinds:
                words = " or ".join(f"'{kind}'" for kind in kinds)
                at = {"expected": words, "at": (self.key,)}
                raise PydanticCustomError("literal_error", "{expected}", at)
            return section

        choices = {tag(value): handler.generate_schema(kind) for value, kind in kinds.items()}
        union = tagged_union_schema(choices, lambda section: tag(self.value_in(section)))
        return no_info_before_validator_function(check, union)


class Opens(NamedTuple):
    """Marks a key by what opens more. `change`: any other value. `more`: a higher number, or none.
    `added`, `removed`: such an entry or section. `laxer`: a later value in `order`.

    A mark on a list, or on a section that `never` opens, is for all keys in it.
    """

    by: Literal["never", "change", "more", "added", "removed", "laxer"]
    order: tuple[str | bool, ...] = ()


NEVER, CHANGED, HIGHER = Opens("never"), Opens("change"), Opens("more")
ADDED, REMOVED = Opens("added"), Opens("removed")

Enabled: TypeAlias = Annotated[bool, Opens("laxer", (False, True))]
Harmless: TypeAlias = Annotated[T, NEVER]
Changed: TypeAlias = Annotated[T, CHANGED]
Higher: TypeAlias = Annotated[T, HIGHER]
Added: TypeAlias = Annotated[T, ADDED]
Removed: TypeAlias = Annotated[T, REMOVED]


def tag(value: str) -> str:
    """Return what pydantic's locations have for the section of a union that is selected."""
    return f"<{value}>"


def unique(items: tuple[T, ...]) -> tuple[T, ...]:
    """Return the items; raise a fault at the second of two equal ones."""
    seen: set[T] = set()
    for index, item in enumerate(items):
        if item in seen:
            raise fault(f"{shown(str(item))} is listed twice", at=(index,))
        seen.add(item)
    return items


Unique: TypeAlias = Annotated[tuple[T, ...], AfterValidator(unique)]

LIMIT_CHARACTERS = 253
"""Of a DNS name, of a Kubernetes name, and enough for the rest."""


@dataclass(frozen=True, slots=True)
class Text:
    """Marks a text that matches a pattern as a whole: that it is `what`. `check` says more."""

    pattern: str
    what: str = ""
    hint: str = ""
    longest: int = LIMIT_CHARACTERS
    check: Callable[[str], str] | None = None

    def read(self, text: str) -> str:
        """Return the text. Raises a fault."""
        if self.check is not None:
            return self.check(text)
        if len(text) > self.longest or not re.fullmatch(self.pattern, text):
            raise fault(f"{shown(text)} is not {self.what}", self.hint)
        return text

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self.read, handler(source))

    def json_schema(self) -> JsonSchemaValue:
        """Return the JSON Schema of such a text."""
        whole = f"^(?:{self.pattern})$"
        return {"type": "string", "minLength": 1, "maxLength": self.longest, "pattern": whole}

    def __get_pydantic_json_schema__(self, *_: object) -> JsonSchemaValue:
        return self.json_schema()


HEADER = r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
USER = (
    r"(?!system:(?:serviceaccounts|authenticated|unauthenticated)| )"
    r"[^\"'`*\\\x00-\x1f\x7f]+(?<! )"
)
IMAGE = r"[a-z0-9][a-z0-9._:/-]*(?:@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})"
GATEWAY = f"{LABEL}/{SUBDOMAIN}"

# fmt: off
_HEADERS_OF_HTTP = frozenset((
    "authorization", "connection", "content-encoding", "content-length", "content-type", "cookie",
    "expect", "forwarded", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
))
# fmt: on
_FAMILIES = ("impersonate-", "proxy-", "sec-", "x-envoy-")


def header(text: str) -> str:
    """Return the name of a header that the gate may set: lower case, with no standard meaning."""
    if not re.fullmatch(HEADER, text):
        hint = "use up to 64 of a-z, 0-9 and -"
        raise fault(f"{shown(text)} is not a valid header name", hint)
    if text in _HEADERS_OF_HTTP or text.startswith(_FAMILIES):
        raise fault(f"the header {shown(text)} has a standard meaning", "choose another")
    return text


Label = Annotated[str, Text(LABEL, "a valid name", LABEL_HINT, 63)]
Subdomain = Annotated[
    str,
    Text(
        SUBDOMAIN,
        "a valid name of a Kubernetes object",
        "use a-z, 0-9, - and ., beginning and ending with a letter or digit",
    ),
]
GatewayName = Annotated[str, Text(GATEWAY, "the name of a Gateway", "write NAMESPACE/NAME", 317)]
GatewayOrListener = Annotated[
    str,
    Text(
        f"{GATEWAY}(?:/{SUBDOMAIN})?",
        "the name of a Gateway, or of its listener",
        "write NAMESPACE/NAME or NAMESPACE/NAME/LISTENER",
        571,
    ),
]
Audience = Annotated[str, Text(AUDIENCE, "a valid audience", AUDIENCE_HINT)]
User = Annotated[
    str,
    Text(
        USER,
        "the name of a user",
        "list users, not groups, by whole names: system:serviceaccount:NAMESPACE:NAME",
    ),
]
LabelName = Annotated[
    str, Text(LABEL_KEY, "a valid label key", "write one such as istio or app.example.com/name")
]
LabelValue = Annotated[
    str,
    Text(
        LABEL_VALUE,
        "a valid label value",
        "use up to 63 letters, digits, -, _ and ., with a letter or digit at both ends",
        63,
    ),
]
Image = Annotated[
    str,
    Text(
        IMAGE,
        "an image with a version",
        "write it with its tag or digest, such as registry.example.com/daypass:0.1.0",
    ),
]
Header = Annotated[str, Text(HEADER, longest=64, check=header)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Marks an int as seconds, which the file may write as a duration, within bounds."""

    lowest: int
    highest: int
    why_lowest: str
    why_highest: str

    def read(self, value: object) -> int:
        """Return the seconds of a duration or an integer. Raises a fault."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise expected("a duration such as 24h")
        seconds = parse_duration(value) if isinstance(value, str) else value
        text = shown(str(value))
        if seconds is None:
            raise fault(f"{text} is not a duration", "write one such as 10m, 24h, 1h30m or 90d")
        if seconds < self.lowest:
            raise fault(f"{text} is shorter than {format_duration(self.lowest)}", self.why_lowest)
        if seconds > self.highest:
            raise fault(f"{text} is longer than {format_duration(self.highest)}", self.why_highest)
        return seconds

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, *_: object) -> JsonSchemaValue:
        return {
            "anyOf": [
                {"type": "string", "pattern": f"^(?=[0-9]){DURATION}$"},
                {"type": "integer", "minimum": self.lowest, "maximum": self.highest},
            ]
        }
