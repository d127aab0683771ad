"""The gate on Istio's gateway: Envoy's own filters, added by EnvoyFilters.

`settings` says which requests are guarded, `decision` which of them pass, `filters` where that is
in the gateway's chain, and `objects` makes Kubernetes objects of it. The parts of `render.envoy`
are the same as on one machine.

RequestAuthentication is not used: it can't be limited to hosts, and refuses every bearer token of
an unknown issuer on its gateway.
"""
