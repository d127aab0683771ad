"""The gate on Envoy Gateway: every request to a Gateway is shown to the authorizer first.

Objects of Envoy Gateway's own API say so (SecurityPolicy, ClientTrafficPolicy; 1.9 or later). Its
own JWT filter does not do instead: a rule on a claim splits its name at the dots, so that what
hangs on a deleted Secret (`kubernetes.io`.secret.uid) would be let in, and the token stays with the
request. So `check: jwt` is refused, and `both` adds a second, native opinion to the authorizer's.

The most specific policy wins there, whole: one for a route, which others may write, takes that
route out of the gate. No object of ours can forbid that; what remains is that no client's identity
header gets further, and that `daypass apply` tells of it.
"""

from daypass.render.gateway_api.gate import envoy_gateway_gate

__all__ = ["envoy_gateway_gate"]
