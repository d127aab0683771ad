"""The client: exchanges a long-lived ServiceAccount token for short-lived, audience-bound ones.

- `credentials`: `Credentials`, the public class.
- `credentials_source`, `config`: where credentials are read from, checked and read again.
- `subject_token`: the token that is exchanged, and where it comes from.
- `token_source`: a cold call, step by step. `key_state`: when a token is refreshed, and by which
  caller; `token` has the times. `retry`: which failures are retried, and when.
- `shared_cache`, `exchange_lock`: tokens on disk, for all processes of a user.
- `exchange`: one exchange: subject token, TokenRequest, response.
- `door`: the URL of a door, and the TokenRequest that is sent to it.
- `transport`, `http1`: one HTTP request on a connection of its own.
- `error_mapping`, `errors`: why an exchange failed, and the next step.

It needs only `_core`, the gate's reasons (`rules.reasons`) and the standard library, so its import
is cheap for any program. It does not know domains and policies (`config` of daypass.yaml), nor
Kubernetes clients (`kube`): only a door, an identity and TokenRequest. What a cached token imports
has no dataclasses. It always verifies TLS, follows no redirect, and quotes no response before
tokens are removed from it.
"""
