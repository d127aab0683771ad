"""Whatever is in a log, it is read without an error, and no line is made up."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daypass.trace.events import Skipped, objects_in, read_event
from daypass.trace.search import Logs

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda it: st.lists(it, max_size=3) | st.dictionaries(st.text(max_size=5), it),
    max_leaves=5,
)
FIELDS = (
    "time", "client", "user", "jti", "request_id", "audit_id", "code", "path", "server_name",
    "reason", "kind", "verb", "stage", "auditID", "objectRef", "annotations", "sourceIPs",
    "responseStatus", "requestReceivedTimestamp", "log", "event", "why",
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), VALUES)
AUDIT = OBJECTS.map(
    lambda it: {
        **it, "kind": "Event", "verb": "create", "stage": "ResponseComplete",
        "objectRef": {"resource": "serviceaccounts", "subresource": "token", "name": it.get("jti")},
    }
)  # fmt: skip


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for found in objects_in(text, Skipped()):
        read_event(found)


@given(st.lists(OBJECTS | AUDIT, max_size=8))
def test_any_fields_are_read_and_give_a_result(objects: list[dict[str, Any]]) -> None:
    logs = Logs("a")
    for event in filter(None, map(read_event, objects)):
        logs.take(event)
    json.dumps(logs.result().notes)


WITHOUT_LINES = st.dictionaries(st.text(max_size=5), st.text(max_size=30), min_size=1)


@given(WITHOUT_LINES, st.integers(0), st.text(alphabet="{}[]:, \t", max_size=5))
def test_a_cut_line_gives_nothing_that_its_writer_has_not_written(
    written: dict[str, str], cut: int, rest: str
) -> None:
    """Clients choose values of fields. Neither whole nor cut may these look like other lines."""
    smuggled = json.dumps({"jti": "smuggled"})
    line = json.dumps({**written, "user_agent": smuggled + rest + smuggled})
    for text in (line, line[: cut % len(line)], line[: cut % len(line)] + line):
        for found in objects_in(text, Skipped()):
            assert "jti" not in found or "jti" in written


@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_whole_objects_on_one_line_are_all_found(objects: list[dict[str, Any]]) -> None:
    objects = [{k: v for k, v in it.items() if k not in ("log", "message")} for it in objects]
    skipped = Skipped()
    text = "".join(map(json.dumps, objects))
    assert [json.dumps(it) for it in objects_in(text, skipped)] == [
        json.dumps(it) for it in objects
    ]
    assert skipped.total() == 0
