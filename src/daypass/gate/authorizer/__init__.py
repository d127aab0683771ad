"""The authorizer: an ext_authz server that sends TokenReviews and caches their results.

`http_server` passes a request to `authorizer`, which answers it from `decision_cache`, from the
token's claims and signature, or after a review: `review_queue` decides when, and `token_reviews`
sends it. What can't be decided is refused with 503 and the time to retry.
"""
