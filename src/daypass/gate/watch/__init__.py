"""The watch: it knows which credentials exist, and publishes them.

`observer` lists and watches them; `plan` says what has to be published next; `controller` does it,
while it is the leader, with a `publisher`: of a cluster or of one machine. `follower` is the
authorizers' side.
"""
