"""Plan `daypass init`: which files it would create or change. Nothing is written here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.config import parse
from daypass.deploy.edits import Edit, read
from daypass.deploy.ekf import (
    PLACEHOLDERS,
    BuildError,
    Overlay,
    adopt_hosts,
    hand_over,
    resulting_hosts,
    verify_built,
)
from daypass.deploy.init.new_config import USUAL_PREFIX, NewConfig, config_text
from daypass.deploy.init.questions import Questions, checked, public_name
from daypass.render.cluster_facts import read_facts
from daypass.render.manifests import render_tree
from daypass.render.output_tree import drifts

CONFIG = "daypass.yaml"
_TREE = "deploy"
"""The folder of the kustomize tree, next to the config."""


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


def ekf_hosts(
    given: Mapping[str, str | None],
    overlays: Sequence[Overlay],
    questions: Questions,
    *,
    keep: bool,
) -> dict[str, str]:
    """Return the hosts by domain: those given, or else what the user answers for each overlay.

    `keep`: without a terminal, take the hosts of the overlays, except the guide's placeholders.
    Raises UsageError.
    """
    said = {
        domain: checked(f"--{domain}-host", host, public_name)
        for domain, host in given.items()
        if host is not None
    }
    set_up = {o.domain: o.patch.host for o in overlays if o.patch.host not in PLACEHOLDERS}
    if not said and questions.read is None and keep:
        said = {domain: checked(f"--{domain}-host", h, public_name) for domain, h in set_up.items()}
    elif not said and questions.read is not None:
        asked = {each.domain: _asked(each, set_up.get(each.domain), questions) for each in overlays}
        said = {domain: host for domain, host in asked.items() if host != _NOT_THIS}
    if not said:
        options = " or ".join(f"--{overlay.domain}-host" for overlay in overlays)
        raise UsageError("which host? that can't be found out", f"say it with {options}")
    resulting_hosts(overlays, said)
    return said


_NOT_THIS = "-"


def _asked(overlay: Overlay, host: str | None, questions: Questions) -> str:
    return questions.answer(
        f"--{overlay.domain}-host",
        f"the host of {overlay.folder} ({_NOT_THIS} leaves it alone)",
        lambda text: text if text == _NOT_THIS else public_name(text),
        default=host or _NOT_THIS,
    )


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
    before = read(path)
    if before is not None and not force:
        raise UsageError(
            f"{path} is there already",
            f"edit it, then `{command('render')}`, or replace it with --force",
        )
    text = config_text(setup)
    config = parse(text.encode(), name=str(path), folder=folder.absolute())
    tree = render_tree(config, read_facts(config))
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
        hosts={domain.name: domain.host for domain in setup.domains},
        handed_over=bool(overlays),
    )
