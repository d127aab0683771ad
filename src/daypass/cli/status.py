"""`daypass status`: door, gates and identities on one screen."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import UsageError
from daypass._core.findings import exit_code
from daypass._core.text import mask_unprintable
from daypass.cli import options, write
from daypass.cli.colour import paint
from daypass.cli.identity.list import display_age
from daypass.cli.output import as_text, columns, watch
from daypass.cli.progress import progress
from daypass.cli.verify import findings_text

if TYPE_CHECKING:
    from daypass._core.findings import Finding
    from daypass.status.report import DomainState, Overview, PartState

SUMMARY = "the state of door, gates and identities, and what is wrong"
EPILOG = """examples:
  daypass status                                    exit code 3 if something is wrong
  daypass status -w                                 drawn again every few seconds
  daypass status --prometheus http://127.0.0.1:9090
  daypass status -o json | jq .findings

Rates come from the Prometheus in a namespace of metrics.scrapedFrom, or from the Pods
(metrics.podProxy). With a config for one machine it shows what `daypass up` runs. Notes, such as
identities that are not used, do not change the exit code.
"""
_NOTHING = "-"
_REASONS = 2


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)
    parser.set_defaults(config=None)  # without daypass.yaml: what `up` runs by its defaults
    parser.add_argument("--prometheus", metavar="URL", help="default: the one in the cluster")
    parser.add_argument(
        "--prometheus-token-file",
        metavar="FILE",
        help="a bearer token, if it asks for a login; - for stdin",
    )
    parser.add_argument("-w", "--watch", action="store_true", help="draw it again and again")
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="of `daypass up` (default: as there)"
    )
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print the status; return 3 if something is wrong."""
    with ExitStack() as stack:
        look = _look(args, stack)
        if args.watch:
            watch(args.output, SYSTEM_CLOCK, time.sleep, lambda _: _text(args, look(), indent=None))
        with progress(args, "looking"):
            status = look()
        write(_text(args, status))
        return exit_code(status.findings)


def _look(args: Namespace, stack: ExitStack) -> Callable[[], Overview]:
    """Return what reads the status: of the cluster, or of this machine."""
    from daypass.local.state import state_folder
    from daypass.status.cluster import read_cluster
    from daypass.status.machine import read_machine
    from daypass.status.sources import Scrapes, prometheus_at

    path = args.config or options.DEFAULT_CONFIG
    state = args.state or state_folder(path)
    is_default = args.config is None and not path.exists() and (state / "defaults.yaml").exists()
    config = options.load_config(state / "defaults.yaml" if is_default else path)
    scrapes, named = Scrapes(SYSTEM_CLOCK, time.sleep), None
    if args.prometheus is not None:
        named = prometheus_at(args.prometheus, args.prometheus_token_file)
        stack.callback(named.server.close)
    elif args.prometheus_token_file is not None:
        raise UsageError("--prometheus-token-file is for a named Prometheus", "--prometheus URL")
    if config.cluster_domains:
        cluster = stack.enter_context(options.open_cluster(args))
        return lambda: read_cluster(cluster, config, named, scrapes)
    own = state / "admin.kubeconfig"
    if config.local.api_server == "embedded" and own.exists():
        args.kubeconfig = args.kubeconfig or str(own)
    api_server = None
    if args.kubeconfig or args.context:
        api_server = stack.enter_context(options.open_cluster(args))
    return lambda: read_machine(config, state, api_server, named or scrapes, SYSTEM_CLOCK)


def _text(args: Namespace, status: Overview, *, indent: int | None = 2) -> str:
    return screen(status) if args.output == "text" else as_text(status, args.output, indent=indent)


def screen(status: Overview) -> str:
    """Return the screen: what is wrong first, then tables."""
    heading = mask_unprintable(f"daypass {status.version}, {status.place}")
    lines = [paint("bold", heading) + "\n"]
    if status.findings:
        pairs = zip_longest(status.findings, status.findings[1:])
        lines.append(findings_text({"findings": [_shown(*pair) for pair in pairs]}, paint))
    else:
        lines.append(paint("ok", "all is well") + "\n")
    tables = [*map(_domain, status.domains)], [*map(_part, status.parts)]
    lines += [f"\n{columns(rows)}" for rows in tables if rows]
    lines.append("\n")
    lines += [f"{name:<14}{mask_unprintable(text)}\n" for name, text in _lines(status)]
    return "".join(lines)


def _shown(finding: Finding, after: Finding | None) -> Finding:
    """Return a finding of few lines: a missing right as a rule of one, and a hint once."""
    if after is not None and after.hint == finding.hint:
        return replace(finding, hint="")
    first, *rule = finding.hint.split("\n")
    if not rule or not rule[0].startswith("- "):
        return finding
    return replace(finding, hint=f"{first}\n- {{{', '.join(each[2:] for each in rule)}}}")


def _domain(each: DomainState) -> dict[str, str]:
    return {
        "DOMAIN": each.name,
        "HOST": each.host,
        "FRONT": each.front,
        "CERTIFICATE": each.certificate,
        "EXPIRES IN": _NOTHING if each.days is None else f"{each.days} days",
    }


def _part(each: PartState) -> dict[str, str]:
    traffic = each.traffic
    worst = sorted(traffic.reasons.items(), key=lambda pair: -pair[1])[:_REASONS]
    return {
        "PART": each.name,
        "READY": _NOTHING if each.wanted is None else f"{each.ready}/{each.wanted}",
        "RATE": _NOTHING if traffic.rate is None else f"{_short(traffic.rate)}/s",
        "REFUSED": _share(traffic.refused),
        "FAILED": _share(traffic.failed),
        "P50": _time(traffic.p50),
        "P99": _time(traffic.p99),
        "REFUSED FOR": ", ".join(f"{name} {_share(share)}" for name, share in worst) or _NOTHING,
    }


def _share(share: float | None) -> str:
    return _NOTHING if share is None else f"{_short(100 * share)} %"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return _NOTHING
    return f"{_short(1000 * seconds)} ms" if seconds < 1 else f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"


def _lines(status: Overview) -> Iterator[tuple[str, str]]:
    known = status.published
    if known is not None:
        facts = [
            "" if known.credentials is None else f"{known.credentials:,} credentials",
            "" if known.age is None else f"listed {display_age(known.age)} ago",
            "" if known.closes is None else f"closing in {display_age(known.closes)}",
            "" if known.keys is None else f"keys read {display_age(known.keys)} ago",
        ]
        yield "gates know", ", ".join(filter(None, facts)) or "not known"
        yield "published by", "not known" if known.leader is None else known.leader or "nobody"
    if status.identities is not None:
        each = status.identities
        yield (
            "identities",
            f"{each.total:,}: {len(each.expiring)} expire soon, {len(each.unused)} unused,"
            f" {each.federated} federated (last use not known)",
        )
    if status.drift is not None:
        count = len(status.drift)
        yield "config", f"{count} differ from it" if count else "all is as it says"
    images = dict.fromkeys(each.image for each in status.parts if each.image)
    if images:
        yield "images", ", ".join(image.rpartition("/")[2] for image in images)
    yield "rates", status.metrics or "not known"
    if status.metrics:
        yield "", "shares and times of what had no requests in that time are since its start"
