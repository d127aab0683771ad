"""`daypass status`: door, gates and identities on one screen."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.findings import exit_code
from daypass._core.hints import docs_page
from daypass._core.text import mask_unprintable
from daypass.cli import options
from daypass.cli.console import paint, write
from daypass.cli.identity.list import display_age
from daypass.cli.output import columns, write_result
from daypass.cli.verify import findings_text
from daypass.status.report import ComponentState, DomainState, Overview

if TYPE_CHECKING:
    from daypass._core.findings import Finding

SUMMARY = "the state of door, gates and identities, and what is wrong"
EPILOG = f"""examples:
  daypass status                                    exit code 3 if something is wrong
  daypass status -o json | jq .findings

With a config for one machine or --state it shows what `daypass up` runs. Notes, such as identities
that are not used, do not change the exit code. Rates are on the dashboard:
{docs_page("how-to/monitoring.md")}
"""
OUTPUT = Overview
_NOTHING = "-"


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)
    parser.set_defaults(config=None)  # without daypass.yaml: what `up` runs by its defaults
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="of `daypass up` (default: as there)"
    )
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print the status; return 3 if something is wrong."""
    with ExitStack() as stack:
        look = _look(args, stack)
        status = look()
        if args.output == "text":
            write(screen(status))
        else:
            write_result(args, status)
        return exit_code(status.findings)


def _look(args: Namespace, stack: ExitStack) -> Callable[[], Overview]:
    """Return what reads the status: of the cluster, or of this machine."""
    from daypass.local.state import state_folder
    from daypass.status.reading import read_cluster, read_machine

    path = args.config or options.DEFAULT_CONFIG
    state = args.state or state_folder(path)
    is_default = args.config is None and not path.exists() and (state / "defaults.yaml").exists()
    config = options.load_config(state / "defaults.yaml" if is_default else path)
    cluster = None
    own, is_machine = state / "admin.kubeconfig", bool(args.state) or not config.cluster_domains
    if is_machine and config.local.api_server == "embedded" and own.exists():
        args.kubeconfig = args.kubeconfig or str(own)
    if not is_machine or args.kubeconfig or args.context:
        cluster = stack.enter_context(options.open_cluster(args))
    if cluster is not None and not is_machine:
        return partial(read_cluster, cluster, config)
    return partial(read_machine, config, state, cluster, SYSTEM_CLOCK)


def screen(status: Overview) -> str:
    """Return the screen: what is wrong first, then tables."""
    heading = mask_unprintable(f"daypass {status.version}, {status.target}")
    lines = [paint("bold", heading) + "\n"]
    if status.findings:
        pairs = zip_longest(status.findings, status.findings[1:])
        lines.append(findings_text({"findings": [_shown(*pair) for pair in pairs]}, paint))
    else:
        lines.append(paint("ok", "all is well") + "\n")
    tables = [*map(_domain, status.domains)], [*map(_component, status.components)]
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
    expires = _NOTHING if each.days is None else f"{each.days} days"
    return {"DOMAIN": each.name, "HOST": each.host, "FRONT": each.front, "EXPIRES IN": expires}


def _component(each: ComponentState) -> dict[str, str]:
    ready = _NOTHING if each.wanted is None else f"{each.ready}/{each.wanted}"
    image = each.image.rpartition("/")[2] or _NOTHING
    return {"COMPONENT": each.name, "READY": ready, "IMAGE": image}


def _lines(status: Overview) -> Iterator[tuple[str, str]]:
    if (known := status.published) is not None:
        facts = [] if known.credentials is None else [f"{known.credentials:,} credentials"]
        times = {"listed {} ago": known.age, "closing in {}": known.closes}
        facts += [text.format(display_age(it)) for text, it in times.items() if it is not None]
        yield "gates know", ", ".join(facts) or "not known"
        yield "published by", "not known" if known.leader is None else known.leader or "nobody"
    if (each := status.identities) is not None:
        yield (
            "identities",
            f"{each.total:,}: {len(each.expiring)} expire soon, {len(each.unused)} unused,"
            f" {each.federated} federated (last use not known)",
        )
    if status.drift is not None:
        count = len(status.drift)
        yield "config", f"{count} differ from it" if count else "all is as it says"
