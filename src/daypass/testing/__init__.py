"""The local stack and tokens of any shape for the tests of other projects.

A project whose clients use daypass, or whose services are behind its gate, can test that a good
token passes and every other one does not. This package starts a real door and a real gate (Envoy)
in front of the embedded API server, in about a second, with no cluster and on loopback only:

    with daypass.testing.stack() as stack:
        identity = stack.make_identity()
        token = identity.credentials().token()
        expired = stack.make_token(identity, expired=True)

Under pytest the same comes as fixtures (`plugin`), one stack for the whole run: `daypass_stack`,
`daypass_identity`, `daypass_credentials`, `daypass_environment`, `daypass_token`, `daypass_clock`.

Nothing here is a fake: what passes the gate in a test passes because Envoy has verified it. Imports
are deferred until a stack is started, since pytest loads the plugin in every run of every project
that has daypass installed.
"""

from daypass.testing.clock import MovableClock
from daypass.testing.running import stack

__all__ = ["MovableClock", "stack"]
