"""The rules of tokens: which requests pass the gate, and why the others are refused.

`decision` has them in numbered steps. They are enforced, for each engine, by

- one machine and Istio: Envoy. `render.envoy.token_rules` has it verify signature, claims and
  times, and refuse; `render.envoy.published` marks what exists, so the token of a deleted Secret
  has no mark;
- Envoy Gateway: the authorizer, `gate.authorizer.authorizer`. It runs `decision` (step 13 for a
  deleted Secret), and verifies signatures by `gate.signing_keys`;
- all three, with `check: review`: that authorizer, by a TokenReview of what has passed so far.

A revoked token is one whose credential no longer exists: its Secret or, of a federated identity,
its anchor. The OIDC token of a federated user is for the door; at a gate its issuer is foreign.
Which tokens the API server issues is for the admission policy, `render.policy`; what may be asked
for at all, such as a lifetime, for `_core.kubernetes.syntax`.

`published` is what `gate.watch` publishes: the credentials that exist, and denials by hand;
`claims` are those of a token, `reasons` the outcomes. Standard library and `_core` only.
"""
