"""A new daypass.yaml: its text, with comments, and only what differs from the defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from daypass._core.hints import command

USUAL_PREFIX = "/kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDomain:
    """A domain of the config. `tls`: `{"secret": ...}`, `{"issuer": ...}` or `outside`."""

    name: str
    host: str
    front: str
    tls: Mapping[str, str] | str
    class_name: str | None = None
    gateway: str | None = None
    front_namespace: str | None = None
    external_dns: bool = False

    def keys(self) -> dict[str, Any]:
        """Return the keys of the domain in the config."""
        keys = {
            "host": self.host,
            "front": self.front,
            "className": self.class_name,
            "gateway": self.gateway,
            "frontNamespace": self.front_namespace,
            "tls": self.tls if isinstance(self.tls, str) else dict(self.tls),
            "dns": "external-dns" if self.external_dns else None,
        }
        return {key: value for key, value in keys.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConfig:
    """What a new config contains; `addresses` in a comment.

    `other_names`: whether names other than the domains' hosts bypass a gate.
    """

    domains: Sequence[NewDomain]
    prefix: str = USUAL_PREFIX
    issuer: str | None = None
    addresses: Sequence[str] = field(default=())
    audience: str | None = None
    other_names: bool = False


def config_text(setup: NewConfig) -> str:
    """Return the text of a daypass.yaml; the same for the same setup."""
    blocks = [
        f"# Where the door is published, and for whom. `{command('render', '--help')}` says what"
        " becomes of it.\nversion: 1\n",
        *_cluster(setup),
    ]
    if setup.prefix != USUAL_PREFIX:
        blocks.append(f"prefix: {setup.prefix}\n")
    blocks.append(_domains(setup))
    blocks += [_policy(setup.audience), _gate(setup.audience, other_names=setup.other_names)]
    return "\n".join(blocks)


def _cluster(setup: NewConfig) -> list[str]:
    lines = []
    if setup.issuer is not None:
        lines.append(f"  issuer: {_flow(setup.issuer)}    # `iss` of short-lived tokens\n")
    if setup.addresses:
        lines.append(
            "  # If the addresses of your API servers never change, let the door reach no others:\n"
            f"  # addresses: {_flow(list(setup.addresses))}\n"
        )
    if not lines:
        return []
    return ["".join([f"{'' if setup.issuer else '# '}cluster:\n", *lines])]


def _domains(setup: NewConfig) -> str:
    lines = ["domains:\n"]
    for domain in setup.domains:
        lines.append(f"  {_flow(domain.name)}:\n")
        lines += [f"    {key}: {_flow(value)}\n" for key, value in domain.keys().items()]
    return "".join(lines)


def _policy(audience: str | None) -> str:
    what = "# What short-lived tokens the API server may issue in the namespaces of identities.\n"
    if audience is not None:
        return f"{what}policy:\n  audiences: {_flow([audience])}\n"
    return f"{what}# policy:\n#   audiences: [YOUR-AUDIENCE]\n"


def _gate(audience: str | None, *, other_names: bool) -> str:
    hosts = "#   hosts: ['*']    # other names lead to the same services: guard them too\n"
    return (
        "# The check in front of the APIs that the tokens are for: it would refuse every other"
        " token there.\n"
        f"# gate:\n#   audience: {_flow(audience) if audience else 'YOUR-AUDIENCE'}\n"
        f"{hosts if other_names else ''}"
    )


def _flow(value: Any) -> str:
    """Return a value on one line, quoted if YAML would read it as something else."""
    text: str = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=4096)
    return text.strip()[1:-1]
