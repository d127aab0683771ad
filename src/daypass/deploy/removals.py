"""What is to be removed of what was applied, and what is not though it is in the inventory."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from daypass.deploy.empty import strangers
from daypass.deploy.identifier import Identifier
from daypass.deploy.inventory import Entry
from daypass.deploy.owned import owned
from daypass.deploy.target import Target, each
from daypass.identity.marks import MANAGER
from daypass.kube.resources import Object

Fate: TypeAlias = Literal["remove", "release", "keep", "leave"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An object that was applied and is no longer wanted; only where there still is one.

    Fates: `release` gives up our fields of what was there before us. `keep`: a namespace of ours
    that holds what is not. `leave`: no longer the one that was applied. `why`: for these two.
    """

    identifier: Identifier
    fate: Fate
    uid: str
    why: str = ""


def find_removals(
    target: Target, entries: Mapping[Identifier, Entry], wanted: Container[Identifier] = ()
) -> list[Removal]:
    """What is to become of entries, in the order in which to do it; nothing for what is gone or
    still `wanted`.
    """

    def find(item: tuple[Identifier, Entry]) -> Removal | None:
        identifier, entry = item
        live = target.find_metadata(identifier)
        if live is None:
            return None
        removal = Removal(identifier=identifier, fate="remove", uid=str(live["metadata"]["uid"]))
        if not is_the_one(entry, live):
            return replace(removal, fate="leave", why="it is not the one that was applied")
        if entry.taken_over:
            return replace(removal, fate="release")
        return looked_into(target, removal, entries)

    todo = [item for item in entries.items() if item[0] not in wanted]
    found = [removal for removal in each(find, todo) if removal is not None]
    return sorted(found, key=lambda removal: (-removal.identifier.wave, removal.identifier))


def looked_into(target: Target, removal: Removal, ours: Container[Identifier]) -> Removal:
    """The removal of a namespace, unless something of others is in it; any other as it is."""
    if removal.identifier.kind != "Namespace":
        return removal
    found = strangers(target, removal.identifier.name, ours)
    return replace(removal, fate="keep", why=f"it holds {', '.join(found)}") if found else removal


def is_the_one(entry: Entry, live: Object) -> bool:
    """Whether an object is the one that an entry tells of.

    An entry alone is not believed: whoever may edit the ConfigMap could name any object there. The
    API server has to have noted on the object itself that daypass applied it. Of cert-manager's
    Secrets only those are taken that it made for a Certificate of ours.
    """
    metadata = live["metadata"]
    if entry.certificate:
        made_for = (metadata.get("annotations") or {}).get("cert-manager.io/certificate-name")
        return bool(made_for == entry.certificate) and entry.certificate.startswith(f"{MANAGER}-")
    # Without a UID: an apply has ended before it could note it.
    return owned(live) is not None and entry.uid in ("", metadata["uid"])
