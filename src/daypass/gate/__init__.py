"""The gate's programs and commands. `daypass.rules` says which requests pass, and who decides it.

`watch` publishes which credentials exist, and the keys that `signing_keys` reads; `publication` has
the ConfigMaps. `authorizer` is `check: review`, an ext_authz server. `explain` and `deny` are the
commands. Whatever is missing or out of date, the gate refuses.

A token at the gate. On one machine and Istio Envoy decides, by filters of `render.envoy`:

1. `token_rules.authentication` verifies signature, issuer, audience and times. It refuses nothing:
   its result is metadata. `published.published_filters` look the credential up.
2. `token_rules.deciding_filters` require everything at once, or find the reason of a refusal. A
   refused request is read to its end (`listener.draining_filters`), and gets a Status (`replies`).
3. With `check: review`, Envoy asks the authorizer about an accepted token (`authorizer_filters`).

The authorizer. On Envoy Gateway it decides alone, with a `TokenVerifier`:

1. `HttpConnection` parses the request. `Authorizer.look_up` answers from the cache.
2. `Authorizer.ask` refuses by `check_claims` of `rules.decision`, or queues a review in a
   `FairQueue`, which `ApiServerClient.review_token` and `review_access` send.
3. `check_token_review`, `check_expiry_and_revocation` and `check_model` compare the answers with
   claims, time and set. `AuthzResponses` has the identity headers, or a Status. It is cached for
   `cacheTtl`.
"""
