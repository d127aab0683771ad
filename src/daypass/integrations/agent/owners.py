"""Users and groups that a token file may be given to."""

import grp
import pwd

from daypass._core.status import printable
from daypass.integrations.agent.table import Table

_LARGEST_ID = 2**32 - 2


def user_id(table: Table) -> int | None:
    """The user that `owner` names, by name or number; raises AgentConfigError."""
    value = table.raw("owner")
    if not isinstance(value, str):
        return _number(table, "owner", value)
    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError):
        raise _unknown(table, "owner", value, "passwd") from None


def group_id(table: Table) -> int | None:
    """The group that `group` names, by name or number; raises AgentConfigError."""
    value = table.raw("group")
    if not isinstance(value, str):
        return _number(table, "group", value)
    try:
        return grp.getgrnam(value).gr_gid
    except (KeyError, ValueError):
        raise _unknown(table, "group", value, "group") from None


def _number(table: Table, key: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_ID:
        raise table.problem(key, "is neither a name nor a number", "write a name in quotes")
    return value


def _unknown(table: Table, key: str, value: str, database: str) -> Exception:
    return table.problem(
        key,
        f"is unknown on this machine: {printable(repr(value), 40)}",
        f"`getent {database}` lists those that are known; a number does as well",
    )
