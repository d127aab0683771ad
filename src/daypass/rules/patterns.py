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
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache, partial
from itertools import product, takewhile
from typing import NamedTuple

from daypass._core.kubernetes.syntax import SUBDOMAIN_LENGTH, is_label
from daypass._core.net import bracketed, is_address

EVERY_HOST = "*"
"""The pattern of every host that a client asks for, whatever its form."""

LONGEST_PATTERN = SUBDOMAIN_LENGTH
"""Characters of a pattern; of a host because DNS allows no more (RFC 1035)."""

LONGEST_HOST = LONGEST_PATTERN + len(":65535")
"""Characters of a Host header that is guarded where its form counts."""

NAME, NAMESPACE, ANY, BOTH = "{name}", "{namespace}", "*", "{name}-{namespace}"
_VARIABLES = frozenset({NAME, NAMESPACE, ANY, BOTH})
"""What a label of a host can be instead of literal; a segment of a path, one of the first two."""

_LOCAL, _LOCAL_LABELS = ".svc.cluster.local", 3
"""The end of a cluster-local host, which clients may leave out or shorten."""

_LABEL = "[a-z0-9]+(-+[a-z0-9]+)*"
_TWO_LABELS = "[a-z0-9]+(--+[a-z0-9]+)*-[a-z0-9]+(-+[a-z0-9]+)*"
"""A name, a dash and a namespace. Python's `re` has one way through both: it takes linear time."""
_PORT = "(:[0-9]{1,5})?"
"""As KServe's own routes have it (`pkg/constants/constants.go`, portMatch)."""
_CODE = "(2[0-46-9A-Ca-c]|3[AC-Fac-f]|40|5[BDEbde]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f])"
_CHARACTER = f"([!$&'()*+,0-9:=@A-Z_a-z~-]|%{_CODE})"
_SEGMENT = rf"\.*{_CHARACTER}({_CHARACTER}|\.)*"

PLAIN_PATH_REGEX = rf"(?s)((/{_SEGMENT})+/?|/)(\?[^#]*)?"
"""The paths of `is_plain_path`, for RE2. Python's `re` takes 10 ms for a path of 60 kB."""

_PATH_CHARACTERS = re.compile(r"/[!$%&'()*+,./0-9:=@A-Z_a-z~-]*")
_AMBIGUOUS_ESCAPE = re.compile(f"%(?!{_CODE})")
_DOT_SEGMENT = re.compile(r"/\.+(/|\Z)")

_COMPONENT = re.compile(
    r"(?P<stem>.+)-(?P<component>predictor|transformer|explainer)(-default|-canary)?(-[0-9]{5,})?"
)


_compiled = cache(partial(re.compile, flags=re.ASCII))


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

    def __str__(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A form of hosts or paths, in `parts`: labels or segments.

    `exact_regex`: what matches. `near_regex`: a superset, what could lead to the same routes. What
    is near but does not match has no reading, and is refused.
    """

    text: str
    parts: tuple[str, ...]
    exact_regex: str
    near_regex: str

    @property
    def names_a_model(self) -> bool:
        """Whether what matches names a model and its namespace."""
        return NAME in self.text and NAMESPACE in self.text

    def matches(self, text: str) -> bool:
        """Return whether a host or a path has this form."""
        return _compiled(self.exact_regex).fullmatch(text) is not None

    def is_near(self, text: str) -> bool:
        """Return whether a host or a path matches, or could lead to the same routes."""
        return _compiled(self.near_regex).fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class HostPattern(_Pattern):
    """Hosts in lower case, without a dot at the end, with or without a decimal port.

    Near is what a gateway that has other hosts too has to guard: every host with the same literal
    end and at least as many labels, in any case, with anything in place of a port, with dots at the
    end. A wildcard route could lead past the gate.
    """

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Return the pattern that a text describes. Raises PatternError."""
        if text == EVERY_HOST:
            return cls(text, (), "(?s).*", "(?s).*")
        labels = (bracketed(text),) if ":" in text and is_address(text) else _labels(text)
        exact, near = r"\.".join(map(_part_regex, labels)), _ends_with(labels)
        if text.endswith(_LOCAL):
            own = labels[:-_LOCAL_LABELS]
            exact = r"\.".join(map(_part_regex, own)) + r"(\.svc(\.cluster\.local)?)?"
            # The shortest form may have no literal end: near are hosts with as many labels.
            short = r"\.".join("[^.:]*" if each in _VARIABLES else re.escape(each) for each in own)
            near = rf"({_ends_with((*own, 'svc'))}(\.cluster\.local)?|{short})"
        return cls(text, labels, f"{exact}{_PORT}", rf"(?is){near}\.*(:.*)?")

    @property
    def is_literal(self) -> bool:
        """Whether it is the name of one host (with its short forms)."""
        return "{" not in self.text and ANY not in self.text

    @property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """The labels of each form of the hosts: in full and, if cluster-local, shortened."""
        if self.text.endswith(_LOCAL):
            return self.parts, self.parts[:-2], self.parts[:-_LOCAL_LABELS]
        return (self.parts,)

    def example(self, label: str) -> str:
        """Return a host of this form, with `label` for each variable."""
        return re.sub(r"{name}|{namespace}|\*", label, self.text)

    def names(self, host: str) -> frozenset[tuple[str, str]]:
        """Return every namespace and name that a host may mean; none if it does not match.

        `a-b-c` under `{name}-{namespace}` is `a-b` in `c`, and `a` in `b-c`. The name may be that
        of a component: see `owners`.
        """
        if not self.names_a_model or not self.matches(host):
            return frozenset()
        read = dict(zip(self.parts, host.partition(":")[0].split("."), strict=False))
        pairs = _splits(read[BOTH]) if BOTH in read else [(read[NAMESPACE], read[NAME])]
        return frozenset(pair for pair in pairs if all(map(is_label, pair)))


@dataclass(frozen=True, slots=True)
class PathPattern(_Pattern):
    """The paths below one of a form: a path has whole segments of it. The last slash may be missing
    at the end of the path, and the query is ignored.

    Near is what begins like it, up to its first variable, in any case.
    """

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Return the pattern that a text describes. Raises PatternError."""
        segments = _segments(text)
        exact = "".join(f"/{_part_regex(segment)}" for segment in segments)
        literal = takewhile(lambda segment: segment not in _VARIABLES, segments)
        near = "".join(f"/{re.escape(segment)}" for segment in literal)
        return cls(text, segments, f"(?s){_below(exact)}", f"(?is){_below(near)}")

    def names(self, path: str) -> frozenset[tuple[str, str]]:
        """Return the namespace and the name that a path means; nothing if it does not match."""
        if not self.names_a_model or not self.matches(path):
            return frozenset()
        read = dict(zip(self.parts, path.partition("?")[0].split("/")[1:], strict=False))
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


def overlap(a: HostPattern, b: HostPattern) -> tuple[str, str] | None:
    """Return the form of each, in full or short, in which some host matches both; None without."""
    if EVERY_HOST in (a.text, b.text):
        return a.text, b.text
    for ours, theirs in product(a.forms, b.forms):
        if len(ours) == len(theirs) and all(map(_share_a_label, ours, theirs)):
            return ".".join(ours), ".".join(theirs)
    return None


def literal_end(labels: Sequence[str]) -> list[str]:
    """Return the labels after the last variable."""
    return [*takewhile(lambda label: label not in _VARIABLES, reversed(labels))][::-1]


def is_plain_path(path: str) -> bool:
    """Return whether every proxy and server reads a path (with or without a query) alike.

    It has only characters that RFC 3986 allows in a path, but no `;`, no empty segments and none
    of only dots, and no fragment. Percent-encoded are only characters that mean nothing special:
    none that need no encoding, no `/`, `\\`, `%`, `;` and no control characters.
    """
    path, _, query = path.partition("?")
    return (
        _PATH_CHARACTERS.fullmatch(path) is not None
        and "//" not in path
        and "#" not in query
        and ("%" not in path or _AMBIGUOUS_ESCAPE.search(path) is None)
        and ("/." not in path or _DOT_SEGMENT.search(path) is None)
    )


def owners(name: str, models: Set[str]) -> Set[str]:
    """Return those models to which a host's name may belong: that of this name, or a component's.

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
    component = _COMPONENT.fullmatch(name) if models else None
    if component is None:
        return {name} & models
    stem = component["stem"]
    whole = {
        f"{stem[:at]}-{component['component']}{end}{stem[at:]}"
        for at in range(1, len(stem) + 1)
        for end in ("", "-default")
    }
    runs = {model for model in models if model in stem and f"-{model}-" in f"-{stem}-"}
    return {name, *whole} & models | runs


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


def _ends_with(labels: tuple[str, ...]) -> str:
    """Return the pattern of hosts with the same literal end and as many labels, or more."""
    end = literal_end(labels)
    variable = len(labels) - len(end)
    more = r"(.*\.)?" if variable else ""
    return r"[^.]*\." * variable + more + r"\.".join(map(re.escape, end))


def _below(path: str) -> str:
    """Return the pattern of a path, with what may follow; of every path for the empty one."""
    return f"{path}([/?].*)?" if path else "/.*"


def _share_a_label(a: str, b: str) -> bool:
    matching = re.fullmatch(_part_regex(a), b) or re.fullmatch(_part_regex(b), a)
    return matching is not None or {a, b} <= _VARIABLES


def _labels(text: str) -> tuple[str, ...]:
    """Return the labels of a pattern of hosts. Raises PatternError."""
    labels = tuple(text.split("."))
    example = "write a name such as {name}.{namespace}.example.com"
    if len(text) > LONGEST_PATTERN:
        raise PatternError(f"it has more than {LONGEST_PATTERN} characters", example)
    for label in labels:
        if label not in _VARIABLES and not is_label(label):
            raise PatternError(
                f"{label!r} is no label of a host",
                f"a whole label is {ANY}, {NAME}, {NAMESPACE} or {BOTH}, or up to 63 of a-z, 0-9"
                " and -, with no - at either end",
            )
    _check_variables(text, example)
    if labels[-1] in _VARIABLES or (labels[-1].isdigit() and not is_address(text)):
        raise PatternError("it does not end with a domain", example)
    return labels


def _segments(text: str) -> tuple[str, ...]:
    """Return the segments of a pattern of paths. Raises PatternError."""
    segments = tuple(text.split("/")[1:-1])
    example = "write a path such as /serving/{namespace}/{name}/ or /serving/alice/"
    if len(text) > LONGEST_PATTERN or text[:1] != "/" or text[-1:] != "/":
        raise PatternError("it does not begin and end with /, or is too long", example)
    for segment in segments:
        is_plain = re.fullmatch("[A-Za-z0-9._~-]+", segment) and segment.strip(".")
        if segment not in (NAME, NAMESPACE) and not is_plain:
            raise PatternError(
                f"{segment!r} is no segment of a path",
                f"a whole segment is {NAME}, {NAMESPACE}, or letters, digits, -, ., _ and ~",
            )
    _check_variables(text, example)
    if segments[:1] == ("publishers",) and "{" in text:
        raise PatternError(
            "the paths below /publishers/ name spec.model.name, not an object",
            "write /{namespace}/{name}/, the other path of an LLMInferenceService",
        )
    return segments


def _check_variables(text: str, example: str) -> None:
    if max(text.count(NAME), text.count(NAMESPACE)) > 1:
        raise PatternError("a variable stands in it twice", example)
