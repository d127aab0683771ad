"""The authorizer: an ext_authz server that sends reviews and caches their results.

`http_server` passes a request to `authorizer`, which answers it from its caches, from the token's
claims and signature, or after a TokenReview and SubjectAccessReviews. `review_queue` has the cached
reviews of a kind, and decides when one is sent; `review_client` sends it; `reviews` has what is
asked and read. `destinations` says what a host and a path mean. What can't be decided is refused
with 503 and the time to retry.
"""
