"""What is wrong with a config in its cluster, above all ways around a gate.

`apply`, `diff`, `verify --kubeconfig` and `status` print these findings. Nothing is changed here.

- `snapshot`: the objects of a cluster, each kind listed once, when a finding first reads it
- `routes`: what gateways serve, by the objects of Istio, the Gateway API and Ingress
- `gateways`: what domains lack at their gateways, others' routes for the door, and names and
  routes that lead past a gate; `logins`: browser logins next to it
- `models`: access by model, and what bypasses it; `pods`: who may call a model's Pods directly
- `identities`: identities that a config leaves without tokens
- `checks`: the list of all, and their results

A check is a function of a Snapshot and a Config that yields findings. A new one goes into the
module of its subject, and into `checks.CHECKS`.
"""
