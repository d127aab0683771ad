"""The watch: it knows which credentials exist, and publishes them. `daypass gate watch` runs it.

It guarantees that a gate refuses a token `watch.closeAfter` after the last listing that had its
Secret, whatever fails: what is published closes by itself, and earlier leaders cannot write.

A deleted Secret:

1. `CredentialObserver` gets the event from an `Informer` (`kube`), or misses it, and lists
   soon. Its `Observation` is all that exists now.
2. `ShardsPlanner.wanted` derives the set of credentials; `steps_between` finds the shards that
   differ from what is published, and `Turns` which of them comes first.
3. `Controller.step` publishes those, while it is the leader: `ClusterPublisher.publish` to Istio's
   gateways and as ConfigMaps. After a failure, or if someone else has changed an object, it takes
   over again. On one machine, `local.gate_services` publishes to Envoy's files and the authorizer.
4. Envoy refuses the UID. `PublishedFollower` of `gate.authorizer` gives the set to an authorizer,
   whose `Authorizer.take_published` removes cached decisions.
5. The command that deleted it sees the ConfigMap change (`publication.GateWait`), and reports it.
"""
