"""Ray jobs: `ray job submit --address daypass://HOST -- python train.py`.

Ray imports the module that the scheme of an address names. `daypass` passes the call on to here.
"""

from __future__ import annotations

from collections import UserDict
from typing import Any

from daypass.client.credentials import Credentials
from daypass.client.token import AUTHORIZATION, authorization
from daypass.integrations._bearer import Bearer


def get_job_submission_client_cluster_info(
    address: str,
    *,
    credentials: Credentials | None = None,
    audience: str | None = None,
    lifetime_seconds: int | None = None,
    cookies: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    **_: Any,
) -> Any:
    """Return Ray's `ClusterInfo`, with headers that hold a usable token when read. Ray calls it.

    `address`: HOST[:PORT][/PATH], without a scheme; it is always https. `credentials`, `audience`,
    `lifetime_seconds`: further arguments of `JobSubmissionClient`; by default those of the
    environment. `headers` that name Authorization stay as they are. Requests raise what
    `Credentials.token` does. Ray does not pass on a 401: a new client has a new token.
    """
    from ray.dashboard.modules.dashboard_sdk import ClusterInfo

    sent: Any = headers or {}
    if not any(name.lower() == AUTHORIZATION.lower() for name in sent):
        bearer = Bearer(credentials or Credentials.load(), audience, lifetime_seconds)
        sent = _Headers(bearer, sent)
    return ClusterInfo(f"https://{address}", cookies=cookies, metadata=metadata, headers=sent)


class _Headers(UserDict[str, Any]):
    """Headers whose Authorization is looked up whenever a client reads them, and printed never."""

    def __init__(self, bearer: Bearer, headers: dict[str, Any]) -> None:
        super().__init__({**headers, AUTHORIZATION: "Bearer ..."})
        self._bearer = bearer

    def __getitem__(self, name: str) -> Any:
        return authorization(self._bearer.token()) if name == AUTHORIZATION else self.data[name]
