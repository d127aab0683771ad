"""The local stack and tokens of any shape for the tests of other projects.

A project whose clients use daypass, or whose services stand behind its gate, wants to know in its
own tests that a good token passes and every other one does not. This package gives it a real door
and a real gate (Envoy) before the embedded API server, in about a second, with no cluster and no
network beyond loopback:

    with daypass.testing.stack() as stack:
        identity = stack.make_identity()
        token = identity.credentials().token()
        expired = stack.make_token(identity, expired=True)

Under pytest the same comes as fixtures (`plugin`), one stack for the whole run: `daypass_stack`,
`daypass_identity`, `daypass_credentials`, `daypass_environment`, `daypass_token`, `daypass_clock`.

What it refuses to do: stand in for a check. Nothing here is a fake that says yes; what passes the
gate in a test passes because Envoy has verified it. And the rest of daypass does not import this
package. What is imported with it costs nothing until a stack is asked for: pytest loads the plugin
in every run of everybody who has daypass installed.
"""

from daypass.testing.clock import MovableClock
from daypass.testing.running import stack

__all__ = ["MovableClock", "stack"]
