"""`daypass gate explain`: whether the gate would accept a token, and why."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.files import read_text
from daypass._core.text import mask_unprintable
from daypass.cli import options, warn
from daypass.cli.gate import load_gates, read_token
from daypass.cli.output import write_result

if TYPE_CHECKING:
    from daypass.cli.output_data import Explained
    from daypass.config import Config
    from daypass.gate.explain import Explanation
    from daypass.kube.cluster import Cluster
    from daypass.rules.decision import Rules

SUMMARY = "show step by step what the gate would do with a token"
EPILOG = """examples:
  daypass token | daypass gate explain --token-file - --host ekf.example.com
  daypass gate explain --token-file token --host ekf.example.com \\
    --kubeconfig admin.kubeconfig

With --kubeconfig, --context or KUBECONFIG it reads the cluster's keys, and what its gate has
published; with --keys it ignores KUBECONFIG. The token is sent nowhere. Exit code 3: it would
be refused.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--token-file", required=True, metavar="FILE", help="- for stdin")
    parser.add_argument("--host", required=True, help="the host of the request")
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
    _, gate = config.find_gate(None)
    from daypass.config.key_set import read_key_set
    from daypass.gate.explain import explain

    token = read_token(args.token_file)
    rules = config.rules_of(gate, config.cluster.issuer or "")
    keys = None if config.cluster.keys is None else read_key_set(config.cluster.keys)
    keys = keys if args.keys is None else read_text(args.keys, "JSON Web Key Set")
    named = args.kubeconfig or args.context
    if named or (keys is None and os.environ.get("KUBECONFIG")):
        with options.open_cluster(args) as cluster:
            keys, rules = _read_cluster(cluster, token, rules, config, keys)
    explained = explain(token, args.host, rules, SYSTEM_CLOCK.unix(), keys)
    write_result(args, _document(explained), _text(explained), indent=None)
    return 0 if explained.passes else 3


def _read_cluster(
    cluster: Cluster, token: str, rules: Rules, config: Config, keys: str | None
) -> tuple[str, Rules]:
    from daypass.gate.explain import credential_uid
    from daypass.gate.signing_keys import issuer_for, keys_for
    from daypass.kube.errors import ForbiddenError
    from daypass.kube.gates import read_published

    published = None
    try:
        if config.cluster_gates:
            published = read_published(cluster, config.door.namespace, credential_uid(token))
    except ForbiddenError as error:
        warn(error.fact, error.hint)
    issuer = issuer_for(config, cluster)
    return keys or keys_for(config, cluster), replace(rules, issuer=issuer, published=published)


def _document(explained: Explanation) -> Explained:
    decision = explained.decision
    return {
        "allowed": explained.passes,
        "reason": decision.reason,
        "message": explained.message,
        "steps": [{"number": n, "found": each} for n, each in enumerate(decision.found, 1)],
        "notChecked": list(explained.not_checked),
        "user": None if decision.identity is None else decision.identity.user,
    }


def _text(explained: Explanation) -> str:
    found = explained.decision.found
    lines = [f"{number:>2}  {each}" for number, each in enumerate(found, 1)]
    refused = f"{len(found) + 1:>2}  refused ({explained.code}): "
    allowed = "" if explained.not_checked else "allowed: "
    lines.append((allowed if explained.passes else refused) + explained.message)
    lines += [f"not checked: {what}" for what in explained.not_checked]
    return "".join(mask_unprintable(line) + "\n" for line in lines)
