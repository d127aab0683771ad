"""The door in a cluster: Envoy's official image, a ConfigMap, and what keeps them safe and alive.

No image of ours, no token of a ServiceAccount, no right in the cluster: whoever takes the pod over
holds the key of an internal certificate and a network policy that leads to the API server, where he
is nobody.
"""
