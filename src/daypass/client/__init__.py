"""The client: exchanges a long-lived ServiceAccount token for short-lived, audience-bound ones.

The library's users and all commands of clients call it. It always verifies TLS, follows no
redirect, and quotes no response before tokens are removed from it. It needs only `_core`,
`rules.reasons` and the standard library, without dataclasses (`_core.record`): its import is cheap.
It knows a door, an identity and TokenRequest, and no Kubernetes client.

`Credentials.token()` for an audience without a cached token:

1. `TokenSource.get` finds no fresh token in memory: `KeyState.join` decides under a lock whether
   this caller exchanges or waits for another one.
2. `ReloadingConfig` reads the credentials again if they have changed (`credentials_source`).
3. With a `SharedTokenCache`, `ExchangeLock.token_or_lock` locks the entry on disk, or returns a
   token that another process has stored.
4. `exchange` gets the subject token (`subject_token`), and builds a TokenRequest (`door`) that is
   bound to the Secret which that token names.
5. `transport.send` connects, over a proxy if need be, and sends; `http1` reads the response.
6. `read_token_response` checks it; `explain_refusal` and `explain_transport` turn a failure into an
   error with a next step. `retry.repeat` repeats after temporary ones until the deadline.
7. `SharedTokenCache.store` keeps the token; `KeyState.complete` and `InFlight.finish` hand it to
   the callers that wait.
"""
