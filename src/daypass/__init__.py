"""Short-lived, audience-bound Kubernetes tokens for clients outside the cluster.

    credentials = daypass.Credentials.load()
    headers = credentials.headers()    # {"Authorization": "Bearer ..."}

`daypass.integrations` has an adapter for each HTTP library, which also renews a refused token:

    httpx.get(url, auth=daypass.integrations.httpx.Auth(credentials))    # or requests, aiohttp...

Everything public is named here and imported when it is first asked for: `import daypass` itself
costs a program nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core import VERSION as __version__
    from daypass._core.errors import DaypassError, MissingExtraError, UsageError
    from daypass._core.secret import Secret
    from daypass.client.credentials import Credentials
    from daypass.client.errors import (
        CredentialsError,
        DoorBusyError,
        DoorNotTrustedError,
        DoorUnreachableError,
        ExchangeRefusedError,
        NotADoorError,
    )
    from daypass.client.token import Token

__all__ = [
    "Credentials",
    "CredentialsError",
    "DaypassError",
    "DoorBusyError",
    "DoorNotTrustedError",
    "DoorUnreachableError",
    "ExchangeRefusedError",
    "MissingExtraError",
    "NotADoorError",
    "Secret",
    "Token",
    "UsageError",
    "__version__",
]

_HOMES = {
    "Credentials": "daypass.client.credentials",
    "CredentialsError": "daypass.client.errors",
    "DaypassError": "daypass._core.errors",
    "DoorBusyError": "daypass.client.errors",
    "DoorNotTrustedError": "daypass.client.errors",
    "DoorUnreachableError": "daypass.client.errors",
    "ExchangeRefusedError": "daypass.client.errors",
    "MissingExtraError": "daypass._core.errors",
    "NotADoorError": "daypass.client.errors",
    "Secret": "daypass._core.secret",
    "Token": "daypass.client.token",
    "UsageError": "daypass._core.errors",
    # Ray imports the module that the scheme of an address names: `--address daypass://HOST`.
    "get_job_submission_client_cluster_info": "daypass.integrations.ray",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from daypass._core import VERSION

        return VERSION
    if name == "integrations":
        return __import__("daypass.integrations").integrations
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'daypass' has no attribute {name!r}")
    value = getattr(__import__(home, fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOMES, "integrations"})
