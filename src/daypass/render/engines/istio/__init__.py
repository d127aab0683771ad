"""The gate on Istio's gateway: Envoy's own filters, added by EnvoyFilters.

`guarded` says which requests are guarded, `render.envoy.token_rules` which of them pass, as on one
machine. `filters` says where that is in the gateway's chain, `engine` makes Kubernetes objects of
it.

RequestAuthentication is not used: it can't be limited to hosts, and refuses every bearer token of
an unknown issuer on its gateway.
"""
