"""The gate: which requests pass, and what has been revoked.

- `decision`: the decision in numbered steps, a pure function; the oracle for the native engines.
- `explain`, `signing_keys`: what would happen to a token, for `daypass gate explain`.
- `authorizer`: `check: review`, an ext_authz server that sends TokenReviews.
- `revocation`: watches what tokens are bound to and publishes what has to be refused.
- `metrics`: Prometheus's text format for both programs.
"""
