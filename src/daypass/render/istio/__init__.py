"""The gate on Istio's gateway: Envoy's own filters, brought in by EnvoyFilters.

`gate` is what is applied once, `published` what is replaced while the gate runs: the API server's
keys and the list of the revoked, which open connections follow as well (ECDS). `filters` says what
the filters do, `decision` which request passes; both from the parts of `render.envoy`.

RequestAuthentication is not used: it cannot be limited to hosts, and refuses every bearer token on
its gateway that is by an issuer it does not know.
"""
