"""Draw docs/dashboard.svg: the panels of the dashboard, from their own queries.

    python tools/dashboard.py docs/dashboard.svg

A real Prometheus scrapes a real run of some minutes: clients that call, a scanner, a burst of
exchanges, revocations.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

Json = dict[str, Any]
COLUMN, UNIT, GAP, MARGIN = 50, 30, 8, 12
WIDTH = 24 * COLUMN + 2 * MARGIN
COLOURS = (
    "#3274d9", "#e0b400", "#fa6400", "#8f3bb8", "#37a3a3", "#c4162a", "#56a64b", "#705da0",
)  # fmt: skip
THRESHOLD_COLOURS = {"green": "#37872d", "yellow": "#d6a400", "orange": "#fa6400",
                     "red": "#c4162a", "text": "#44484e", "blue": "#1f60c4"}  # fmt: skip
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #44484e }
.title { font-weight: 600; fill: #1b1f24 }
.head { font-size: 20px; font-weight: 600; fill: #1b1f24 }
.row { font-size: 15px; font-weight: 600; fill: #1b1f24 }
.tick { font-size: 10px; fill: #6b7280 }
.big { font-size: 26px; font-weight: 600; fill: #fff }
.panel { fill: #fff; stroke: #d5d9df }
.grid { stroke: #e6e8eb }
.line { fill: none; stroke-width: 1.4; stroke-linejoin: round }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line of a panel: its labels, and its values by time."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]


Ask = Callable[[str], Sequence[Series]]


def panels_of(dashboard: Json) -> Iterator[Json]:
    """Yield the panels that have queries."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def expressions(panel: Json, variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the queries of a panel, with values for its variables, and their legends."""
    for target in panel["targets"]:
        expression = str(target["expr"])
        for name, value in variables.items():
            expression = expression.replace(f"${name}", value)
        if "$" in expression:
            raise ValueError(f"{panel['title']}: a variable without a value: {expression}")
        yield expression, str(target["legendFormat"])


def written(value: float, unit: str) -> str:
    """Return a value as the dashboard shows it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit in ("s", "ms", "d"):
        seconds = value * {"s": 1, "ms": 0.001, "d": 86400}[unit]
        size = abs(seconds)
        for name, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 0.001)):
            if size >= length and not (name != "ms" and size < 2 * length and length > 1):
                return f"{seconds / length:.3g} {name}"
        return f"{seconds * 1e6:.3g} µs" if seconds else "0 s"
    suffix = {"reqps": "/s", "short": "", "none": ""}.get(unit, f" {unit}")
    if abs(value) >= 1000:
        return f"{value / 1000:.3g} k{suffix}"
    return f"{value:.3g}{suffix}"


def picture(
    dashboard: Json, variables: Mapping[str, str], ask: Ask, at: tuple[float, float]
) -> str:
    """Return the SVG of a dashboard from `at[0]` to `at[1]` (Unix times)."""
    top = 44
    parts, bottom = [_text(MARGIN, 28, dashboard["title"], "head")], 0
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        x, y = MARGIN + place["x"] * COLUMN, top + place["y"] * UNIT
        width, height = place["w"] * COLUMN - GAP, place["h"] * UNIT - GAP
        bottom = max(bottom, y + height)
        parts.append(f'<svg x="{x}" y="{y}" width="{width}" height="{height}">')
        if panel["type"] == "row":
            parts.append(_text(0, 19, f"▾ {panel['title']}", "row"))
        else:
            found = [
                (_legend(legend, each.labels), each.values)
                for expression, legend in expressions(panel, variables)
                for each in ask(expression)
            ]
            draw = _stat if panel["type"] == "stat" else _lines
            parts += draw(panel, found, (width, height), at)
        parts.append("</svg>")
    height = bottom + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img"><title>The dashboard {escape(dashboard["title"])}</title>\n'
        f'<style>{STYLE}</style>\n<rect width="{WIDTH}" height="{height}" fill="#f4f5f7"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


Found = list[tuple[str, Sequence[tuple[float, float]]]]


def _stat(panel: Json, found: Found, size: tuple[int, int], _: tuple[float, float]) -> list[str]:
    width, height = size
    defaults = panel["fieldConfig"]["defaults"]
    value = found[0][1][-1][1] if found else math.nan
    colour = "text"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    words = "no data" if math.isnan(value) else written(value, defaults["unit"])
    for mapping in defaults.get("mappings", []):
        words = mapping["options"].get(f"{value:g}", {"text": words})["text"]
    fill = THRESHOLD_COLOURS[colour]
    white = 'style="fill:#fff"'
    return [
        f'<rect width="{width}" height="{height}" rx="3" fill="{fill}"/>',
        f'<text x="10" y="20" class="title" {white}>{escape(panel["title"])}</text>',
        _text(width // 2, height // 2 + 18, words, "big", anchor="middle"),
    ]


def _lines(panel: Json, found: Found, size: tuple[int, int], at: tuple[float, float]) -> list[str]:
    width, height = size
    defaults = panel["fieldConfig"]["defaults"]
    is_stacked = "stacking" in defaults["custom"]
    legend, legend_height = _legend_lines([name for name, _ in found], panel, width)
    left, right, upper, lower = 58, width - 12, 34, height - 24 - legend_height
    curves = _stacked(found) if is_stacked else [list(values) for _, values in found]
    finite = [v for curve in curves for _, v in curve if math.isfinite(v)]
    is_time = {"s": 1.0, "ms": 0.001}.get(defaults["unit"])
    ticks = _ticks(max(finite, default=1.0), min([0.0, *finite]), is_time)
    low, high = ticks[0], ticks[-1]

    def point(when: float, value: float) -> str:
        x = left + (right - left) * (when - at[0]) / (at[1] - at[0])
        return f"{x:.1f},{lower - (lower - upper) * (value - low) / (high - low):.1f}"

    drawn = [
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="3" class="panel"/>',
        _text(10, 20, panel["title"], "title"),
    ]
    for tick in ticks:
        y = lower - (lower - upper) * (tick - low) / (high - low)
        drawn.append(f'<path d="M{left} {y:.1f}H{right}" class="grid"/>')
        label = written(tick, defaults["unit"])
        drawn.append(_text(left - 6, round(y) + 4, label, "tick", anchor="end"))
    for number in range(1, 4):
        when = at[0] + (at[1] - at[0]) * number / 4
        x = left + (right - left) * number / 4
        clock = time.strftime("%H:%M:%S", time.gmtime(when))
        drawn.append(_text(round(x), lower + 14, clock, "tick", anchor="middle"))
    order = sorted(range(len(curves)), reverse=True) if is_stacked else range(len(curves))
    for number in order:
        colour = _colour(panel, found[number][0], number)
        for run in _runs(curves[number]):
            path = " ".join(point(*each) for each in run)
            if is_stacked and len(run) > 1:
                below = dict(curves[number - 1]) if number else {}
                base = " ".join(point(when, below.get(when, low)) for when, _ in reversed(run))
                area = f'<polygon points="{path} {base}" fill="{colour}" fill-opacity=".35"/>'
                drawn.append(area)
            drawn.append(f'<polyline points="{path}" class="line" stroke="{colour}"/>')
    if not found:
        drawn.append(_text(width // 2, (upper + lower) // 2, "no data", "", anchor="middle"))
    return [*drawn, *legend]


def _legend_lines(names: list[str], panel: Json, width: int) -> tuple[list[str], int]:
    """Return the drawn legend, in as many lines as it needs, and its height."""
    places, x, line = [], 10, 0
    for name in names:
        needs = 22 + int(7.3 * len(name))
        if x + needs > width - 6 and x > 10:
            x, line = 10, line + 1
        places.append((x, line))
        x += needs
    height = 17 * (line + 1) if names else 0
    bottom = panel["gridPos"]["h"] * UNIT - GAP - height
    drawn = []
    for number, (name, (x, line)) in enumerate(zip(names, places, strict=True)):
        y = bottom + 17 * line + 5
        colour = _colour(panel, name, number)
        drawn.append(f'<rect x="{x}" y="{y - 4}" width="10" height="3" fill="{colour}"/>')
        drawn.append(_text(x + 14, y + 2, name, ""))
    return drawn, height


def _stacked(found: Found) -> list[list[tuple[float, float]]]:
    sums: dict[float, float] = {}
    curves = []
    for _, values in found:
        curve = []
        for when, value in values:
            sums[when] = sums.get(when, 0.0) + (value if math.isfinite(value) else 0.0)
            curve.append((when, sums[when]))
        curves.append(curve)
    return curves


def _runs(curve: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a curve without gaps."""
    run: list[tuple[float, float]] = []
    for when, value in curve:
        if math.isfinite(value):
            run.append((when, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _ticks(high: float, low: float, unit_seconds: float | None) -> list[float]:
    """Return round values from below `low` to above `high`; of times, in minutes and hours."""
    high = high if high > low else low + 1
    step = 10 ** math.floor(math.log10(high - low))
    steps = [step * each for each in (0.2, 0.5, 1, 2, 5)]
    if unit_seconds is not None and high * unit_seconds > 100:
        steps = [each / unit_seconds for each in (60, 120, 300, 600, 1200, 1800, 3600, 7200, 86400)]
    step = next((each for each in steps if (high - low) / each <= 5), steps[-1])
    first = math.floor(low / step)
    return [step * number for number in range(first, math.ceil(high / step - 1e-9) + 1)]


def _colour(panel: Json, name: str, number: int) -> str:
    for override in panel["fieldConfig"]["overrides"]:
        if re.search(override["matcher"]["options"].strip("/"), name):
            (value,) = (each["value"] for each in override["properties"] if each["id"] == "color")
            return THRESHOLD_COLOURS[value["fixedColor"]]
    return COLOURS[number % len(COLOURS)]


def _legend(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{ *(\w+) *\}\}", lambda found: labels.get(found[1], ""), legend)


def _text(x: int, y: int, words: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


STORY_SECONDS = 240
VARIABLES = {"__rate_interval": "20s", "namespace": ".*", "gate": ".*"}


def main() -> None:
    """Write the picture to the file that the command line names."""
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("tests", "")]
    from daypass.render.monitoring.alerts_and_dashboard import alerts_text, dashboard_text
    from support import watching
    from support.controlplane import ControlPlane
    from support.operation import running_operation
    from support.prometheus import running_prometheus

    with tempfile.TemporaryDirectory() as made:
        folders = [Path(made, name) for name in ("plane", "operation", "prometheus")]
        for folder in folders:
            folder.mkdir()
        (folders[2] / "alerts.yaml").write_text(alerts_text())
        with ControlPlane.start(folders[0]) as plane:
            watching.prepare(plane, watching.watched_config())
            with (
                running_operation(folders[1], plane) as operation,
                running_prometheus(
                    folders[2], *operation.targets, rules=folders[2] / "alerts.yaml"
                ) as prometheus,
            ):
                end = _story(operation)
                start = end - STORY_SECONDS

                def ask(expression: str) -> list[Series]:
                    found = prometheus.query_range(expression, start=start, end=end, step=3)
                    return [
                        Series(
                            labels=each["metric"],
                            values=[(float(when), float(value)) for when, value in each["values"]],
                        )
                        for each in found
                    ]

                dashboard = json.loads(dashboard_text())
                drawn = picture(dashboard, VARIABLES, ask, (start, end))
                drawn = drawn.replace(str(folders[1] / "agent"), "/run/daypass")
    Path(sys.argv[1]).write_text(drawn)


def _story(operation: Any) -> float:
    """Use all parts for some minutes; return when it ended."""
    from support.operation import calls, exchanges, repeated

    begun = time.time()

    def scans() -> None:
        for path in ("/nothing", "/kubernetes/api/v1/secrets", "/kubernetes/api/v1/../pods"):
            operation.exchange(path)

    def pause() -> float:
        return 1.2 + 0.6 * math.sin((time.time() - begun) / 25)

    with repeated(lambda: exchanges(operation), lambda: calls(operation), pause=pause):
        for number in range(8):
            busy = {3: [scans], 5: [operation.exchange]}.get(number, [])
            with repeated(*busy, pause=lambda: 0.04):
                operation.revoke_another()
                operation.plane.make_identity(operation.identity.namespace, f"bot-{number}")
                time.sleep(max(0.0, begun + STORY_SECONDS * (number + 1) / 8 - time.time()))
    return time.time()


if __name__ == "__main__":
    main()
