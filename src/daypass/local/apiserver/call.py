"""One request on its way: who, what for, with which options, and the warnings so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from daypass.local.apiserver import errors
from daypass.local.apiserver.cluster import ServerContext
from daypass.local.apiserver.decoding import decode
from daypass.local.apiserver.errors import Cause, quote, too_long, unsupported
from daypass.local.apiserver.kinds import Kind
from daypass.local.apiserver.requests import ApiRequest, Query
from daypass.local.apiserver.store import Object
from daypass.local.apiserver.users import User

MANAGER_LIMIT_BYTES = 128


@dataclass(slots=True, kw_only=True)
class Call:
    """A request that was let in, for a kind and perhaps an object of it."""

    cluster: ServerContext
    request: ApiRequest
    query: Query
    user: User
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def live(self) -> Object:
        """The object that the request names. Raises the 404."""
        found = self.cluster.store.get(self.kind, self.namespace, self.name)
        if found is None:
            raise errors.not_found(self.kind.group, self.kind.plural, self.name)
        return found

    @property
    def manager(self) -> str:
        """Who changes fields: `fieldManager`, or what the user agent begins with."""
        given = self.query.text("fieldManager")
        agent = self.request.header("user-agent").partition("/")[0]
        return given or "".join(c for c in agent if c.isprintable())[:MANAGER_LIMIT_BYTES]

    @property
    def validation(self) -> str:
        """What happens to unknown and duplicate fields."""
        return self.query.text("fieldValidation") or "Warn"

    def check_options(self, options: str) -> None:
        """Raise the 422 for options that are none; `options` names their kind."""
        causes: list[Cause] = []
        dry_run = self.query.values.get("dryRun", [])
        if any(value != "All" for value in dry_run):
            shown = "[" + " ".join(map(quote, dry_run)) + "]"
            causes.append(unsupported("dryRun", shown.replace('" "', '","'), ("All",)))
        if len(self.query.text("fieldManager").encode()) > MANAGER_LIMIT_BYTES:
            causes.append(too_long("fieldManager", MANAGER_LIMIT_BYTES))
        if self.validation not in ("Ignore", "Strict", "Warn"):
            known = ("", "Ignore", "Strict", "Warn")
            causes.append(unsupported("fieldValidation", quote(self.validation), known))
        if causes:
            raise errors.invalid("meta.k8s.io", options, "", causes)

    def decode(self, kind: Kind | None = None) -> Object:
        """The body as an object of the kind; warnings are kept. Raises the 4xx."""
        obj, warnings = decode(
            self.request.body, self.request.header("content-type"), kind or self.kind,
            self.validation,
        )  # fmt: skip
        self.warnings += warnings
        return obj

    def placed(self, obj: Object) -> Object:
        """An object that was sent, in the namespace of the path. Raises the 400 for another."""
        metadata: dict[str, Any] = dict(obj["metadata"])
        if metadata.get("namespace", self.namespace) not in ("", self.namespace):
            if self.namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request"
                )
            del metadata["namespace"]
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {**obj, "metadata": metadata}
