"""What short-lived tokens the API server may issue, and whom it knows without a Secret.

`objects` compiles the config's `policy` to a ValidatingAdmissionPolicy and its binding; `rules`
says the same in Python, as one plain function, so that `policy check` can explain an answer and the
tests can hold the API server to it. `authentication` compiles trusted issuers of OIDC tokens to the
API server's own AuthenticationConfiguration.

Everything is written into the policy itself: there are no parameters in a ConfigMap, which whoever
has `edit` in its namespace could change. What differs from namespace to namespace stands in
annotations of the Namespace, which nobody with rights in that namespace alone can touch; what
cannot be read there refuses every token, never none.

An admin is held to it like everybody else: a policy with a hole for admins says little about which
tokens there are. Who must ask for other tokens is listed in `exempt` by name.
"""
