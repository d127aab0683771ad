"""From `daypass.yaml` to a Config, or to one error with everything that is wrong with it."""

import os
import stat
from pathlib import Path

from pydantic import ValidationError

from daypass.config.errors import Problems, shown
from daypass.config.explain import dotted, explain
from daypass.config.models import VERSION, Config, repeated_hosts
from daypass.config.yaml_loader import (
    LIMIT_BYTES,
    MapNode,
    ScalarNode,
    compose,
    data,
    decoded,
    described,
    locate,
)


def load(path: str | os.PathLike[str]) -> Config:
    """The config in a file. Files that it names are relative to the folder of that file.

    Raises ConfigError, also where there is no such file or it cannot be read.
    """
    name = os.fspath(path)
    content = _read(name, Problems(name))
    return parse(content, name=name, folder=Path(os.path.abspath(name)).parent)


def parse(text: bytes, *, name: str, folder: Path) -> Config:
    """The config in some bytes, without any I/O. Raises ConfigError.

    `name` is what messages call the file; `folder` is what the paths in it are relative to.
    """
    problems = Problems(name)
    root = compose(decoded(text, problems), problems)
    _check_version(root, problems)
    config: Config | None = None
    try:
        config = Config.model_validate(
            data(root), context={"folder": folder}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        explain(error.errors(include_url=False, include_input=False), root, problems)
    _check_hosts(root, problems)
    problems.raise_any()
    if config is None:
        problems.stop((0, 0), "the config is not valid")
    return config


def _check_version(root: MapNode, problems: Problems) -> None:
    """Another version's file would be full of unknown keys: only its version is reported."""
    place = locate(root, ("version",))
    value = place.node.value if place.complete and isinstance(place.node, ScalarNode) else None
    if isinstance(value, int | float) and (type(value) is not int or value != VERSION):
        hint = "is there a newer daypass?" if value > VERSION else f"write version: {VERSION}"
        what = described(value).removeprefix("the number ")
        problems.stop(place.node.mark, f"version {what} is not known, only {VERSION} is", hint)


def _check_hosts(root: MapNode, problems: Problems) -> None:
    """Done on the document, so that both places are known and other mistakes don't hide it."""
    domains = locate(root, ("domains",)).node
    names = domains.entries if isinstance(domains, MapNode) else {}
    places = {name: locate(root, ("domains", name, "host")) for name in names}
    hosts = {
        name: place.node
        for name, place in places.items()
        if place.complete
        and isinstance(place.node, ScalarNode)
        and isinstance(place.node.value, str)
    }
    for later, earlier in repeated_hosts({name: str(node.value) for name, node in hosts.items()}):
        node = hosts[later]
        problems.add(
            node.mark,
            f"{dotted(('domains', later, 'host'))}: {shown(str(node.value))} is already the host of"
            f" {shown(earlier)} on line {hosts[earlier].mark[0]}",
            "a host belongs to one domain",
        )


def _read(name: str, problems: Problems) -> bytes:
    """At most one byte more than a config may have. Ordinary files only: a pipe could hang."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        problems.stop(
            (0, 0),
            "no such file",
            "the smallest one: {version: 1, domains: {here: {host: localhost, front: envoy}}}",
        )
    except (OSError, ValueError) as error:
        problems.stop((0, 0), f"cannot be read: {_reason(error)}")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            problems.stop((0, 0), "is not an ordinary file", "name the config file itself")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(LIMIT_BYTES + 1)
    except OSError as error:
        problems.stop((0, 0), f"cannot be read: {_reason(error)}")
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "its name makes no sense"
