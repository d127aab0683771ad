"""The rules of tokens: which requests pass the gate, and why the others are refused.

`decision` has them in numbered steps. They are enforced, for each engine, by

- one machine and Istio: Envoy, as `render.envoy.token_rules` configures it;
- Envoy Gateway, and `check: review` of all three: the authorizer, `gate.authorizer`.

`credentials` and `denials` are what `gate.watch` publishes, together as `published`; `claims` are
those of a token, `reasons` the outcomes. Standard library and `_core` only.
"""
