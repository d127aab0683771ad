"""Diffs of objects, as they are printed."""

from __future__ import annotations

from typing import Any

from daypass.deploy.objects import ObjectRef, object_diff
from support.messages import check

SECRET = ObjectRef(group="", kind="Secret", namespace="daypass", name="pair")


def secret(**data: str) -> dict[str, Any]:
    metadata = {"name": "pair", "namespace": "daypass"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def test_a_secret_diff_shows_which_keys_differ_and_no_value() -> None:
    text = object_diff(
        SECRET, secret(same="c2FtZQ==", other="b2xk"), secret(same="c2FtZQ==", other="bmV3")
    )
    changed = [line for line in text.splitlines()[2:] if line[:1] in "+-"]
    assert [line.partition(":")[0] for line in changed] == ["-  other", "+  other"]
    check(text, "\n   same: ", reason="diff")
    for value in ("c2FtZQ==", "b2xk", "bmV3"):
        assert value not in text
