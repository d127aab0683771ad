"""A header allowlist for Envoy, which has none: remove what matches the complement of a list.

The complement of a finite set of names is a regular language, and RE2 decides it in one pass over
the name. The regex is built from the tree of the names, so that nobody has to write it by hand.
"""

import re
from collections.abc import Iterable, Iterator

from daypass.render.envoy.typed import Json, extension, full_match


def complement(names: Iterable[str]) -> str:
    """A pattern that matches, as a whole, every name that is not in `names`.

    Names consist of lower-case letters, digits and dashes. Names that begin with a colon (HTTP/2's
    pseudo-headers) are never matched: they are not headers.
    """
    return _below(sorted(set(names)), extra=":")


def other_than(text: str) -> str:
    """A pattern that matches, as a whole, every text but this one, whatever is in it."""
    pattern = ".+"
    for character in reversed(text):
        escaped = re.escape(character)
        pattern = f"(|[^{escaped}].*|{escaped}{pattern})"
    return f"(?s){pattern}"


def _below(rests: list[str], extra: str = "") -> str:
    firsts = sorted({rest[0] for rest in rests if rest})
    # A dash comes first in a class, where it cannot stand for a range.
    excluded = "".join(sorted({*firsts, *extra}, key=lambda c: (c != "-", c)))
    branches = [] if "" in rests or extra else [""]
    branches.append(f"[^{excluded}].*" if excluded else ".+")
    branches.extend(_branches(rests, firsts))
    return f"({'|'.join(branches)})"


def _branches(rests: list[str], firsts: list[str]) -> Iterator[str]:
    for first in firsts:
        yield first + _below([rest[1:] for rest in rests if rest.startswith(first)])


def keep_only(names: Iterable[str]) -> Json:
    """An HTTP filter that removes every request header and trailer that is not in `names`.

    Meant for the upstream side of a cluster: on the downstream side it would take headers away
    that Envoy's own router needs.
    """
    others = {"remove_on_match": {"key_matcher": {"safe_regex": full_match(complement(names))}}}
    trailers = {"remove_on_match": {"key_matcher": {"safe_regex": full_match(".*")}}}
    return extension(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [others], "request_trailers_mutations": [trailers]},
    )
