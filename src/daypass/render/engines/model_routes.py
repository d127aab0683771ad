"""Routes at a gateway that lead requests for a model of one namespace to another namespace.

A gate with `authorize` reads a model from a request's host or path. That is true only if the route
for this host or path leads to that model: a tenant who may create routes can write one for the
model of another tenant. Of two routes for one host, Istio takes the older one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from daypass.render.engines.bypass import ANY, HostOwner, in_common, join_names, shares_hosts
from daypass.rules.models import ModelRule
from daypass.rules.patterns import NAME, NAMESPACE, owners

ModelNames = Mapping[str, Mapping[str, Set[str]]]
"""The names of the models that exist, by their resource and namespace."""


def foreign_routes(
    served: Iterable[HostOwner], rules: Sequence[ModelRule], models: ModelNames
) -> Iterator[str]:
    """Yield a line for each route whose host or path names a model of another namespace."""
    found = dict[tuple[str, str], set[str]]()
    for one in served:
        for rule in rules:
            known = models.get(rule.resource, {})
            if named := set(_named(rule, one, known)):
                others = found.setdefault((one.owner, one.gateway), set())
                others |= set(_of_others(named, one.namespace, known))
    for (owner, gateway), others in sorted(found.items()):
        if others:
            yield f"{owner} takes requests for {join_names(sorted(others))} on {gateway}"


def is_read(one: HostOwner, rules: Iterable[ModelRule]) -> bool:
    """Return whether the gate reads a model from every request to a host, or to its paths there.

    It reads a path on every host alike. What is only near is refused, on the rule's own host.
    """
    for rule in rules:
        is_own = rule.host.matches(one.host)
        if rule.path is None and is_own:
            return True
        if rule.path and all(map(rule.path.is_near if is_own else rule.path.matches, one.paths)):
            return True
    return False


def _named(
    rule: ModelRule, one: HostOwner, known: Mapping[str, Set[str]]
) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of each model that a route's host or a path of it may mean."""
    if not shares_hosts(one.host, rule.host):
        return
    if rule.path is None:
        yield from rule.host.names(one.host.replace(ANY, "any"))
        if one.host.startswith("*.") and one.paths & {"", "/"}:
            hosts = _written(rule.host.text, known)
            yield from (model for model, host in hosts if in_common(one.host, host))
        return
    for path in one.paths - {"/"}:
        yield from rule.path.names(path) or (
            model for model, text in _written(rule.path.text, known) if text.startswith(path)
        )


def _written(form: str, known: Mapping[str, Set[str]]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield namespace and name of each model, and its host or path of a form."""
    for namespace, names in known.items():
        for name in names:
            yield (namespace, name), form.replace(NAMESPACE, namespace).replace(NAME, name)


def _of_others(
    named: Set[tuple[str, str]], own: str, known: Mapping[str, Set[str]]
) -> Iterator[str]:
    """Yield those of other namespaces that have models. Where a model of the route's own namespace
    may be meant, too, only those that exist.
    """
    may_be_own = any(namespace == own for namespace, _ in named)
    for namespace, name in named:
        there = known.get(namespace, frozenset())
        if namespace != own and (owners(name, there) if may_be_own else there):
            yield f"{namespace}/{name}"
