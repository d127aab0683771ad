"""The gate: which requests pass, and which credentials exist.

- `explain`, `signing_keys`: what would happen to a token, for `daypass gate explain`.
- `denials`: what an administrator refuses by hand, for `daypass gate deny`.
- `authorizer`: `check: review`, an ext_authz server that sends TokenReviews.
- `watch`: watches which credentials exist, and publishes them.
- `metrics`: Prometheus's text format for both programs.
"""
