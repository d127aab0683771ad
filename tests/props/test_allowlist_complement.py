"""The complement of a list of names is all other names, for Python's patterns and for Envoy's."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from daypass.render.envoy.upstream import complement
from daypass.render.envoy.xds import other_than

header = st.text("abx-09", min_size=1, max_size=6)
name_lists = st.lists(header, min_size=1, max_size=8)


@st.composite
def near_names(draw: st.DrawFn, names: list[str]) -> str:
    """A name of the list, one nearly of it, or any."""
    name = draw(st.sampled_from(names))
    place = draw(st.integers(0, len(name)))
    bent = name[:place] + draw(st.text("abx-09:z", max_size=2)) + name[place + 1 :]
    return draw(st.sampled_from([name, bent, name + "-", name[:-1], draw(st.text(max_size=5))]))


@given(st.data(), name_lists)
def test_a_header_is_removed_unless_it_is_listed_or_a_pseudo_header(
    data: st.DataObject, names: list[str]
) -> None:
    name = data.draw(near_names(names))
    matched = re.fullmatch(complement(names), name, re.DOTALL) is not None
    expected = name not in names and not name.startswith(":") and name != ""
    assert matched == expected


@given(st.data(), st.text("ab.-^]*+?({|$:/", min_size=1, max_size=8))
def test_every_other_text_matches_the_complement(data: st.DataObject, text: str) -> None:
    place = data.draw(st.integers(0, len(text)))
    bent = text[:place] + data.draw(st.text(max_size=3)) + text[place + data.draw(st.booleans()) :]
    for other in (text, bent, text[:place], text + "\n", data.draw(st.text(max_size=5))):
        assert (re.fullmatch(other_than(text), other) is not None) == (other != text)


def test_the_longest_audience_has_its_pattern() -> None:
    assert not re.fullmatch(other_than("a" * 253), "a" * 253)
    assert re.fullmatch(other_than("a" * 253), "a" * 254)
