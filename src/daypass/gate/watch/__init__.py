"""The watch: it knows which credentials exist, and publishes them.

`observer` lists and watches them; `schedule` says what has to be published next; `controller` does
it, while it is the leader, with a publisher: of a cluster (`cluster_publisher`, which writes
`fenced_objects`) or of one machine (`local.gate_services`). `follower` is the authorizers' side.
"""
