"""Which short-lived tokens the API server may issue, and which OIDC issuers it trusts.

`policy_objects` compiles the config's `policy` to a ValidatingAdmissionPolicy and its binding.
`rules` implements the same rules in Python, so that `policy check` can explain a decision and tests
can compare the API server with it. `authentication` compiles trusted issuers of OIDC tokens to the
API server's own AuthenticationConfiguration.

Everything is written into the policy itself: a ConfigMap with parameters could be changed by every
user with `edit` in its namespace. Exceptions for a namespace are annotations of the Namespace,
which no user with rights in that namespace alone can change; an unreadable annotation refuses every
token.

The policy applies to administrators, too: with an exception for them, it would say little about
which tokens exist. Users who need other tokens are listed by name in `exempt`.
"""
