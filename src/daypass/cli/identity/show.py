"""`daypass identity show`: details of one identity."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass._core.findings import exit_code
from daypass._core.text import mask_unprintable
from daypass.cli import options
from daypass.cli.console import log
from daypass.cli.identity.list import (
    IdentityOutput,
    display_age,
    find_health,
    identity_output,
    is_problem,
)
from daypass.cli.output import write_result

if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass.identity.credential_secrets import CredentialSecret
    from daypass.identity.health import IdentityHealth

SUMMARY = "all about one identity: its grants, models, tokens and health"
EPILOG = """examples:
  daypass identity show bot -n team
"""

OUTPUT = IdentityOutput


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser)
    options.add_output(parser)
    options.add_check(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print it; return 3 if --check finds a problem."""
    with options.open_identity(args) as (cluster, name):
        from daypass.identity.accounts import identity_not_found

        _, examined = find_health(args, cluster, name.namespace, log)
        found = next((each for each in examined if each.record.name == name), None)
        if found is None:
            raise identity_not_found(name)
        write_result(args, identity_output(found), _text(found, cluster.clock))
        return exit_code(found.findings) if args.check else 0


def _text(found: IdentityHealth, clock: Clock) -> str:
    whole = identity_output(found)
    known = {
        "door": whole.door,
        "audience": whole.audience,
        "created": whole.created,
        "deadline": whole.deadline,
        "last used": whole.last_used,
    }
    if whole.federated:
        known["users"] = ", ".join(whole.users)
    facts = [f"{label:<10} {value or '-'}" for label, value in known.items()]
    width = max((len(role.display) for role in whole.grants), default=0)
    grants = [
        f"{role.display:<{width}}  by {'daypass' if role.daypass else 'others'}: {role.binding}"
        for role in whole.grants
    ]
    width = max(map(len, found.record.models), default=0)
    models = [
        f"{model:<{width}}  {', '.join(kinds)}" for model, kinds in found.record.models.items()
    ]
    models += [
        f"unknown: you may not see the role of {role.display}"
        for role in whole.grants
        if role.models is None
    ]
    health = [
        f"{'problem' if is_problem(each) else 'note':<8} {each.check}: {each.sentence}"
        for each in found.findings
    ]
    return (
        _section(str(found.record.name), facts, "")
        + _section("grants", grants, "none")
        + _section("models that it may call", models, "none")
        + _section(
            "tokens", [_token(secret, found, clock) for secret in found.record.secrets], "none"
        )
        + _section("health", health, "ok")
    )


def _token(secret: CredentialSecret, found: IdentityHealth, clock: Clock) -> str:
    from daypass._core.clock import age_seconds

    state = "live" if secret in found.live else "not live"
    if secret.retire_after:
        state = f"retired at {secret.retire_after}"
    used = f"last used {secret.last_used}" if secret.last_used else "never used"
    if secret.is_anchor:
        used = "last use unknown"
    return f"{secret.name}   {state}, {display_age(age_seconds(secret.created, clock))} old, {used}"


def _section(title: str, lines: list[str], nothing: str) -> str:
    if not lines:
        return f"{title}: {nothing}\n"
    # An annotation may hold what would steer a terminal.
    return f"{title}\n" + "".join(f"  {mask_unprintable(line)}\n" for line in lines)
