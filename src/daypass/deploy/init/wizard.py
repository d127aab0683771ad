"""What can't be found out: asked on a terminal, or taken from options. Nothing blocks without one.

An answer is checked by the rule of the config's key that it is for, so that it is refused here,
with the name of its option, and not later in a file that nobody wrote.

From what was found, what options say and what a person answers, to what the config will say.

An option counts most, then what is found, then a person. What was looked up and contradicts the
answers is an error that names the option; what could not be looked up is taken on trust.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic_core import PydanticCustomError

from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.config.domain import OUTSIDE
from daypass.config.errors import fault
from daypass.config.locations import prefix as path_prefix
from daypass.config.types import audience, gateway, is_public_name, label, subdomain
from daypass.config.types import host as dns_name
from daypass.deploy.gate_bypass import NAME_THEM, Pods, by_another_name, on_istio
from daypass.deploy.init.discover import DiscoveredCluster
from daypass.deploy.init.new_config import USUAL_PREFIX, NewConfig, NewDomain
from daypass.deploy.routes import NGINX_CONTROLLER, ListedObjects, PublishedHost, losing, serving

T = TypeVar("T")
Check = Callable[[str], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Asks a person. `read`: prompts and gives a line (EOFError at the end); None: there is nobody.

    `tell` is for words in between.
    """

    read: Callable[[str], str] | None
    tell: Callable[[str], None]

    def answer(
        self,
        option: str,
        question: str,
        check: Check[T],
        *,
        given: str | None = None,
        choices: Sequence[str] = (),
        default: str | None = None,
    ) -> T:
        """What was given with an option, or what a person answers, checked.

        `choices` are shown, and can be chosen by number; others may be written. `default` counts
        where there is nobody to ask, and for an empty line. Raises UsageError.
        """
        if given is not None:
            return checked(option, given, check)
        if self.read is None:
            if default is None:
                known = f"; there is {', '.join(choices)}" if choices else ""
                raise UsageError(f"{question}: not known", f"say it with {option}{known}")
            return checked(option, default, check)
        for number, choice in enumerate(choices, 1):
            self.tell(f"  {number}  {choice}")
        while True:
            line = self._line(option, question, default)
            if line.isascii() and line.isdigit() and 1 <= int(line) <= len(choices):
                line = choices[int(line) - 1]
            try:
                return checked(option, line, check)
            except UsageError as error:
                self.tell(str(error))

    def _line(self, option: str, question: str, default: str | None) -> str:
        assert self.read is not None  # noqa: S101 - `answer` has looked
        shown = f" [{default}]" if default is not None else ""
        try:
            line = self.read(f"{question}{shown}: ").strip()
        except EOFError:
            raise UsageError(f"{question}: no answer", f"say it with {option}") from None
        return line or default or ""


def checked(option: str, value: str, check: Check[T]) -> T:
    """A value by a rule of the config. Raises UsageError with the option's name."""
    try:
        return check(value)
    except PydanticCustomError as error:
        context = error.context or {}
        fact = context.get("message", error.message())
        raise UsageError(f"{option}: {fact}", str(context.get("hint", ""))) from None


def one_of(*words: str) -> Check[str]:
    """A rule: one of some words."""

    def check(value: str) -> str:
        if value not in words:
            raise fault(f"{value!r} is none of {', '.join(words)}")
        return value

    return check


def terminal(tell: Callable[[str], None]) -> Questions:
    """Asks on this process' terminal, with prompts on stderr; nobody, where that is none."""
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return Questions(read=None, tell=tell)
    return Questions(read=_read, tell=tell)


def _read(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


FRONTS = ("ingress-nginx", "ingress", "istio", "gateway-api")
_WITH_CLASS = ("ingress-nginx", "ingress", "gateway-api")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What the command line says; None or nothing where it doesn't.

    `named`: of a repository that is adopted, hosts by the name of their domain; `handed_over`: the
    names of its Ingresses, which make way.
    """

    hosts: Sequence[str] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    handed_over: frozenset[str] = frozenset()
    front: str | None = None
    tls: str | None = None
    class_name: str | None = None
    gateway: str | None = None
    front_namespace: str | None = None
    dns: str | None = None
    prefix: str | None = None
    audience: str | None = None


def public_name(text: str) -> str:
    """A host that a front of a cluster can have."""
    name = dns_name(text)
    if not is_public_name(name):
        raise fault(f"'{name}' is no public name", "write the DNS name")
    return name


def resolve_options(
    options: InitOptions, found: DiscoveredCluster, questions: Questions
) -> NewConfig:
    """What the config will say. Raises UsageError."""
    prefix = checked("--prefix", options.prefix or USUAL_PREFIX, path_prefix)
    hosts = _hosts(options, found, questions)
    for host in hosts.values():
        _verify_free(host, prefix, options.handed_over, found)
    domains = [_domain(name, host, options, found, questions) for name, host in hosts.items()]
    past = _past_a_gate(found, tuple(hosts.values()))
    if past:
        words = ("other names than these lead past a gate on Istio's gateway", *past, NAME_THEM)
        questions.tell("\n".join(words))
    return NewConfig(
        domains=domains,
        prefix=prefix,
        issuer=found.issuer,
        addresses=found.addresses,
        audience=_audience(options, found),
        other_names=bool(past),
    )


def _hosts(options: InitOptions, found: DiscoveredCluster, questions: Questions) -> dict[str, str]:
    if options.named:
        return dict(options.named)
    hosts = [checked("--host", host, public_name) for host in options.hosts]
    if not hosts:
        known = sorted({host.host for host in found.hosts if "*" not in host.host})
        hosts = [
            questions.answer(
                "--host", "the public name of the door (a DNS name)", public_name, choices=known
            )
        ]
    names: dict[str, str] = {}
    for host in hosts:
        if host in names.values():
            raise UsageError(f"--host: {host} is there twice", "a host belongs to one domain")
        first, number = host.partition(".")[0], 2
        name = first
        while name in names:
            name, number = f"{first[:60]}-{number}", number + 1
        names[name] = host
    return names


def _domain(
    name: str, host: str, options: InitOptions, found: DiscoveredCluster, questions: Questions
) -> NewDomain:
    served = serving(found.hosts, host)
    front = _front(host, served, options, found, questions)
    if served is not None and served.front != front:
        served = None
    losers = losing(found.routes, found.hosts, host) if front == "istio" else []
    if losers:
        questions.tell(
            f"{host} would be the door's alone: {', '.join(losers)} would serve it no more\n"
            "if they are to, add it to the hosts of their Gateway first, beside the wildcard"
        )
    named_gateway = checked("--gateway", options.gateway, gateway) if options.gateway else None
    if named_gateway is None and served is not None and served.ends_tls:
        named_gateway = served.gateway
    class_name = None
    if named_gateway is None:
        class_name = _class(front, served, options, found, questions)
    namespace = options.front_namespace
    return NewDomain(
        name=name,
        host=host,
        front=front,
        tls=_tls(host, served, named_gateway, options, found, questions),
        class_name=class_name,
        gateway=named_gateway,
        front_namespace=checked("--front-namespace", namespace, label)
        if namespace
        else _gateway_namespace(front, found),
        external_dns=_external_dns(options, found, served),
    )


def _front(
    host: str,
    served: PublishedHost | None,
    options: InitOptions,
    found: DiscoveredCluster,
    questions: Questions,
) -> str:
    front = questions.answer(
        "--front",
        f"what terminates {host}",
        one_of(*FRONTS),
        given=options.front,
        choices=FRONTS,
        default=served.front if served is not None else _only_front(found) or _usual(options),
    )
    missing = {
        "istio": (found.istio, "no VirtualServices: is Istio installed?"),
        "gateway-api": (found.gateway_api, "no HTTPRoutes: are the Gateway API's CRDs installed?"),
    }
    there, words = missing.get(front, (True, ""))
    if there is False:
        raise UsageError(f"--front {front}: the cluster has {words}", _ANYHOW)
    return front


def _usual(options: InitOptions) -> str | None:
    """What EKF's guide assumes."""
    return FRONTS[0] if options.named else None


_ANYHOW = "choose another, or write the config without looking with --no-cluster"


def _only_front(found: DiscoveredCluster) -> str | None:
    """The one that is installed, if it is one."""
    controllers = set((found.classes or {}).values())
    fronts = [
        *(["ingress-nginx"] if NGINX_CONTROLLER in controllers else ()),
        *(["ingress"] if controllers - {NGINX_CONTROLLER} else ()),
        *(["istio"] if found.ingress_gateways else ()),
        *(["gateway-api"] if found.gateway_classes else ()),
    ]
    return fronts[0] if len(fronts) == 1 else None


def _class(
    front: str,
    served: PublishedHost | None,
    options: InitOptions,
    found: DiscoveredCluster,
    questions: Questions,
) -> str | None:
    """The class; None for istio, which has none, and where the default is right."""
    if front not in _WITH_CLASS:
        if options.class_name:
            raise UsageError(f"--class-name: the front {front} has none", "leave it out")
        return None
    known = found.gateway_classes if front == "gateway-api" else _classes_of(front, found)
    usual = {"ingress-nginx": "nginx", "ingress": found.default_class}.get(front)
    name = options.class_name
    if name is None and served is not None and (known is None or served.class_name in known):
        name = served.class_name
    if name is None and known and usual not in known:
        name = known[0] if len(known) == 1 else None
        if name is None:
            name = questions.answer(
                "--class-name", f"the class of {front}", subdomain, choices=known
            )
    if name is None and front == "gateway-api":
        name = questions.answer("--class-name", "the GatewayClass", subdomain)
    if name is None:
        name = usual
    if name is None:
        return None
    checked("--class-name", name, subdomain)
    if known is not None and name not in known and (options.class_name or known):
        there = ", ".join(known) or "none"
        raise UsageError(
            f"--class-name: the cluster has no {name} for {front}; it has {there}", _ANYHOW
        )
    return None if name == usual else name


def _classes_of(front: str, found: DiscoveredCluster) -> list[str] | None:
    if found.classes is None:
        return None
    return sorted(
        name
        for name, controller in found.classes.items()
        if front == "ingress" or controller == NGINX_CONTROLLER
    )


def _tls(
    host: str,
    served: PublishedHost | None,
    named_gateway: str | None,
    options: InitOptions,
    found: DiscoveredCluster,
    questions: Questions,
) -> dict[str, str] | str:
    if named_gateway is not None or (served is not None and served.ends_tls and not options.tls):
        if options.tls not in (None, OUTSIDE):
            raise UsageError(
                f"--tls: {named_gateway} has the certificate already", "leave --tls out"
            )
        return OUTSIDE
    way, _, name = questions.answer(
        "--tls",
        f"where the certificate of {host} comes from (secret:NAME, issuer:NAME, outside)",
        _tls_way,
        given=options.tls,
        choices=[f"issuer:{issuer}" for issuer in found.issuers or ()],
        default=OUTSIDE if options.named else None,
    ).partition(":")
    if way == "issuer" and found.issuers is not None and name not in found.issuers:
        there = ", ".join(found.issuers) or "none: is cert-manager installed?"
        raise UsageError(f"--tls: the cluster has no ClusterIssuer {name}; it has {there}", _ANYHOW)
    return OUTSIDE if way == OUTSIDE else {way: name}


def _tls_way(text: str) -> str:
    way, colon, name = text.partition(":")
    if text != OUTSIDE and (way not in ("secret", "issuer") or not colon):
        raise fault(
            f"{text!r} is no way to get a certificate", "secret:NAME, issuer:NAME or outside"
        )
    if colon:
        subdomain(name)
    return text


def _gateway_namespace(front: str, found: DiscoveredCluster) -> str | None:
    """Of Istio's gateway pods, if they are in one place, and not in the usual one."""
    namespaces = {each.partition("/")[0] for each in found.ingress_gateways}
    if front != "istio" or len(namespaces) != 1 or namespaces == {"istio-system"}:
        return None
    return namespaces.pop()


def _external_dns(
    options: InitOptions, found: DiscoveredCluster, served: PublishedHost | None
) -> bool:
    """A name that is served already has its record."""
    if options.dns is not None:
        return checked("--dns", options.dns, one_of("external-dns", "none")) == "external-dns"
    return found.external_dns is True and served is None and not options.named


def _audience(options: InitOptions, found: DiscoveredCluster) -> str | None:
    if options.audience is not None:
        return checked("--audience", options.audience, audience)
    if len(found.ingress_gateways) != 1:
        return None
    namespace, _, name = found.ingress_gateways[0].partition("/")
    return f"{name}.{namespace}.svc.cluster.local"


def _past_a_gate(found: DiscoveredCluster, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """What a gate for these hosts would not look at, if there was one: a line each."""
    namespaces = {each.partition("/")[0] for each in found.ingress_gateways}
    labels = found.ingress_pods or [{"istio": "ingressgateway"}]
    pods = Pods(labels=labels, complete=bool(found.ingress_pods))
    listed = ListedObjects(objects=found.objects)
    served = {each for space in namespaces for each in on_istio(listed, space, pods)}
    return by_another_name(served, hosts)


def _verify_free(
    host: str, prefix: str, handed_over: frozenset[str], found: DiscoveredCluster
) -> None:
    taken = [
        route
        for route in found.routes
        if route.host == host
        and route.takes(prefix)
        and route.owner.rpartition("/")[2] not in handed_over
    ]
    if taken:
        raise UsageError(
            f"{prefix} on {host} leads elsewhere already: {taken[0].owner} has {taken[0].path}",
            "choose another --prefix, or remove that first (EKF's own: "
            + command("init", "--adopt", "door")
            + ")",
        )
