"""Adopting any repository gives a result or a DaypassError, in bounded time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import DaypassError
from daypass.deploy.ekf import load_kustomization, read_patch, with_patch
from support.ekf import KUSTOMIZATION, LONG_PATCH

PIECES = st.sampled_from(
    ["[", "]", "{", "}", "&a ", "*a", "<<: ", "- ", "\n", "  ", "\t", ": ", "? ", "|\n", "!!x ",
     "%", "---\n", "patches:\n", "- path: patches/ingress_host.json\n", "kind: Ingress\n", "#",
     "\0", "1" * 5000, "é", "\u2028",
     '{"op": "replace", "path": "/spec/rules/0/host", "value": "a"}']
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(PIECES, max_size=30).map("".join),
    st.text(max_size=60),
    st.builds(
        lambda text, at, piece: text[:at] + piece + text[at:],
        st.sampled_from([LONG_PATCH, KUSTOMIZATION]), st.integers(0, 400), PIECES,
    ),
)  # fmt: skip


@given(text=TEXTS)
def test_any_patch_is_read_or_refused(text: str) -> None:
    try:
        patch = read_patch(text, "p")
        assert read_patch(patch.with_host("ekf.example.com"), "p").host == "ekf.example.com"
        patch.mentions()
    except DaypassError:
        pass


@given(text=TEXTS, target=st.just({"kind": "Ingress"}))
def test_any_kustomization_is_read_or_refused(text: str, target: dict[str, Any]) -> None:
    with suppress(DaypassError):
        load_kustomization(with_patch(text, "k", target), "k")
