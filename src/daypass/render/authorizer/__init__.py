"""The authorizer of a cluster's gate: a Deployment of `daypass gate serve`, which gateways ask.

It may create TokenReviews, follow the one ConfigMap of what is revoked, and nothing else. Tokens
travel to it, so it shows a certificate that gateways verify; no other pod reaches it. It keeps
nothing: every replica is like every other, and a new one has to ask anew.
"""
