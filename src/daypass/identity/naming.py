"""What an identity is called, and what is called after it."""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core.errors import UsageError
from daypass._core.status import printable
from daypass.client.names import is_label, is_subdomain
from daypass.identity.manifests import SUFFIX_LENGTH

LONGEST_CHARACTERS = 253 - len("-daypass-") - SUFFIX_LENGTH
"""Of a name: those of its token Secrets are this much longer, and end at 253."""


class BadNameError(UsageError):
    """A name that Kubernetes, or a name made from it, cannot have."""


def verify_object_name(kind: str, name: str) -> None:
    """Raise BadNameError for what no ServiceAccount and no Secret can be called."""
    if not is_subdomain(name):
        raise BadNameError(
            f"{printable(name, 80)!r} is no name of a {kind}",
            "use up to 253 of a-z, 0-9, - and ., beginning and ending with a letter or digit",
        )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class IdentityName:
    """Namespace and name of a ServiceAccount. Use `parse` for what people typed."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, namespace: str, name: str) -> IdentityName:
        """The same, checked: nothing that Kubernetes would refuse is sent. Raises BadNameError."""
        if not is_label(namespace):
            raise BadNameError(
                f"{printable(namespace, 80)!r} is no namespace",
                "use up to 63 of a-z, 0-9 and -, with no - at either end",
            )
        if len(name) > LONGEST_CHARACTERS:
            raise BadNameError(
                f"a name of {len(name)} characters is too long",
                f"use up to {LONGEST_CHARACTERS}: its Secrets are called NAME-daypass-"
                f"<{SUFFIX_LENGTH} more>",
            )
        verify_object_name("ServiceAccount", name)
        return cls(namespace=namespace, name=name)

    @classmethod
    def of_key(cls, key: str) -> IdentityName | None:
        """The name in an annotation IDENTITY, or None where it holds something else."""
        namespace, _, name = key.partition("/")
        try:
            return cls.parse(namespace, name)
        except BadNameError:
            return None

    @property
    def key(self) -> str:
        """What the annotation IDENTITY of its objects says."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return self.key
