"""The exchange: a long-lived ServiceAccount token for short-lived, audience-bound ones.

Flows decide, drivers do. A flow is a generator that yields what is to be done (`effects`): `flow`
is one exchange, `supply` is who makes one and who waits for it. A sync and an async driver (`sync`,
`aio`) carry them out, so threads and tasks share every decision. `refresh` says when a token is
replaced; a refresh runs on a thread of its own, also under asyncio, since a loop may end before it.
`shelf` is what processes share, `kept` the way of commands there and `cache` its files.

`source` reads credentials as bytes, `settings` understands them, `reading` reads them again, and
`long_lived` is how the token that is traded is come by. `refusals` and `failures` put what went
wrong into words.

Why sockets and not http.client: a cold `daypass token` is started by hand and by scripts beside
`kubectl create token`, and is to take as long. The import of http.client brings the email package
and doubles that; an answer of one kind, on a connection of its own, needs 200 lines of parser
(`http`), which the async driver shares and property tests hold against http.client.

This package stands on `_core` and the standard library alone, so that it costs little to import
into anybody's program. It keeps no judgement about domains, policies or gates (`spec`), and knows
no Kubernetes client (`kube`): it knows one door, one identity, and TokenRequest. It verifies TLS
always, follows no redirect, and quotes nobody's answer before tokens are taken out of it.
"""
