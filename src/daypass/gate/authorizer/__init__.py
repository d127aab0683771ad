"""The authorizer: an ext_authz server that sends reviews and caches their results.

`http_server` passes a request to `authorizer`, which answers it from its caches, from the token's
claims and signature, or after a TokenReview and SubjectAccessReviews. Each kind of review has a
`reviewer`; its `review_queue` decides when one is sent, `reviews` sends it. What can't be decided
is refused with 503 and the time to retry.
"""
