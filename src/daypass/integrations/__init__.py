"""Adapters that put short-lived tokens on the requests of other libraries.

Each library has a module and an extra of its own: `daypass.integrations.httpx` needs the extra
`httpx`, and raises MissingExtraError without it. `daypass.client` decides when a token is
refreshed and what an answer means; adapters only pass it on.

All adapters have these rules in common:

- They request a token for each request. A cached one costs a dictionary lookup.
- A request that has an Authorization header keeps it and gets no token. For SDKs that always set
  one, the adapters for httpx and httpx2 replace exactly the placeholder that they are given.
  Cookies are unchanged.
- After a 401 to daypass's token, the token is renewed, and the request is sent once more if its
  body can be read again. Otherwise the caller gets the 401, and a log message says so: a consumed
  body is never sent in part. The caller also gets the 401 if the token was renewed only moments
  ago, or after a redirect.
- A gate's refusal that the caller gets is logged, to the logger `daypass`: many SDKs hide it.
- A request that gets no response is not sent again: it may have been processed. The library's error
  is raised unchanged.
- A redirect to another scheme, host or port is followed without the token.
- An http URL, except one of a loopback address, raises CredentialsError.
- Errors of the exchange are raised unchanged: a `DaypassError` explains more than the 401 does.

gRPC, the official client for Kubernetes, kfp and Ray do not pass answers to their credentials, so a
rejected token is not renewed there: see `docs/how-to/python-libraries.md`.
"""


def __getattr__(name: str) -> object:
    """Import an adapter when it is first used: `import daypass` is enough."""
    from importlib import import_module
    from importlib.util import find_spec

    module = f"{__name__}.{name}"
    if name.startswith("_") or find_spec(module) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(module)
