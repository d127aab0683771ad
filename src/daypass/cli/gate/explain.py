"""`daypass gate explain`: whether the gate would accept a token, and why."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import UsageError
from daypass._core.files import read_text
from daypass._core.text import mask_unprintable
from daypass.cli import options
from daypass.cli.console import warn
from daypass.cli.gate import load_gates, read_token
from daypass.cli.output import write_result
from daypass.rules.reasons import Reason

if TYPE_CHECKING:
    from daypass.config import Config, Gate
    from daypass.gate.explain import Explanation
    from daypass.kube.cluster import Cluster
    from daypass.rules.decision import Rules

SUMMARY = "show step by step what the gate would do with a token"
EPILOG = """examples:
  daypass token | daypass gate explain --token-file - --host ekf.example.com
  daypass gate explain --token-file token --host ekf.example.com \\
    --kubeconfig admin.kubeconfig
  daypass gate explain --token-file token --host serving.example.com \\
    --path /serving/alice/iris/v1/models/iris:predict

With --kubeconfig, --context or KUBECONFIG it reads the cluster's keys, what its gates have
published, and which models exist; with --keys it ignores KUBECONFIG. The token is sent nowhere.
Exit code 3: it would be refused.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a gate would do with a token."""

    gate: Annotated[str, "the name of the gate"]
    allowed: Annotated[bool, "whether no check refuses the token"]
    reason: Annotated[Reason, "the code of the decision"]
    message: Annotated[str, "the decision as a sentence"]
    steps: Annotated[Sequence[str], "what each check found that it passed, in order"]
    not_checked: Annotated[Sequence[str], "what was not checked, and why"]
    user: Annotated[str | None, "the user that services would see; null: it is not known"]


OUTPUT = Explained


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--token-file", required=True, metavar="FILE", help="- for stdin")
    parser.add_argument("--host", required=True, help="the host of the request")
    parser.add_argument(
        "--path", default="/", help="the path of the request, as it is sent (default: /)"
    )
    parser.add_argument(
        "--gate", metavar="NAME", help="one of several gates (default: the one with this host)"
    )
    parser.add_argument(
        "--keys",
        metavar="FILE",
        help="the API server's keys (JWKS; default: cluster.keys)",
    )
    options.add_output(parser)
    options.add_config(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Explain; return 0 if the token would be accepted, else 3."""
    config = load_gates(args.config)  # first: its errors take precedence
    name, gate = _gate_of(config, args)
    from daypass.config.key_set import read_key_set
    from daypass.gate.explain import ModelFacts, explain

    token = read_token(args.token_file)
    rules = config.rules_of(gate, config.cluster.issuer or "")
    keys = None if config.cluster.keys is None else read_key_set(config.cluster.keys)
    keys = keys if args.keys is None else read_text(args.keys, "JSON Web Key Set")
    asks = args.kubeconfig or args.context or (keys is None and os.environ.get("KUBECONFIG"))
    with options.open_cluster(args) if asks else nullcontext() as cluster:
        models = None
        if cluster is not None:
            keys, rules = _read_cluster(cluster, token, rules, config, keys)
            models = ModelFacts(cluster, warn)
        now = SYSTEM_CLOCK.unix()
        explained = explain(token, args.host, args.path, rules, now, keys, models=models)
    several = f"gate {name}\n" if len(config.gates) > 1 else ""
    write_result(args, _output(name, explained), several + _text(explained), indent=None)
    return 0 if explained.passes else 3


def _gate_of(config: Config, args: Namespace) -> tuple[str, Gate]:
    """Return the gate that is named, or the one that guards the host. Raises UsageError."""
    from daypass.rules.patterns import HostPattern

    guarding = {
        name: gate.guards_every_host
        for name, gate in config.gates.items()
        if any(HostPattern.parse(host).matches(args.host) for host in gate.hosts)
    }
    if args.gate is None and not guarding and len(config.gates) > 1:
        hint = f"write another --host, or --gate: {', '.join(config.gates)}"
        raise UsageError(f"no gate guards {args.host[:80]!r}", hint)
    named = [name for name, is_any in guarding.items() if not is_any] or list(guarding)
    return config.find_gate(args.gate or (named[0] if len(named) == 1 else None))


def _read_cluster(
    cluster: Cluster, token: str, rules: Rules, config: Config, keys: str | None
) -> tuple[str, Rules]:
    from daypass.gate.explain import credential_uid
    from daypass.gate.publication import read_published
    from daypass.gate.signing_keys import issuer_for, keys_for
    from daypass.kube.errors import ForbiddenError

    published = None
    try:
        if config.cluster_gates:
            published = read_published(cluster, config.door.namespace, credential_uid(token))
    except ForbiddenError as error:
        warn(error.fact, error.hint)
    issuer = issuer_for(config, cluster)
    return keys or keys_for(config, cluster), replace(rules, issuer=issuer, published=published)


def _output(gate: str, explained: Explanation) -> Explained:
    decision = explained.decision
    return Explained(
        gate=gate,
        allowed=explained.passes,
        reason=decision.reason,
        message=explained.message,
        steps=decision.found,
        not_checked=explained.not_checked,
        user=None if decision.identity is None else decision.identity.user,
    )


def _text(explained: Explanation) -> str:
    found = explained.decision.found
    lines = [f"{number:>2}  {each}" for number, each in enumerate(found, 1)]
    refused = f"{len(found) + 1:>2}  refused ({explained.code}): "
    allowed = "" if explained.not_checked else "allowed: "
    lines.append((allowed if explained.passes else refused) + explained.message)
    lines += [f"not checked: {what}" for what in explained.not_checked]
    return "".join(mask_unprintable(line) + "\n" for line in lines)
