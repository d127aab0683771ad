"""Draw docs/components.svg: the components, their connections and the trust boundaries.

    python tools/components.py docs/components.svg

It is 390 units wide, so that its text has its natural size on a phone. Numbers are the steps of
a request, letters are trust boundaries. docs/explanation describes both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

WIDTH, HEIGHT = 390, 606
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1f24 }
.name { font-weight: 600 }
.small { font-size: 12px; fill: #4b5563 }
.step { font-weight: 600; fill: #0b5cad }
.boundary { fill: none; stroke: #b42318; stroke-width: 1.5; stroke-dasharray: 6 4 }
.letter { font-weight: 700; fill: #b42318 }
.box { fill: #f3f6fa; stroke: #57606a }
.ours { fill: #e3f0ff; stroke: #0b5cad }
.arrow { fill: none; stroke: #57606a; stroke-width: 1.5; marker-end: url(#head) }
"""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>'
)
TITLE = "daypass: components, connections and trust boundaries"
DESCRIPTION = (
    "A client outside the cluster sends its long-lived token through an ingress to the door, and"
    " the door to the API server, which returns a short-lived token. With it the client calls a"
    " gateway. The gate in the gateway checks it and passes the caller's name to the service. The"
    " gate watch reads credentials and signing keys from the API server, and publishes them to the"
    " gate."
)


def text(x: int, y: int, words: str, kind: str = "", *, anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{words}</text>'


def box(x: int, y: int, width: int, lines: Iterable[str], kind: str = "box") -> str:
    """Return a box with a name in its first line."""
    first, *rest = lines
    height = 20 + 17 * (1 + len(rest))
    middle = x + width // 2
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>'
    words = [text(middle, y + 22, first, "name", anchor="middle")]
    words += [
        text(middle, y + 22 + 17 * number, line, "small", anchor="middle")
        for number, line in enumerate(rest, 1)
    ]
    return "\n".join((shape, *words))


def arrow(*points: tuple[int, int]) -> str:
    """Return an arrow through points."""
    return f'<polyline class="arrow" points="{" ".join(f"{x},{y}" for x, y in points)}"/>'


def boundary(letter: str, corner: tuple[int, int], size: tuple[int, int]) -> str:
    """Return a trust boundary with its letter."""
    (x, y), (width, height) = corner, size
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" class="boundary"/>'
    return f"{shape}\n{text(x + 8, y + 17, letter, 'letter')}"


def picture() -> str:
    """Return the picture as SVG."""
    parts = [
        boundary("A", (6, 8), (378, 94)),
        text(30, 25, "the client&#8217;s machine", "small"),
        box(56, 32, 278, ("client", "bot, CI job, laptop: a long-lived token")),
        # at the left the exchange, at the right the guarded call
        arrow((70, 89), (70, 178)),
        text(76, 122, "1 long-lived", "step"),
        text(76, 138, "token, https", "small"),
        arrow((320, 89), (320, 178)),
        text(314, 122, "3 short-lived", "step", anchor="end"),
        text(314, 138, "token, https", "small", anchor="end"),
        boundary("B", (6, 154), (378, 444)),
        text(98, 171, "the cluster", "small"),
        box(16, 184, 158, ("ingress or gateway", "TLS ends here")),
        box(216, 184, 158, ("gate", "in your gateway"), "ours"),
        arrow((70, 241), (70, 286)),
        text(76, 268, "TLS, verified", "small"),
        arrow((250, 241), (250, 326)),
        text(244, 284, "4 the caller&#8217;s", "step", anchor="end"),
        text(244, 300, "name, no token", "small", anchor="end"),
        box(16, 292, 124, ("door", "an Envoy without", "any credential"), "ours"),
        boundary("C", (186, 308), (148, 102)),
        box(210, 330, 116, ("service", "KFP, KServe,", "your own")),
        arrow((70, 366), (70, 476)),
        text(76, 422, "1 TokenRequest", "step"),
        text(76, 438, "TLS, verified", "small"),
        boundary("D", (12, 458), (178, 124)),
        text(92, 475, "control plane", "small"),
        box(20, 482, 162, ("API server", "signs every token", "2 returns the", "short-lived one")),
        box(246, 492, 128, ("gate watch", "credentials, keys"), "ours"),
        arrow((182, 520), (240, 520)),
        arrow((358, 492), (358, 247)),
        text(352, 442, "5 credentials, keys", "step", anchor="end"),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{TITLE}</title>\n<desc id="desc">{DESCRIPTION}</desc>\n'
        f"<style>{STYLE}</style>\n{HEAD}\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture())
