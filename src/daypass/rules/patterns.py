r"""Which hosts and paths lead to a model, and which models a host or a path may mean.

Who publishes a model where, DOMAIN being that of the gateway, and in which deployment mode:

- `{name}.{namespace}.DOMAIN`, Knative: Knative for the components of a model, by its default
  template (networking `pkg/config/config.go`, DefaultDomainTemplate; serving
  `pkg/reconciler/route/domains/domains.go`, DomainNameFromTemplate), and KServe for the model
  itself (`ingress_reconciler.go`, getServiceHost);
- `{name}-{namespace}.DOMAIN`, Standard (RawDeployment): KServe, by its default `domainTemplate`
  (`domain.go`, GenerateDomainName), for the model and its components. Knative: the same two as
  above, where an administrator has set Knative's `domain-template` so;
- `{name}.{namespace}.svc.cluster.local`, `.svc` and neither, Knative: KServe
  (`ingress_reconciler.go`, createIngress) and Knative (networking `pkg/ingress/ingress.go`,
  ExpandedHosts);
- `/serving/{namespace}/{name}/`, both: KServe, by its `pathTemplate` (`path.go`, GenerateUrlPath),
  on its `ingressDomain` alone. In Standard mode it takes a path's beginning for a whole path
  (`httproute_reconciler.go`, createRawTopLevelHTTPRoute);
- `/{namespace}/{name}/`, LLMInferenceService: KServe, on every host of the gateway
  (`config/llmisvcconfig/config-llm-router-route.yaml`).

KServe's files are in `pkg/controller/v1beta1/inferenceservice/reconcilers/ingress/`.

An LLMInferenceService has a second path, `/publishers/{namespace}/models/MODEL/`, and a header,
`X-Gateway-Model-Name`. Both name `spec.model.name`, which is not the name of an object, and which
several may have. So neither is a reading of a model: the gate refuses both, on each of its hosts.

A pattern's regular expressions mean the same to Python and to RE2, Envoy's; the functions use them.
They ignore lengths, which RE2 could count only in a long program: a longer name has no reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from daypass._core.k8s_names import SUBDOMAIN_LENGTH, is_label
from daypass._core.net import is_address

EVERY_HOST = "*"
"""The pattern of every host that a client asks for, whatever its form."""

LONGEST_PATTERN = SUBDOMAIN_LENGTH
"""Characters of a pattern; of a host because DNS allows no more (RFC 1035)."""

NAME, NAMESPACE, ANY, BOTH = "{name}", "{namespace}", "*", "{name}-{namespace}"
_VARIABLES = {NAME: {NAME}, NAMESPACE: {NAMESPACE}, ANY: set(), BOTH: {NAME, NAMESPACE}}
"""What a label of a host can be instead of literal, and what is read from it."""

_LOCAL, _LOCAL_LABELS = ".svc.cluster.local", 3
_MAYBE_LOCAL = r"(\.svc(\.cluster\.local)?)?"
"""The end of a cluster-local host, which clients may leave out or shorten."""

_PUBLISHERS = "publishers"
"""The first segment that KServe reserves for `spec.model.name`."""

_LABEL = "[a-z0-9]+(-+[a-z0-9]+)*"
_TWO_LABELS = "[a-z0-9]+(--+[a-z0-9]+)*-[a-z0-9]+(-+[a-z0-9]+)*"
"""A name, a dash and a namespace. Python's `re` has one way through both: it takes linear time."""
_PORT = "(:[0-9]{1,5})?"
"""As KServe's own routes have it (`pkg/constants/constants.go`, portMatch)."""
_ESCAPED = "%(2[0-46-9A-Ca-c]|3[AC-Fac-f]|40|5[BDEbde]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f])"
_CHARACTER = f"([!$&'()*+,0-9:=@A-Z_a-z~-]|{_ESCAPED})"
_SEGMENT = rf"\.*{_CHARACTER}({_CHARACTER}|\.)*"

PLAIN_PATH_REGEX = rf"(?s)((/{_SEGMENT})+/?|/)(\?[^#]*)?"
"""The paths of `is_plain_path`, for RE2."""

_COMPONENT = re.compile(
    r"(?P<stem>.+)-(?P<component>predictor|transformer|explainer)(-default|-canary)?(-[0-9]{5,})?"
)


class PatternError(ValueError):
    """A pattern is wrong: `fact` says what, `hint` what to write instead."""

    def __init__(self, fact: str, hint: str) -> None:
        super().__init__(fact)
        self.fact = fact
        self.hint = hint


class Model(NamedTuple):
    """A model: an object that has a route of its own.

    `resource`: plural and group, such as `inferenceservices.serving.kserve.io`.
    """

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class HostPattern:
    """The hosts of one form. Of two patterns with the same text, both are equal.

    `exact_regex`: the hosts that match. `near_regex`: a superset, what a gateway that has other
    hosts too has to guard: every host with the pattern's literal end and at least as many labels,
    in any case, with anything in place of a port, with the dot of a fully qualified name. What is
    near but does not match has no reading, and a wildcard route could lead past the gate.
    """

    text: str
    labels: tuple[str, ...] = field(compare=False, repr=False)
    exact_regex: str = field(compare=False, repr=False)
    near_regex: str = field(compare=False, repr=False)
    _exact: re.Pattern[str] = field(compare=False, repr=False)
    _near: re.Pattern[str] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Return the pattern that a text describes. Raises PatternError."""
        if text == EVERY_HOST:
            return cls._of(text, (), "(?s).*", "(?s).*")
        if ":" in text and is_address(text):
            escaped = re.escape(f"[{text}]")
            return cls._of(text, (text,), f"{escaped}{_PORT}", _near_host(escaped))
        labels = tuple(text.split("."))
        _check_host(text, labels)
        if text.endswith(_LOCAL):
            own = labels[:-_LOCAL_LABELS]
            return cls._of(
                text, labels, f"{_exact_host(own)}{_MAYBE_LOCAL}{_PORT}", _near_local(own)
            )
        return cls._of(
            text, labels, f"{_exact_host(labels)}{_PORT}", _near_host(_ends_with(labels))
        )

    @classmethod
    def _of(cls, text: str, labels: tuple[str, ...], exact: str, near: str) -> HostPattern:
        return cls(text, labels, exact, near, re.compile(exact), re.compile(near, re.ASCII))

    @property
    def is_literal(self) -> bool:
        """Whether it is the name of one host (with its short forms)."""
        return self.text != EVERY_HOST and not any(label in _VARIABLES for label in self.labels)

    @property
    def is_local(self) -> bool:
        """Whether hosts of this form have short forms."""
        return self.text.endswith(_LOCAL)

    @property
    def names_a_model(self) -> bool:
        """Whether a host of this form names a model and its namespace."""
        return _variables(self.labels) == {NAME, NAMESPACE}

    def matches(self, host: str) -> bool:
        """Return whether a Host header has this form: in lower case, without a dot at the end, with
        or without a decimal port.
        """
        return self._exact.fullmatch(host) is not None

    def is_spelled_by(self, host: str) -> bool:
        """Return whether a Host header is a spelling of a host that matches, perhaps another one:
        in any case, with dots at the end, with anything in place of a port.
        """
        return self.matches(host.lower().partition(":")[0].rstrip("."))

    def example(self, label: str) -> str:
        """Return a host of this form, with `label` for each variable."""
        return re.sub(r"{name}|{namespace}|\*", label, self.text)

    def is_near(self, host: str) -> bool:
        """Return whether a Host header matches, or could lead to the same routes."""
        return self._near.fullmatch(host) is not None

    def names(self, host: str) -> frozenset[tuple[str, str]]:
        """Return every namespace and name that a host may mean; none if it does not match.

        `a-b-c` under `{name}-{namespace}` is `a-b` in `c`, and `a` in `b-c`. The name may be that
        of a component: see `candidates`.
        """
        if not self.names_a_model or not self.matches(host):
            return frozenset()
        read = dict(zip(self.labels, host.partition(":")[0].split("."), strict=False))
        pairs = _splits(read[BOTH]) if BOTH in read else [(read[NAMESPACE], read[NAME])]
        return frozenset(pair for pair in pairs if all(map(is_label, pair)))


@dataclass(frozen=True, slots=True)
class PathPattern:
    """The paths below one of a form. Of two patterns with the same text, both are equal.

    A path has whole segments of it; the last slash may be missing at the end of the path. The query
    is ignored. `prefix`: its literal beginning, to the slash before its first variable.
    `exact_regex`: the paths that match. `near_regex`: those that begin with `prefix`, in any case.
    What is near but does not match has no reading.
    """

    text: str
    prefix: str = field(compare=False, repr=False)
    segments: tuple[str, ...] = field(compare=False, repr=False)
    exact_regex: str = field(compare=False, repr=False)
    near_regex: str = field(compare=False, repr=False)
    _exact: re.Pattern[str] = field(compare=False, repr=False)
    _near: re.Pattern[str] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Return the pattern that a text describes. Raises PatternError."""
        _check_path(text)
        segments = tuple(filter(None, text.split("/")))
        literal = segments[: next(_places(segments), len(segments))]
        exact = f"(?s){_below(''.join(f'/{_part_regex(segment)}' for segment in segments))}"
        near = f"(?is){_below(''.join(f'/{re.escape(segment)}' for segment in literal))}"
        prefix = "/".join(["", *literal, ""])
        compiled = re.compile(exact), re.compile(near, re.ASCII)
        return cls(text, prefix, segments, exact, near, *compiled)

    @property
    def names_a_model(self) -> bool:
        """Whether a path of this form names a model and its namespace."""
        return _variables(self.segments) == {NAME, NAMESPACE}

    def matches(self, path: str) -> bool:
        """Return whether a path, with or without a query, is one of this form or below it."""
        return self._exact.fullmatch(path) is not None

    def is_near(self, path: str) -> bool:
        """Return whether a path matches, or begins with `prefix` in any case."""
        return self._near.fullmatch(path) is not None

    def names(self, path: str) -> frozenset[tuple[str, str]]:
        """Return the namespace and the name that a path means; nothing if it does not match."""
        if not self.names_a_model or not self.matches(path):
            return frozenset()
        read = dict(zip(self.segments, path.partition("?")[0].split("/")[1:], strict=False))
        pair = read[NAMESPACE], read[NAME]
        return frozenset({pair} if all(map(is_label, pair)) else ())


@dataclass(frozen=True, slots=True)
class Place:
    """The paths of one form on the hosts of one form; without `path`, all paths."""

    host: HostPattern
    path: PathPattern | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that HOST or HOST/PATH/ describes. Raises PatternError."""
        host, slash, path = text.partition("/")
        form = PathPattern.parse(f"/{path}") if slash else None
        return cls(HostPattern.parse(host), form)

    def has(self, host: str, path: str) -> bool:
        """Return whether a request is for this place."""
        return self.host.matches(host) and (self.path is None or self.path.matches(path))


def without_port(host: str) -> str:
    """Return a Host header in lower case, without what is in place of a port: what follows the last
    colon (Envoy, `source/common/http/header_utility.cc`, getPortStart).
    """
    name, colon, port = host.lower().rpartition(":")
    return name if colon and "]" not in port else host.lower()


def overlap(a: HostPattern, b: HostPattern) -> bool:
    """Return whether some host matches both patterns."""
    if EVERY_HOST in (a.text, b.text):
        return True
    return any(
        len(ours) == len(theirs) and all(map(_share_a_label, ours, theirs))
        for ours in _forms(a)
        for theirs in _forms(b)
    )


def is_plain_path(path: str) -> bool:
    """Return whether every proxy and server reads a path (with or without a query) alike.

    It has only characters that RFC 3986 allows in a path, but no `;`, no empty segments and none
    of only dots, and no fragment. Percent-encoded are only characters that mean nothing special:
    none that need no encoding, no `/`, `\\`, `%`, `;` and no control characters.
    """
    return re.fullmatch(PLAIN_PATH_REGEX, path) is not None


def candidates(name: str) -> frozenset[str]:
    """Return the names of the models that a host's name may belong to: itself, or a component's.

    A component is `NAME-predictor`, also `-transformer` and `-explainer`, with `-default` or
    `-canary` at the end (KServe, `pkg/constants/constants.go`, PredictorServiceName and others).
    A named predictor is `NAME-PART-predictor`. Knative puts a tag before it, `TAG-NAME-predictor`
    (networking `pkg/config/config.go`, DefaultTagTemplate), and the number of a revision after it
    (serving `pkg/reconciler/configuration/resources/revision.go`, MakeRevision). So every run of
    the parts between the dashes counts.

    KServe's host of a model is that of its predictor or transformer without the first
    `-predictor` or `-transformer` (`ingress_reconciler.go`, getServiceHost), or the first one with
    `-default`. For a model `a-predictor-b` this is `a-b-predictor`: so each name counts from which
    it could have taken one.

    A predictor with a name of its own gives its model the host of a model `NAME-PART`, on Knative.
    That is not read: two models `iris` and `iris-v2` would each need access to both.
    """
    component = _COMPONENT.fullmatch(name)
    if not is_label(name) or component is None:
        return frozenset({name})
    stem = component["stem"]
    parts = stem.split("-")
    runs = ("-".join(parts[i:j]) for i, j in combinations(range(len(parts) + 1), 2))
    removed = (
        f"{stem[:at]}-{component['component']}{end}{stem[at:]}"
        for at in range(1, len(stem) + 1)
        for end in ("", "-default")
    )
    return frozenset({name, *filter(is_label, runs), *filter(is_label, removed)})


def _variables(parts: Iterable[str]) -> set[str]:
    return {variable for part in parts for variable in _VARIABLES.get(part, ())}


def _splits(label: str) -> Iterator[tuple[str, str]]:
    # KServe takes the first `-predictor-default` out of a predictor's host. In a namespace
    # `default` or `default-...` that is not the component's (`ingress_reconciler.go`,
    # getServiceHost).
    yield "default", label
    for dash in re.finditer("-", label):
        name, namespace = label[: dash.start()], label[dash.end() :]
        yield namespace, name
        yield f"default-{namespace}", name


def _part_regex(part: str) -> str:
    """Return the pattern of a label of a host, or of a segment of a path."""
    if part == BOTH:
        return _TWO_LABELS
    return _LABEL if part in _VARIABLES else re.escape(part)


def _places(parts: tuple[str, ...]) -> Iterator[int]:
    """Yield where variables stand."""
    return (place for place, part in enumerate(parts) if part in _VARIABLES)


def _exact_host(labels: tuple[str, ...]) -> str:
    return r"\.".join(map(_part_regex, labels))


def _ends_with(labels: tuple[str, ...]) -> str:
    """Return the pattern of hosts with the same literal end and as many labels, or more."""
    first = max(_places(labels), default=-1) + 1
    more = r"(.*\.)?" if first else ""
    return r"[^.]*\." * first + more + r"\.".join(map(re.escape, labels[first:]))


def _near_host(host: str) -> str:
    return rf"(?is){host}\.*(:.*)?"


def _near_local(labels: tuple[str, ...]) -> str:
    """Return the near pattern of a cluster-local host, given its labels before `.svc`.

    If they end with a variable, the shortest form has no literal end: every host of a gateway would
    be near. Only those with as many labels are.
    """
    if labels[-1] not in _VARIABLES:
        return _near_host(f"{_ends_with(labels)}{_MAYBE_LOCAL}")
    long, short = (r"\.".join([label] * len(labels)) for label in ("[^.]*", "[^.:]*"))
    return _near_host(rf"({long}(\..*)?\.svc(\.cluster\.local)?|{short})")


def _below(path: str) -> str:
    """Return the pattern of a path, with what may follow; of every path for the empty one."""
    return f"{path}([/?].*)?" if path else "/.*"


def _forms(pattern: HostPattern) -> Iterator[tuple[str, ...]]:
    """Yield the labels of each form of the hosts: in full, and shortened if it is cluster-local."""
    yield pattern.labels
    if pattern.is_local:
        yield pattern.labels[:-2]
        yield pattern.labels[:-_LOCAL_LABELS]


def _share_a_label(a: str, b: str) -> bool:
    if a in _VARIABLES and b in _VARIABLES:
        return True
    literal, other = (b, a) if a in _VARIABLES else (a, b)
    return re.fullmatch(_part_regex(other), literal) is not None


def _check_host(text: str, labels: tuple[str, ...]) -> None:
    variables = [variable for label in labels for variable in _VARIABLES.get(label, ())]
    literals = [label for label in labels if label not in _VARIABLES]
    wrong = next((label for label in literals if not is_label(label)), None)
    example = "write a name such as {name}.{namespace}.example.com"
    if not text or len(text) > LONGEST_PATTERN:
        raise PatternError(f"a host has 1 to {LONGEST_PATTERN} characters", example)
    if text != text.lower():
        raise PatternError("it has capital letters", f"write {text.lower()}")
    if wrong is not None and re.search("[{*}]", wrong):
        raise PatternError(
            f"{wrong!r} is no label of a pattern",
            f"a whole label is a name, {ANY}, {NAME}, {NAMESPACE} or {BOTH}",
        )
    if wrong is not None:
        raise PatternError(
            f"{wrong!r} is no label of a host",
            "write up to 63 of a-z, 0-9 and -, with no - at either end; no port, no dot at the end",
        )
    if len(variables) > len(set(variables)):
        raise PatternError("a variable stands in it twice", example)
    if labels[-1] in _VARIABLES:
        raise PatternError("it ends with a variable", "end it with the domain of the gateway")
    if labels[-1].isdigit() and not is_address(text):
        raise PatternError("it is neither a host name nor an IP address", example)


def _check_path(text: str) -> None:
    segments = text.split("/")[1:-1]
    example = "write a path such as /serving/{namespace}/{name}/ or /serving/alice/"
    if len(text) > LONGEST_PATTERN or text[:1] != "/" or text[-1:] != "/":
        raise PatternError("it does not begin and end with /, or is too long", example)
    for segment in segments:
        if segment in (NAME, NAMESPACE):
            continue
        if re.search("[{*}]", segment):
            raise PatternError(
                f"{segment!r} is no segment of a pattern",
                f"a whole segment is literal, {NAME} or {NAMESPACE}",
            )
        if not re.fullmatch("[A-Za-z0-9._~-]+", segment) or not segment.strip("."):
            raise PatternError(f"{segment!r} is no plain segment of a path", example)
    variables = [segment for segment in segments if segment in _VARIABLES]
    if len(variables) > len(set(variables)):
        raise PatternError("a variable stands in it twice", example)
    if segments[:1] == [_PUBLISHERS] and variables:
        raise PatternError(
            "the paths below /publishers/ name spec.model.name, not an object",
            "write /{namespace}/{name}/, the other path of an LLMInferenceService",
        )
