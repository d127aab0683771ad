"""`daypass policy check`: whether the cluster would issue a token, without issuing one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass._core import labels
from daypass._core.duration import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.findings import exit_code
from daypass._core.text import printable
from daypass.cli import log, options
from daypass.cli.output import write_result

if TYPE_CHECKING:
    from daypass.cli.output_data import PolicyChecked
    from daypass.config import Policy
    from daypass.identity.enforcement import PolicyCheck
    from daypass.kube.cluster import Cluster
    from daypass.render.policy import TokenRequestAttributes

SUMMARY = "show what the cluster would answer to a TokenRequest"
EPILOG = """examples:
  daypass policy check -n team --service-account bot
  daypass policy check -n team --service-account bot --audience gate \\
    --lifetime 48h
  daypass policy check -n team --service-account bot --unbound -o json

It needs the right to impersonate who requests. Exit code 3: the request is not allowed, or the
policy is not in force as written.
"""


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)
    parser.add_argument(
        "--service-account", required=True, metavar="SA", help="the token's ServiceAccount"
    )
    parser.add_argument(
        "--audience",
        action="append",
        metavar="A",
        help="may be repeated (default: the config's first)",
    )
    parser.add_argument(
        "--lifetime", type=parse_seconds, default=3600, metavar="T", help="such as 1h (the default)"
    )
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument(
        "--secret", metavar="NAME", help="bound to this Secret (default: a right name)"
    )
    bound.add_argument("--unbound", action="store_true", help="bound to nothing")
    parser.add_argument(
        "--as",
        dest="user",
        metavar="USER",
        help="who requests it (default: the ServiceAccount)",
    )
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Check; return 0 if the request is allowed and the policy is as written, else 3."""
    policy = _policy(args)
    with options.open_cluster(args) as cluster:
        from daypass.identity.enforcement import check

        checked = check(cluster, policy, cluster.namespace, _request(args, policy, cluster))
    write_result(args, _document(checked), _text(checked), indent=None)
    findings = list(checked.state.findings())
    if mending := dict.fromkeys(each.hint for each in findings):
        log("to put the policy in force as written:", "\n".join(mending))
    return exit_code(findings) if checked.answer.verdict == "allowed" else 3


def _request(args: Namespace, policy: Policy | None, cluster: Cluster) -> TokenRequestAttributes:
    from daypass.identity.model import IdentityName
    from daypass.render import policy as rules

    account, secret = args.service_account, args.secret
    own = IdentityName(namespace=cluster.namespace, name=account).user
    user = own if args.user is None else args.user
    if secret is None and not args.unbound:
        IdentityName.parse(cluster.namespace, account)  # the Secret's name is longer
        secret = rules.secret_prefix(user, account) + "0" * labels.SECRET_SUFFIX_LENGTH
    audiences = args.audience or (policy.audiences[:1] if policy else ())
    if not audiences:
        raise UsageError("no audience is named", "add --audience")
    return rules.TokenRequestAttributes(
        requester=rules.Requester(user=user),
        service_account=account,
        audiences=tuple(audiences),
        lifetime_seconds=args.lifetime,
        bound=None if secret is None else rules.BoundObject(name=secret),
    )


def _policy(args: Namespace) -> Policy | None:
    if args.config == options.DEFAULT_CONFIG and not args.config.exists():
        return None  # a user who looks for the reason of a refusal may not have it
    return options.load_config(args.config).policy


def _document(checked: PolicyCheck) -> PolicyChecked:
    state, request = checked.state, checked.request
    return {
        "namespace": state.namespace,
        "serviceAccount": request.service_account,
        "user": request.requester.user,
        "audiences": list(request.audiences),
        "lifetimeSeconds": request.lifetime_seconds,
        "secret": request.bound.name if request.bound else None,
        "verdict": checked.answer.verdict,
        "message": checked.answer.message,
        "brokenRules": None if checked.broken is None else list(checked.broken),
        "installed": state.is_installed,
        "mode": state.mode,
        "labelled": state.is_labelled,
        "overrides": dict(state.overrides),
        "drift": None if state.drift is None else list(state.drift),
        "findings": [each.fact for each in state.findings()],
    }


def _text(checked: PolicyCheck) -> str:
    state, request, answer = checked.state, checked.request, checked.answer
    bound = request.bound.name if request.bound else "nothing"
    compared = "" if state.drift is not None else "; no config to compare it with"
    overrides = ", ".join(f"{key}={value}" for key, value in sorted(state.overrides.items()))
    broken = ", ".join(checked.broken or ())
    lines = {
        "policy": f"mode {state.mode}{compared}" if state.is_in_force else "none in force",
        "namespace": state.namespace + (f"; {overrides}" if overrides else ""),
        "request": f"{request.service_account} for {' '.join(request.audiences)},"
        f" {request.lifetime_seconds} s, bound to {bound}, by {request.requester.user}",
        "answer": answer.verdict + (f": {answer.message}" if answer.message else ""),
        "breaks": broken if answer.verdict != "denied" else "",
    }
    shown = [*lines.items(), *(("finding", each.fact) for each in state.findings())]
    return "".join(f"{name:<11}{printable(words, 4096)}\n" for name, words in shown if words)
