"""The watch: it knows which credentials exist, and publishes them.

`observer` lists and watches them; `schedule` says what has to be published next; `controller` does
it, while it is the leader, with `cluster_publisher`. The authorizers' side is
`gate.authorizer.followers`. On one machine, `local.gate_services` publishes to Envoy's files.
"""
