"""The authorizer: an ext_authz server that sends reviews and caches their results.

`http_server` passes a request to `authorizer`, which answers it from its caches, from the token's
claims and signature, or after a TokenReview and SubjectAccessReviews. `questions` has the cached
answers to them, and decides when the API server is asked; `api_server` asks it. `served_gate` has
a gate's responses, and what a host and a path mean at it; `followers` brings what is published and
which models exist. What can't be decided is refused with 503 and the time to retry.
"""
