"""The exchange: a long-lived ServiceAccount token for short-lived, audience-bound ones.

One generator (`flow`) decides what to send, when to wait and what to believe; a sync and an async
driver carry its requests. `source` reads credentials as bytes and `settings` understands them;
`refusals` and `failures` put what went wrong into words; `cache` keeps tokens between runs.

Why sockets and not http.client: a cold `daypass token` is started by hand and by scripts beside
`kubectl create token`, and is to take as long. The import of http.client brings the email package
and doubles that; an answer of one kind, on a connection of its own, needs 200 lines of parser
(`http`), which the async driver shares and property tests hold against http.client.

This package stands on `_core` and the standard library alone, so that it costs little to import
into anybody's program. It keeps no judgement about domains, policies or gates (`spec`), and knows
no Kubernetes client (`kube`): it knows one door, one identity, and TokenRequest. It verifies TLS
always, follows no redirect, and quotes nobody's answer before tokens are taken out of it.
"""
