"""Plan `daypass init`: the text of a new config, and the files to create or change.

Nothing is written here. The text has comments, and only what differs from the defaults.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.config import parse
from daypass.config.schema import EDITOR_LINE
from daypass.deploy.ekf import BuildError, Overlay, adopt_hosts, hand_over, verify_built
from daypass.deploy.git import Edit, read_text
from daypass.deploy.output_tree import drifts
from daypass.render.cluster_facts import read_facts
from daypass.render.manifests import render_parts, render_tree

USUAL_PREFIX = "/kubernetes"
CONFIG = "daypass.yaml"
_TREE = "deploy"
"""The folder of the kustomize tree, next to the config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConfig:
    """What a new config contains. `domains`: by name, with their keys in the config.

    `addresses`: of the API servers, for a comment. `other_names`: whether names other than the
    domains' hosts bypass a gate.
    """

    domains: Mapping[str, Mapping[str, Any]]
    prefix: str = USUAL_PREFIX
    issuer: str | None = None
    addresses: Sequence[str] = field(default=())
    audience: str | None = None
    other_names: bool = False


def config_text(setup: NewConfig) -> str:
    """Return the text of a daypass.yaml; the same for the same setup."""
    blocks = [
        f"{EDITOR_LINE}\n"
        f"# Editors check this file after: {command('config', 'schema')} > daypass.schema.json\n"
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
    for name, keys in setup.domains.items():
        lines.append(f"  {_flow(name)}:\n")
        lines += [f"    {key}: {_flow(value)}\n" for key, value in keys.items()]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class InitPlan:
    """What to do in `folder`. `overlays`: the EKF overlays that change. `hosts`: by domain."""

    folder: Path
    edits: Sequence[Edit]
    prefix: str
    overlays: Sequence[Overlay] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    handed_over: bool = False

    @property
    def places(self) -> list[str]:
        """What changes, relative to the folder, for `git add`."""
        if not self.handed_over and self.overlays:
            return [str(edit.path.relative_to(self.folder)) for edit in self.edits]
        return [CONFIG, _TREE, *(overlay.folder for overlay in self.overlays)]

    @property
    def message(self) -> str:
        """The commit message, that of the guide."""
        return f"Expose Kubernetes TokenRequest API under {self.prefix}"

    def verify(self) -> list[BuildError]:
        """Build the overlays and check their Ingresses; return what could not be built.

        Raises LayoutError if an Ingress is not as expected.
        """
        notes = []
        for overlay in self.overlays:
            host = self.hosts[overlay.domain]
            try:
                verify_built(self.folder, overlay.folder, host, handed_over=self.handed_over)
            except BuildError as error:
                notes.append(error)
        return notes


def plan_hosts(folder: Path, overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> InitPlan:
    """Return a plan of the guide's edit alone."""
    return InitPlan(
        folder=folder,
        edits=adopt_hosts(overlays, hosts),
        prefix=USUAL_PREFIX,
        overlays=[overlay for overlay in overlays if overlay.domain in hosts],
        hosts=hosts,
    )


def plan_config(
    folder: Path, setup: NewConfig, *, force: bool, overlays: Sequence[Overlay] = ()
) -> InitPlan:
    """Return a plan of a config and its tree; with overlays, their hosts go over to the door.

    Raises UsageError if a config exists and `force` is not set; OccupiedError, LayoutError;
    ConfigError, RenderError if the answers do not fit together.
    """
    path = folder / CONFIG
    before = read_text(path)
    if before is not None and not force:
        raise UsageError(
            f"{path} is there already",
            f"edit it, then `{command('render')}`, or replace it with --force",
        )
    text = config_text(setup)
    config = parse(text.encode(), name=str(path), folder=folder.absolute())
    tree = render_tree(render_parts(config, read_facts(config)))
    edits = [Edit(path=path, before=before, after=text)] if before != text else []
    edits += [
        Edit(path=folder / _TREE / drift.path, before=drift.found, after=drift.rendered)
        for drift in drifts(folder / _TREE, tree)
    ]
    return InitPlan(
        folder=folder,
        edits=[*edits, *(e for overlay in overlays for e in hand_over(overlay))],
        prefix=setup.prefix,
        overlays=overlays,
        hosts={name: keys["host"] for name, keys in setup.domains.items()},
        handed_over=bool(overlays),
    )
