"""docs/reference/messages.md: what door, gate and client answer, and what to do.

The client's messages are in tests/golden/messages.txt, with the reasons that its source names.
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.bootstrap import ROOT
from tools.reference.markdown import code, documented, table

from daypass._core.errors import reason_code
from daypass.client import errors
from daypass.config.exposure import Exposure, refusals
from daypass.rules.reasons import CODES, MESSAGES, Reason

AT_THE_DOOR = {
    400: "Is the port right, and the client a usual one?",
    401: "Send the long-lived token.",
    403: "Nothing needs WebSockets here.",
    404: "Compare the URL: host, prefix, names, no query, no slash at the end.",
    405: "Send a POST.",
    408: "Try again: the network is slow, or the client stopped.",
    413: "A TokenRequest needs a few hundred bytes.",
    415: "Send JSON with `Content-Type: application/json`.",
    426: "Use a client that speaks HTTP/1.1 or HTTP/2.",
    429: "`limits` sets the rates; clients should cache their tokens.",
    431: "A proxy may add large headers or cookies.",
    500: "Look at the door's log.",
    501: "Use another HTTP client, or send the length of the body.",
    502: "Look at the API server, and at what is between it and the door.",
    503: "Are `cluster.server` and its certificate authority right? Is the way open for the door?",
    504: "Try again: the API server is overloaded or unreachable.",
}
"""What to do after each answer of the door, by status."""

NOT_ONLY_ITS = {"api", "error", "not-found", "refused", "unsafe-file"}
ITS = ("nothing is published", "the TokenRequest", "the credentials file", "the token's file")
"""Reasons that other parts of daypass have, too, and how the client's messages with them begin."""

LONGEST = 400
"""Characters of a message; longer ones are tests of limits."""


def gate() -> str:
    """Return the table of what the gate answers."""
    meaning = documented(Reason)
    rows = (
        (_plain(MESSAGES[reason]), str(CODES.get(reason, 401)), code(reason), meaning[reason.name])
        for reason in Reason
        if reason is not Reason.ALLOWED
    )
    return table(("message", "status", "reason", "what to do"), sorted(rows))


def door() -> str:
    """Return the table of what the door answers."""
    rows = (
        (_plain(each.message), str(each.code), code(each.reason), AT_THE_DOOR[each.code])
        for each in refusals(Exposure(prefix="PREFIX", hosts=()))
    )
    return table(("message", "status", "reason", "what to do"), sorted(rows))


def client() -> str:
    """Return the table of the client's reasons, each with its shortest message."""
    shortest: dict[str, str] = {}
    known = _reasons()
    for line in (ROOT / "tests/golden/messages.txt").read_text().splitlines():
        reason, _, text = line.partition("\t")
        hint = text.partition(r"\n")[2]
        is_odd = "s ago" in hint or "REPO" in text or len(text) > LONGEST
        is_odd |= text.startswith("daypass: ")  # printed by a command
        is_odd |= reason in NOT_ONLY_ITS and not text.startswith(ITS)
        if hint and reason in known and not is_odd:
            fact = _plain(text.partition(r"\n")[0])
            shortest[reason] = min(shortest.get(reason, fact), fact, key=len)
    rows = ((code(reason), fact) for reason, fact in sorted(shortest.items()))
    return table(("reason", "message, for example"), rows)


def _reasons() -> set[str]:
    """Return the reasons that the client's source names, and those of its classes."""
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    folder = Path(str(errors.__file__)).parent
    texts = re.findall(r'"([a-z]+(?:-[a-z]+)*)"', "".join(map(Path.read_text, folder.glob("*.py"))))
    return {*texts, *map(reason_code, kinds)} - {"warning", "daypass"}


def _plain(message: str) -> str:
    """Return a message as text in Markdown, without what tests put into it."""
    text = message.replace("TMP/", "").replace("RANDOM", "7q0zk3vr9b2mx5c8w1td")
    return re.sub(r"([<*])", r"\\\1", text).replace(r"\n", "<br>")
