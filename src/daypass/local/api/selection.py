"""Label selectors, field selectors, and lists in pages."""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from daypass.local.api import errors
from daypass.local.api.golang import quote
from daypass.local.api.kinds import Kind
from daypass.local.api.naming import qualified_faults, value_faults
from daypass.local.api.store import Object

Predicate = Callable[[Object], bool]
# Possessive: a selector of 100,000 blanks is looked at once.
_SET = re.compile(r"\s*+([^\s=!(),]++)\s++(in|notin)\s*+\(([^()]*+)\)\s*+")
_EQUAL = re.compile(r"\s*+([^\s=!(),]++)\s*+(==|=|!=)\s*+([^\s=!(),]*+)\s*+")
_EXISTS = re.compile(r"\s*+(!?)\s*+([^\s=!(),]++)\s*+")


def label_selector(text: str) -> Predicate:
    """What `labelSelector` asks for. Raises the 400."""
    tests: list[Callable[[dict[str, str]], bool]] = []
    at = 0
    while at < len(text):
        for pattern in (_SET, _EQUAL, _EXISTS):
            found = pattern.match(text, at)
            if found and (found.end() == len(text) or text[found.end()] == ","):
                break
        else:
            rest = text[at:].lstrip()
            raise errors.bad_request(
                f"unable to parse requirement: found '{rest[:1]}', expected: identifier"
            )
        tests.append(_label_test(pattern, found))
        at = found.end() + 1
    return lambda obj: all(test(obj["metadata"].get("labels", {})) for test in tests)


def _label_test(pattern: re.Pattern[str], found: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if pattern is _EXISTS:
        absent, key = found.groups()
        _check(key, ())
        return lambda labels: (key in labels) != bool(absent)
    key, operator, listed = found.groups()
    values = tuple(part.strip() for part in listed.split(","))
    _check(key, values)
    if operator in ("=", "==", "in"):
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _check(key: str, values: tuple[str, ...]) -> None:
    faults = [f"key: Invalid value: {quote(key)}: {fault}" for fault in qualified_faults(key)]
    for value in values:
        faults += [f"values[0][{key}]: Invalid value: {quote(value)}: {fault}"
                   for fault in value_faults(value)]  # fmt: skip
    if faults:
        raise errors.bad_request(f"unable to parse requirement: {faults[0]}")


def field_selector(text: str, kind: Kind) -> Predicate:
    """What `fieldSelector` asks for, of the fields that the kind names. Raises the 400."""
    known = ("metadata.name", "metadata.namespace", *kind.selectable)
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]*)(==|=|!=)(.*)", part)
        if found is None:
            raise errors.bad_request(
                f"invalid selector: {quote(text)}; can't understand {quote(part)}"
            )
        path, operator, value = found.groups()
        if path not in known:
            listed = ", ".join(map(quote, known[:2]))
            raise errors.bad_request(f"{quote(path)} is not a known field selector: only {listed}")
        tests.append((path, operator != "!=", value))
    return lambda obj: all((_field(obj, path) == value) == same for path, same, value in tests)


def _field(obj: Any, path: str) -> str:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj if isinstance(obj, str) else ""


def page(objects: list[Object], limit: int, start: str) -> tuple[list[Object], str, int]:
    """One page after a continue token: its objects, the next token, how many are left."""
    if start:
        after = _read_token(start)
        objects = [obj for obj in objects if _place(obj) > after]
    if limit <= 0 or limit >= len(objects):
        return objects, "", 0
    kept = objects[:limit]
    token = json.dumps({"v": "meta.k8s.io/v1", "start": _place(kept[-1])})
    return kept, urlsafe_b64encode(token.encode()).decode(), len(objects) - limit


def _place(obj: Object) -> list[str]:
    return [obj["metadata"].get("namespace", ""), obj["metadata"]["name"]]


def _read_token(token: str) -> list[str]:
    try:
        raw = urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        start = json.loads(raw)["start"]
        if isinstance(start, list) and [type(part) for part in start] == [str, str]:
            return start
        fault = "continue key is not valid: incorrect encoded start resourceVersion"
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        fault = "continue key is not valid: illegal base64 data at input byte 0"
    raise errors.bad_request(f"invalid continue token: {fault}")
