"""Classes of named values, for the client.

Importing `dataclasses` takes longer than printing a cached token, and a quarter of the CPU time of
an exchange. Type checkers treat a subclass of Record as a dataclass, so they find values that are
missing or unknown; nothing else checks that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        return lambda kind: kind


@dataclass_transform(kw_only_default=True)
class Record:
    """Has the annotated values of its subclass. Its `repr` shows none: some are secret."""

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            for name, value in values.items():
                setattr(self, name, value)
