"""The host in a kustomize patch, JSON or YAML, changed in its place and nowhere else.

Only the characters of the value change: people's formatting, comments and line ends stay. The
result is read again, and has to be the old document with this one value replaced.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from daypass._core.errors import DaypassError

HOST = "/spec/rules/0/host"
"""JSON pointer of an Ingress' first host."""

LIMIT_CHARACTERS = 256 * 1024
LIMIT_NODES = 10_000
_PARENTS = ("", "/spec", "/spec/rules", "/spec/rules/0")
_SETTING = ("add", "replace")


class PatchError(DaypassError):
    """A patch that is not of the form that is known: nothing is changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPatch:
    """A patch with the place of its host. `start`, `end`: where the value is in `text`."""

    name: str
    text: str
    way: tuple[str | int, ...]
    start: int
    end: int

    @property
    def host(self) -> str:
        """The host that the patch sets."""
        value = yaml.safe_load(_plain(self.text))
        for step in self.way:
            value = value[step]
        return str(value)

    def mentions(self) -> list[str]:
        """Other places of the patch with the same host, such as of TLS, as JSON pointers."""
        found = _places(yaml.safe_load(_plain(self.text)), self.host)
        return ["/" + "/".join(str(step) for step in way) for way in found if way != self.way]

    def with_host(self, host: str) -> str:
        """The text with another host. Raises PatchError where that changes more than the host."""
        quote = self.text[self.start] if self.text[self.start] in "\"'" else ""
        text = f"{self.text[: self.start]}{quote}{host}{quote}{self.text[self.end :]}"
        expected = yaml.safe_load(_plain(self.text))
        parent = expected
        for step in self.way[:-1]:
            parent = parent[step]
        parent[self.way[-1]] = host
        try:
            result = yaml.safe_load(_plain(text))
        except yaml.YAMLError:
            result = None
        if result != expected:
            raise PatchError(
                f"{self.name}: the host stands in it in a way that cannot be edited alone",
                f"edit it yourself: the host is {host}",
            )
        return text


def read_patch(text: str, name: str) -> HostPatch:
    """The patch in a text; `name` is what messages call it.

    Known are a JSON patch (RFC 6902) with one `add` or `replace` of the first host, among whatever
    other operations, and an Ingress as a strategic merge patch. Raises PatchError for the rest.
    """
    try:
        root = compose(_plain(text))
        value = load(_plain(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" on line {where.line + 1}" if where is not None else ""
        raise PatchError(f"{name} is neither JSON nor YAML{line}", "restore it with git") from None
    if isinstance(value, list):
        way = _of_operations(value, name)
    elif isinstance(value, dict) and value.get("kind") == "Ingress":
        way = ("spec", "rules", 0, "host")
    else:
        raise PatchError(f"{name} is neither a JSON patch nor a patch of an Ingress", _USUAL)
    node = _node(root, way)
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise PatchError(f"{name} sets no host as a text at {HOST}", _USUAL)
    start, end = node.start_mark.index, node.end_mark.index
    return HostPatch(name=name, text=text, way=way, start=start, end=end)


def compose(text: str) -> Any:
    """The nodes of a YAML document, by the pure loader, which counts characters, not bytes.

    Raises YAMLError, RecursionError, and ValueError for more text or nodes than people write, those
    of aliases counted each time: what goes over all of them would not come back.
    """
    if len(text) > LIMIT_CHARACTERS:
        raise ValueError("too long")
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = LIMIT_NODES + 1  # for one that holds itself
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            if isinstance(node, yaml.MappingNode):
                parts = [each for pair in parts for each in pair]
            sizes[id(node)] = 1 + sum(size(each) for each in parts)
        return sizes[id(node)]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > LIMIT_NODES:
        raise ValueError("too many nodes")
    return root


def load(text: str) -> Any:
    """The value of a YAML document. Raises YAMLError, RecursionError, ValueError."""
    try:
        return yaml.safe_load(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError):  # such as of `!!int ""`
        raise ValueError("a value does not fit its tag") from None


_USUAL = f'the usual one: [{{"op": "replace", "path": "{HOST}", "value": "ekf.example.com"}}]'


def _plain(text: str) -> str:
    """JSON may be indented by tabs, YAML may not: as long, with spaces."""
    return text.replace("\t", " ")


def _of_operations(operations: list[Any], name: str) -> tuple[str | int, ...]:
    setting = []
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError(f"{name}: operation {index + 1} is none of a JSON patch", _USUAL)
        verb, path = operation.get("op"), operation["path"]
        if path in _PARENTS or (path == HOST and verb not in (*_SETTING, "test")):
            raise PatchError(
                f"{name}: operation {index + 1} is `{verb}` at {path or 'the root'}",
                "what the host becomes is not its own there: edit it yourself",
            )
        if path == HOST and verb in _SETTING:
            setting.append(index)
    if len(setting) != 1:
        count = "no operation sets" if not setting else f"{len(setting)} operations set"
        raise PatchError(f"{name}: {count} {HOST}", _USUAL)
    return setting[0], "value"


def _node(root: Any, way: tuple[str | int, ...]) -> Any:
    node = root
    for step in way:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step] if step < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            # The last of a key that stands twice, as the loader takes it.
            node = next((v for k, v in reversed(node.value) if k.value == step), None)
        else:
            return None
    return node


def _places(value: Any, host: str, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [p for key, each in value.items() for p in _places(each, host, (*way, key))]
    if isinstance(value, list):
        return [p for i, each in enumerate(value) for p in _places(each, host, (*way, i))]
    return [way] if value == host else []
