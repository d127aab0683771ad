"""The answers of `daypass init`: from options, else from the cluster, else from the user.

Answers are checked by the rules of the config, so an error names the option, not a line of a file
that is not written yet. What the cluster contradicts is an error; what could not be looked up is
taken on trust. Without a terminal nothing blocks: the default is taken, or the option is required.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticCustomError

from daypass._core.errors import UsageError
from daypass._core.hints import command, docs_page
from daypass._core.text import did_you_mean, printable
from daypass.config.domain import OUTSIDE
from daypass.config.errors import fault
from daypass.config.hosts import public_name
from daypass.config.locations import prefix as path_prefix
from daypass.config.types import audience, gateway_or_listener, label, subdomain
from daypass.deploy.ekf import PLACEHOLDERS, Overlay, resulting_hosts
from daypass.deploy.init.discover import DiscoveredCluster
from daypass.deploy.init.plan import USUAL_PREFIX, NewConfig
from daypass.render.engines.istio.other_names import name_them, unguarded_names
from daypass.render.fronts import FRONTS, AnyFront
from daypass.render.fronts.istio import seen_service
from daypass.render.fronts.routes import ServedHost, serving

Check = Callable[[str], str]
_KINDS = {front.kind(): front for front in FRONTS}
_NOT_THIS = "-"
_REQUIRED = {
    "--host": "--host HOST",
    "--front": f"--front {'|'.join(_KINDS)}",
    "--tls": "--tls secret:NAME|issuer:NAME|outside",
}
"""Options without a default, in the order of the questions."""
_ANYHOW = "choose another, or write the config without looking with --no-cluster"


class UnansweredError(UsageError):
    """There is no terminal, and no default for `option`."""

    def __init__(self, option: str, question: str, choices: Sequence[str]) -> None:
        known = f" ({', '.join(choices)})" if choices else ""
        super().__init__(f"{question}{known}?", f"give it with {option}")
        self.option = option


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Asks the user. `read`: prompts and returns a line (EOFError at the end); None: no terminal.

    `tell` prints text in between.
    """

    read: Callable[[str], str] | None
    tell: Callable[[str], None]

    def answer(
        self,
        option: str,
        question: str,
        check: Check,
        *,
        choices: Sequence[str] = (),
        default: str | None = None,
    ) -> str:
        """Return what the user answers, checked; without a terminal, the default.

        `choices` are shown and can be chosen by number; other answers are possible. An empty line
        is the default. Raises UsageError.
        """
        if self.read is None:
            if default is None:
                raise UnansweredError(option, question, choices)
            return checked(option, default, check)
        for number, choice in enumerate(choices, 1):
            self.tell(f"  {number}  {choice}")
        shown = f" [{default}]" if default is not None else ""
        while True:
            try:
                line = self.read(f"{question}{shown}: ").strip() or default or ""
            except EOFError:
                raise UsageError(f"{question}: no answer", f"give it with {option}") from None
            if line.isascii() and line.isdigit() and 1 <= int(line) <= len(choices):
                line = choices[int(line) - 1]
            try:
                return checked(option, line, check)
            except UsageError as error:
                self.tell(str(error))


def checked(option: str, value: str, check: Check) -> str:
    """Return a value, checked by a rule of the config. Raises UsageError with the option's name."""
    try:
        return check(value)
    except PydanticCustomError as error:
        context = error.context or {}
        fact = context.get("message", error.message())
        raise UsageError(f"{option}: {fact}", str(context.get("hint", ""))) from None


def terminal(tell: Callable[[str], None]) -> Questions:
    """Return questions on this process's terminal, with prompts on stderr."""
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


def _one_of(*words: str) -> Check:
    def check(value: str) -> str:
        if value not in words:
            raise fault(f"{value!r} is none of {', '.join(words)}", did_you_mean(value, words, ""))
        return value

    return check


def _tls_source(text: str) -> str:
    way, colon, name = text.partition(":")
    if text != OUTSIDE and (way not in ("secret", "issuer") or not colon):
        raise fault(
            f"{text!r} is not a way to get a certificate", "secret:NAME, issuer:NAME or outside"
        )
    if colon:
        subdomain(name)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """The options of the command line. `named`: hosts by domain, of an adopted EKF repository.

    `handed_over`: the names of its Ingresses, which no longer serve these hosts.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """Where answers come from: the options, what was found in the cluster, and the user."""

    options: InitOptions
    found: DiscoveredCluster
    questions: Questions

    def resolve(
        self,
        flag: str,
        check: Check,
        *,
        found: str | None = None,
        prompt: str = "",
        choices: Sequence[str] = (),
        default: str | None = None,
    ) -> str | None:
        """Return the option's value, checked; else what was `found`; else the user's answer.

        None without any of them: if there is no `prompt`, the user is not asked.
        """
        given = getattr(self.options, flag.removeprefix("--").replace("-", "_"))
        if given:  # empty, as of an unset shell variable: not given
            return checked(flag, given, check)
        if found is not None or not prompt:
            return found
        return self.questions.answer(flag, prompt, check, choices=choices, default=default)


def resolve_options(
    options: InitOptions, found: DiscoveredCluster, questions: Questions
) -> NewConfig:
    """Return what the config will contain. Raises UsageError, which names all that is missing."""
    setup = _Setup(options=options, found=found, questions=questions)
    try:
        return _resolve(setup)
    except UnansweredError as missing:
        given = {
            "--host": options.hosts or options.named,
            "--front": options.front,
            "--tls": options.tls,
        }
        needed = [words for option, words in _REQUIRED.items() if not given[option]]
        is_last = missing.option not in _REQUIRED or len(needed) == 1
        hint = missing.hint if is_last else f"without a terminal, give {' '.join(needed)}"
        raise UsageError(missing.fact, hint) from None


def _resolve(setup: _Setup) -> NewConfig:
    options, found, questions = setup.options, setup.found, setup.questions
    prefix = setup.resolve("--prefix", path_prefix) or USUAL_PREFIX
    hosts = _hosts(setup)
    for host in hosts.values():
        _verify_free(host, prefix, options.handed_over, found)
    domains = {name: _domain(setup, host) for name, host in hosts.items()}
    unguarded = unguarded_names(found.listed, tuple(hosts.values()))
    if unguarded:
        words = ("other names than these lead past a gate on Istio's gateway", *unguarded)
        questions.tell("\n".join((*words, name_them("gate"))))
    return NewConfig(
        domains=domains,
        prefix=prefix,
        issuer=found.issuer,
        addresses=found.addresses,
        audience=setup.resolve("--audience", audience, found=seen_service(found.listed)),
        other_names=bool(unguarded),
    )


def _hosts(setup: _Setup) -> dict[str, str]:
    """Return the hosts by the names of their domains."""
    if setup.options.named:
        return dict(setup.options.named)
    hosts = [checked("--host", host, public_name) for host in setup.options.hosts]
    if not hosts:
        known = sorted({host.host for host in setup.found.hosts if "*" not in host.host})
        prompt = "the public name of the door (a DNS name)"
        hosts = [setup.questions.answer("--host", prompt, public_name, choices=known)]
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


def _domain(setup: _Setup, host: str) -> dict[str, Any]:
    """Return the keys of a domain in the config, without defaults."""
    found = setup.found
    served = serving(found.hosts, host)
    front = (
        setup.resolve(
            "--front",
            _one_of(*_KINDS),
            prompt=f"what serves {host}",
            choices=tuple(_KINDS),
            default=_likely_front(setup, served),
        )
        or ""
    )
    kind = _KINDS[front]
    _verify_installed(kind, found)
    if served is not None and served.front != front:
        served = None
    losers = kind.shadowed_routes(found.routes, found.hosts, host)
    if losers:
        setup.questions.tell(
            f"{host} would lead to the door alone: {', '.join(losers)} would no longer serve it\n"
            "to keep them, first add it to the hosts of their Gateway, next to the wildcard"
        )
    has_tls = served is not None and served.ends_tls
    chosen = setup.resolve(
        "--gateway",
        gateway_or_listener,
        found=served.gateway if served is not None and has_tls else None,
    )
    _warn_without_certificate(setup, chosen)
    # A name that is served already has its record.
    needs_record = found.external_dns and served is None and not setup.options.named
    record = "external-dns" if needs_record else "none"
    keys = {
        "host": host,
        "front": front,
        "className": None if chosen else _class_name(setup, kind, served),
        "gateway": chosen,
        "frontNamespace": setup.resolve(
            "--front-namespace", label, found=kind.seen_namespace(found.listed)
        ),
        "tls": _tls(setup, host, chosen, has_tls=has_tls),
        "dns": setup.resolve("--dns", _one_of("external-dns", "none"), found=record),
    }
    return {k: v for k, v in keys.items() if v is not None and (k, v) != ("dns", "none")}


def _warn_without_certificate(setup: _Setup, chosen: str | None) -> None:
    served = [host.ends_tls for host in setup.found.hosts if host.gateway == chosen]
    if chosen is not None and served and not any(served):
        setup.questions.tell(
            f"Gateway {chosen} serves plain http alone, in which tokens would travel in the clear\n"
            "add HTTPS to it before you apply, unless TLS ends at a load balancer before it"
        )


def _likely_front(setup: _Setup, served: ServedHost | None) -> str | None:
    """Return the front that serves the host, or the only one that is installed, or that of EKF."""
    if served is not None:
        return served.front
    fronts = [name for name, kind in _KINDS.items() if kind.is_running(setup.found.listed)]
    if len(fronts) == 1:
        return fronts[0]
    return next(iter(_KINDS)) if setup.options.named else None


def _verify_installed(kind: type[AnyFront], found: DiscoveredCluster) -> None:
    api = kind.api
    if found.asked and kind.provider and not found.listed.serves(api):
        raise UsageError(
            f"--front {kind.kind()}: the cluster has no {api.kind}s: is {kind.provider} installed?",
            _ANYHOW,
        )


def _class_name(setup: _Setup, kind: type[AnyFront], served: ServedHost | None) -> str | None:
    """Return the class; None if the front has none, and for the default."""
    listed, given = setup.found.listed, setup.options.class_name
    if not kind.has_classes():
        if given:
            raise UsageError(f"--class-name: {kind.kind()} has no classes", "leave it out")
        return None
    known, default = kind.classes(listed), kind.default_class(listed)
    name = setup.resolve(
        "--class-name",
        subdomain,
        found=_found_class(served, known, default),
        prompt=f"the class of {kind.kind()}" if known or kind.needs_class else "",
        choices=known or (),
    )
    if name is not None and known is not None and name not in known and (given or known):
        there = ", ".join(known) or "none"
        raise UsageError(
            f"--class-name: the cluster has no {name} for {kind.kind()}; it has {there}", _ANYHOW
        )
    if known == [] and not given:
        setup.questions.tell(
            f"the cluster has no class for {kind.kind()}: is its controller installed?"
        )
    return None if name == default else name


def _found_class(
    served: ServedHost | None, known: list[str] | None, default: str | None
) -> str | None:
    if served is not None and served.class_name and (known is None or served.class_name in known):
        return served.class_name
    if known and default not in known:
        return known[0] if len(known) == 1 else None
    return default


def _tls(
    setup: _Setup, host: str, chosen_gateway: str | None, *, has_tls: bool
) -> dict[str, str] | str:
    given, issuers = setup.options.tls, setup.found.issuers
    if chosen_gateway and given not in (None, OUTSIDE):
        raise UsageError(f"--tls: {chosen_gateway} already has the certificate", "leave --tls out")
    answer = setup.resolve(
        "--tls",
        _tls_source,
        found=OUTSIDE if chosen_gateway or has_tls else None,
        prompt=f"where the certificate of {host} comes from (secret:NAME, issuer:NAME, outside)",
        choices=[f"issuer:{issuer}" for issuer in issuers or ()],
        default=OUTSIDE if setup.options.named else None,
    )
    way, _, name = (answer or OUTSIDE).partition(":")
    if way == "issuer" and issuers is not None and name not in issuers:
        there = ", ".join(issuers) or "none: is cert-manager installed?"
        raise UsageError(f"--tls: the cluster has no ClusterIssuer {name}; it has {there}", _ANYHOW)
    return OUTSIDE if way == OUTSIDE else {way: name}


def _verify_free(
    host: str, prefix: str, handed_over: frozenset[str], found: DiscoveredCluster
) -> None:
    taken = [
        route
        for route in found.routes
        if route.host == host
        and route.captures(prefix)
        and route.owner.rpartition("/")[2] not in handed_over
    ]
    if taken:
        raise UsageError(
            f"{prefix} on {host} leads elsewhere already: {taken[0].owner} has"
            f" {printable(taken[0].path)}",
            "choose another --prefix, or remove that first (EKF's own: "
            + command("init", "--adopt", "door")
            + ")\nto replace a hand-made ingress step by step, see "
            + docs_page("how-to/replace-a-hand-made-ingress.md"),
        )


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
    set_up = {o.domain: o.patch.host for o in overlays if o.patch.host not in PLACEHOLDERS}
    wanted = {domain: host for domain, host in given.items() if host is not None}
    if not wanted and questions.read is None and keep:
        wanted = set_up
    hosts = {name: checked(f"--{name}-host", host, public_name) for name, host in wanted.items()}
    if not hosts and questions.read is not None:
        asked = {each.domain: _asked(each, set_up.get(each.domain), questions) for each in overlays}
        hosts = {domain: host for domain, host in asked.items() if host != _NOT_THIS}
    if not hosts:
        options = " or ".join(f"--{overlay.domain}-host" for overlay in overlays)
        raise UsageError("which host? it cannot be found in the cluster", f"give it with {options}")
    resulting_hosts(overlays, hosts)
    return hosts


def _asked(overlay: Overlay, host: str | None, questions: Questions) -> str:
    return questions.answer(
        f"--{overlay.domain}-host",
        f"the host of {overlay.folder} ({_NOT_THIS} leaves it alone)",
        lambda text: text if text == _NOT_THIS else public_name(text),
        default=host or _NOT_THIS,
    )
