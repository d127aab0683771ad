"""The gate's programs and commands. `daypass.rules` says which requests pass, and who decides it.

- `explain`: what would happen to a token, for `daypass gate explain`.
- `signing_keys`: reads issuer and keys; verifies tokens for explanations and on Envoy Gateway.
- `deny`: what an administrator refuses by hand, for `daypass gate deny`.
- `authorizer`: `check: review`, an ext_authz server that sends TokenReviews.
- `watch`: watches which credentials exist, and publishes them; `publication` has the ConfigMaps.
- `metrics`: Prometheus's text format for both programs.
"""
