"""Thin adapters that hand short-lived tokens to other libraries.

One module a library, imported only by who uses it, each an extra: `daypass.integrations.httpx`
wants `pip install 'daypass[httpx]'`, and says so where the library is missing. When to refresh and
what to believe is decided in `client`; an adapter that holds judgement is in the wrong place.

What they have in common:

- A token is asked for before each request, which costs a look into a dictionary.
- A request that brings an Authorization header keeps it, and gets no token. Cookies are let alone.
- After a 401 to a token of ours it is renewed, whatever comes of the request itself, and the
  request is sent once more, where its body can be. A body that is gone is never sent in part: the
  caller gets the 401, and so it is where a new token came only just now. Nor is a request that was
  redirected begun anew.
- A redirect to another scheme, host or port goes without the token.
- An error of the exchange is raised as it is: a `DaypassError` says more than the 401 does.

gRPC, the Kubernetes clients (lightkube apart) and kfp give credentials no say after an answer, so
there a refused token is not renewed by itself: see `docs/integrations.md`.
"""
