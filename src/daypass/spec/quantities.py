"""Lengths of time and amounts of data: written `24h` and `8Ki`, kept as seconds and bytes."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from daypass.spec.faults import expected, fault
from daypass.spec.wording import shown

DURATION = r"(?=[0-9])(?:([0-9]{1,10})d)?(?:([0-9]{1,10})h)?(?:([0-9]{1,10})m)?(?:([0-9]{1,10})s)?"
SIZE = r"([0-9]{1,10})(Ki|Mi)?"
_DURATION = re.compile(DURATION)
_UNITS_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SIZE = re.compile(SIZE)
_FACTORS_BYTES = {None: 1, "Ki": 1024, "Mi": 1024 * 1024}


def parse_duration(text: str) -> int | None:
    """Seconds of `90d`, `24h`, `1h30m`, `45s`; None for what is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    amounts = zip(match.groups(), _UNITS_SECONDS.values(), strict=True)
    return sum(int(amount) * seconds for amount, seconds in amounts if amount)


def spell_duration(seconds: int) -> str:
    """Seconds as one would write them in the file: 5400 is `1h30m`."""
    written = ""
    for unit, length in _UNITS_SECONDS.items():
        amount, seconds = divmod(seconds, length)
        written += f"{amount}{unit}" if amount else ""
    return written or "0s"


def spell_size(size: int) -> str:
    """Bytes as one would write them in the file: 8192 is `8Ki`."""
    for unit in ("Mi", "Ki"):
        if size and size % _FACTORS_BYTES[unit] == 0:
            return f"{size // _FACTORS_BYTES[unit]}{unit}"
    return str(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Marks an int as seconds that the file may spell as a duration, within bounds that say why."""

    lowest: int
    highest: int
    why_lowest: str
    why_highest: str

    def read(self, value: object) -> int:
        """Seconds of a duration or an integer; raises a fault."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise expected("a duration such as 24h")
        seconds = parse_duration(value) if isinstance(value, str) else value
        text = shown(str(value))
        if seconds is None:
            raise fault(f"{text} is no duration", _duration_hint(str(value)))
        if seconds < self.lowest:
            raise fault(f"{text} is shorter than {spell_duration(self.lowest)}", self.why_lowest)
        if seconds > self.highest:
            raise fault(f"{text} is longer than {spell_duration(self.highest)}", self.why_highest)
        return seconds

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, *_: object) -> JsonSchemaValue:
        return _spelled_or_integer(DURATION, self.lowest, self.highest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Marks an int as bytes that the file may spell as a size, within bounds that say why."""

    lowest: int
    highest: int
    why: str

    def read(self, value: object) -> int:
        """Bytes of a size or an integer; raises a fault."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise expected("a size such as 8Ki")
        match = _SIZE.fullmatch(str(value))
        text = shown(str(value))
        if match is None:
            raise fault(f"{text} is no size", "sizes are written like 8Ki or 1Mi")
        amount = int(match[1]) * _FACTORS_BYTES[match[2]]
        if not self.lowest <= amount <= self.highest:
            bounds = f"{spell_size(self.lowest)} to {spell_size(self.highest)}"
            raise fault(f"{text} is not within {bounds}", self.why)
        return amount

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, *_: object) -> JsonSchemaValue:
        return _spelled_or_integer(SIZE, self.lowest, self.highest)


def _spelled_or_integer(pattern: str, lowest: int, highest: int) -> JsonSchemaValue:
    return {
        "anyOf": [
            {"type": "string", "pattern": f"^{pattern}$"},
            {"type": "integer", "minimum": lowest, "maximum": highest},
        ]
    }


def _duration_hint(text: str) -> str:
    if text.isascii() and text.isdigit():
        seconds = text.lstrip("0")[:10] or "0"
        return f"write {seconds}s, or the number {seconds} without quotes"
    return "durations are written like 10m, 24h, 1h30m or 90d"
