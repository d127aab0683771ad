"""The text of a new daypass.yaml: what the options say, with comments on what to add."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from daypass._core.errors import UsageError
from daypass._core.hints import command, docs_page
from daypass.config import ConfigError, parse
from daypass.config.domain import OUTSIDE
from daypass.config.schema import EDITOR_LINE

CONFIG = "daypass.yaml"
_HEAD = f"""\
{EDITOR_LINE}
# Editors check this file after: {command("config", "schema")} > daypass.schema.json
# Every key: {docs_page("reference/daypass-yaml.md")}
version: 1

# Where the door is published.
"""
_POLICY = "\n# What short-lived tokens the API server may issue in the namespaces of identities.\n"
_GATE = """
# The check in front of the APIs that the tokens are for: it refuses every other token there.
# gates:
#   default:
#     audience: {audience}
"""


def config_text(
    hosts: Mapping[str, str],
    *,
    front: str,
    tls: str | None,
    gateway: str | None,
    audience: str | None,
) -> str:
    """Return the text of a config; `hosts` by the names of their domains.

    Raises UsageError if the options make no valid config.
    """
    if tls is None and gateway is None:
        raise UsageError(
            "where does the certificate come from?",
            "--tls secret:NAME, --tls issuer:NAME (cert-manager), or --tls outside if the ingress"
            " or gateway has it",
        )
    source, _, name = (tls or OUTSIDE).partition(":")
    keys: dict[str, Any] = {"front": front, "tls": {source: name} if name else source}
    if gateway is not None:
        keys["gateway"] = gateway
    domains = {domain: {"host": host, **keys} for domain, host in hosts.items()}
    text = _HEAD + _block({"domains": domains}) + _POLICY
    if audience is None:
        text += "# policy:\n#   audiences: [YOUR-AUDIENCE]\n"
    else:
        text += _block({"policy": {"audiences": [audience]}})
    text += _GATE.format(audience=audience or "YOUR-AUDIENCE")
    try:
        parse(text.encode(), name=CONFIG, folder=Path.cwd())
    except ConfigError as error:
        problem = error.problems[0]
        raise UsageError(problem.message, problem.hint) from None
    return text


def _block(section: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(section, sort_keys=False))
