"""From `daypass.yaml` to a Config, or to one error with everything that is wrong with it."""

import os
import stat
from pathlib import Path

from pydantic import ValidationError

from daypass.config.errors import Problems, shown
from daypass.config.explain import dotted, explain
from daypass.config.models import VERSION, Config, repeated_hosts
from daypass.config.yaml_loader import LIMIT_BYTES, Document, described, read_document


def load(path: str | os.PathLike[str]) -> Config:
    """Return the config in a file. Files that it names are relative to the folder of that file.

    Raises ConfigError, also if there is no such file or it cannot be read.
    """
    name = os.fspath(path)
    content = _read(name, Problems(name))
    return parse(content, name=name, folder=Path(os.path.abspath(name)).parent)


def parse(text: bytes, *, name: str, folder: Path) -> Config:
    """Return the config in some bytes, without any I/O. Raises ConfigError.

    `name` is what messages call the file; `folder` is what the paths in it are relative to.
    """
    problems = Problems(name)
    document = read_document(text, problems)
    _check_version(document, problems)
    config: Config | None = None
    try:
        config = Config.model_validate(
            document.data, context={"folder": folder}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        explain(error.errors(include_url=False, include_input=False), document, problems)
    _check_hosts(document, problems)
    problems.raise_any()
    if config is None:
        problems.stop((1, 1), "the config is not valid")
    return config


def _check_version(document: Document, problems: Problems) -> None:
    """Another version's file would be full of unknown keys: only its version is reported."""
    value = document.data.get("version")
    if isinstance(value, int | float) and (type(value) is not int or value != VERSION):
        hint = "is there a newer daypass?" if value > VERSION else f"write version: {VERSION}"
        what = described(value).removeprefix("the number ")
        place, _ = document.find(("version",))
        problems.stop(place.mark, f"version {what} is not known, only {VERSION} is", hint)


def _check_hosts(document: Document, problems: Problems) -> None:
    """Report a host of two domains with both lines, even if there are other mistakes."""
    domains = document.data.get("domains")
    hosts = {
        name: domain["host"]
        for name, domain in (domains.items() if isinstance(domains, dict) else ())
        if isinstance(domain, dict) and isinstance(domain.get("host"), str)
    }
    for later, earlier in repeated_hosts(hosts):
        location = ("domains", later, "host")
        second, _ = document.find(location)
        first, _ = document.find(("domains", earlier, "host"))
        problems.add(
            second.mark,
            f"{dotted(location)}: {shown(hosts[later])} is already the host of {shown(earlier)}"
            f" on line {first.mark[0]}",
            "a host belongs to one domain",
        )


def _read(name: str, problems: Problems) -> bytes:
    """Return at most one byte more than a config may have, of an ordinary file."""
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
    return getattr(error, "strerror", None) or "its name is not valid"
